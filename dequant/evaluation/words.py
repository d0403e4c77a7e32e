"""How tables, plots and pictures name and order methods, metrics and labels."""

import hashlib
import re
from collections.abc import Sequence

from dequant.evaluation.cases import TEXTURES
from dequant.evaluation.methods import IDENTITY
from dequant.io.files import Row

METRICS = {
    "psnr": ("PSNR", 2),
    "psnr_gain": ("PSNR gain", 2),
    "ssim": ("SSIM", 3),
    "ciede2000": ("CIEDE2000", 2),
    "palette_psnr": ("palette PSNR", 2),
    "palette_ssim": ("palette SSIM", 3),
    "index_agreement": ("index agreement", 4),
    "texture_correlation": ("gradient corr.", 3),
    "gradient_f1": ("edge F1", 3),
    "false_edges": ("false edges", 3),
    "missed_edges": ("missed edges", 3),
    "fine_correlation": ("fine corr.", 3),
    "bands": ("bands", 3),
    "haar_distance": ("Haar distance", 3),
    "colorfulness": ("colourfulness", 1),
    "colorfulness_abs": ("colourfulness, abs", 1),
    "colorfulness_off": ("off, mean of each", 1),
    "delta_colorfulness": ("off, of the means", 1),
    "psnr_pooled": ("PSNR, pooled", 2),
    "ciede2000_p95": ("CIEDE2000 p95", 2),
    "fd": ("FD(EfficientNet)", 2),
    "fine_error": ("fine error, L*", 2),
    "ciede2000_off": ("CIEDE2000, off", 2),
    "same_word": ("same colour word", 2),
    "ciede2000_of_word": ("CIEDE2000", 2),
    "obeyed": ("word wins", 2),
    "toward": ("hue nearer to the word", 2),
    "moved": ("move of a*b*", 1),
    "kept": ("moved less than a quarter", 2),
    "correlation": ("correlation", 3),
    "lpips": ("LPIPS", 3),
    "structure": ("structure", 3),
    "clip_cosine": ("CLIP score", 3),
    "caption_cosine": ("caption score", 3),
    "clip_fid": ("CLIP FID", 2),
    "clip_kid": ("CLIP KID", 4),
}
"""Name in tables and number of decimals; others keep their name and have 4 decimals."""


HEADINGS = {"n_colors": "palette"}


VARIANTS = ("T", "G", "L", "L_post")
"""In the order of the paper's tables; others follow, and the identity comes last."""


EDITS = ("T_edit", "G_edit", "L_edit")
"""With the weights for edits."""


def entrant(variant: str, weights: str) -> str:
    """Name of a variant with its weights: the variant for bundled ones, or `VARIANT@NAME`, also for files.

    Args:
        variant: such as T or T_edit.
        weights: name of bundled weights, such as small_T, or a path with a /.
    """
    if "/" not in weights:
        return variant
    parts = [part for part in weights.split("/") if part not in ("", ".", "weights", "checkpoints")]
    tail = "-".join(parts[-2:] if weights.endswith(".ckpt") else parts[-1:]).removesuffix(".ckpt")
    readable = re.sub(r"[^\w.-]", "_", tail)[-32:]
    return f"{variant}@{readable}-{hashlib.sha256(weights.encode()).hexdigest()[:4]}"


def order(name: str, value: str) -> tuple[float, str]:
    """Sort key of a value of a label: numbers by size, words as the paper orders them."""
    known = {"variant": VARIANTS + EDITS, "texture": TEXTURES, "metric": tuple(METRICS)}.get(name, ())
    plain, _, own = value.partition("@")
    if plain in known:
        return known.index(plain), own
    if value == IDENTITY:
        return len(known) + 1, ""
    try:
        return float(value), ""
    except ValueError:
        return len(known), value


def wording(name: str, value: str) -> str:
    """A value of a label, for readers."""
    if name == "metric":
        return METRICS[value][0] if value in METRICS else value.replace("_", " ")
    if name == "variant":
        plain, _, own = value.partition("@")
        ours = f"ours-{plain.replace('_edit', ', edit')}" if plain in VARIANTS + EDITS else plain.replace("_", " ")
        return f"{ours}, {own}" if own else ours
    words = {"n_colors": f"{value} colours", "texture": f"texture {value}", "strength": f"strength {value}"}
    return words.get(name, value) if value else ""


def combinations(rows: Sequence[Row], names: Sequence[str]) -> list[tuple[str, ...]]:
    """The combinations that occur, sorted by `order`."""
    found = {tuple(row[name] for name in names) for row in rows}
    return sorted(found, key=lambda values: [order(*pair) for pair in zip(names, values, strict=True)])
