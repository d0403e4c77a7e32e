"""How well a photo was coloured.

The colourfulness is that of Hasler and Suesstrunk (2003), whose opponent channels have a sign; `colorfulness_abs` is
the variant of much published code, which takes their sizes first.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dequant.color.names import WORDS, named
from dequant.color.spaces import ciede2000, colorfulness, rgb_to_lab
from dequant.condition.scenes import HUES
from dequant.errors import InputError
from dequant.metrics.image import psnr, ssim

KINDS = ("blue", "green", "beige", "red", "yellow")
"""Colours of pixels that are measured apart."""

LEAST_SHARE = 0.05
"""Of a photo that must have such a colour."""

LEAST_CHROMA = 4.0
"""In CIE Lab, below which a colour counts as grey."""

EXPECTED = {"sky": (200, 300), "foliage": (85, 170), "skin": (15, 80), "water": (140, 300)}
"""Hue angles in CIE Lab, in degrees, that kinds of things are expected to have."""


class Box(NamedTuple):
    """A part of a photo, in shares of its sides.

    Attributes:
        kind: of what it shows.
        left: from 0 to 1, as the others.
        top: smaller than `bottom`.
        right: larger than `left`.
        bottom: excluded.
    """

    kind: str
    left: float
    top: float
    right: float
    bottom: float

    def inside(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of a picture."""
        rows, columns = (self.top * height, self.bottom * height), (self.left * width, self.right * width)
        return slice(*(round(one) for one in rows)), slice(*(round(one) for one in columns))


def read_boxes(path: str | Path) -> dict[str, list[Box]]:
    """Boxes by the name of their photo, from a CSV with the columns photo, kind, left, top, right and bottom.

    Raises:
        InputError: it cannot be read, or a box is impossible.
    """
    found: dict[str, list[Box]] = {}
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                box = Box(row["kind"], *(float(row[side]) for side in ("left", "top", "right", "bottom")))
                if not (0 <= box.left < box.right <= 1 and 0 <= box.top < box.bottom <= 1):
                    raise ValueError(f"{box} is not within a photo")
                found.setdefault(row["photo"], []).append(box)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"Expected a CSV with photo, kind, left, top, right and bottom, shares of a photo from 0 to 1, in {path}: "
            f"{error}."
        ) from error
    return found


def measured(made: Sequence[Tensor], truth: Sequence[Tensor]) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Metrics of each picture, and those of all together.

    Args:
        made: coloured photos (3, H, W) in [0, 1].
        truth: the photos.

    Returns:
        PSNR, SSIM, CIEDE2000 (mean and 95th percentile of the pixels), both kinds of colourfulness and how far it is
        from the photo's; and for all together the PSNR of the pooled error and the difference of the mean
        colourfulness.
    """
    values: dict[str, list[float]] = {}
    errors = []
    for picture, photo in zip(made, truth, strict=True):
        apart = ciede2000(rgb_to_lab(picture), rgb_to_lab(photo))
        vivid, wanted = float(colorfulness(picture)), float(colorfulness(photo))
        errors.append((picture - photo).square().mean().item())
        one = {
            "psnr": float(psnr(picture[None], photo[None])),
            "ssim": float(ssim(picture[None], photo[None])),
            "ciede2000": apart.mean().item(),
            "ciede2000_p95": float(np.quantile(apart.numpy(), 0.95)),
            "colorfulness": vivid,
            "colorfulness_abs": colorfulness_abs(picture),
            "colorfulness_off": abs(vivid - wanted),
        }
        for metric, value in one.items():
            values.setdefault(metric, []).append(value)
    wanted_mean = float(np.mean([float(colorfulness(photo)) for photo in truth]))
    pooled = -10 * float(np.log10(np.mean(errors) + 1e-8))
    change = abs(float(np.mean(values["colorfulness"])) - wanted_mean)
    return values, {"psnr_pooled": pooled, "delta_colorfulness": change}


def by_word(made: Sequence[Tensor], truth: Sequence[Tensor]) -> dict[str, dict[str, list[float]]]:
    """How pixels of one colour of the photos came out: blue ones are mostly sky, green foliage, beige skin and sand.

    Args:
        made: coloured photos (3, H, W) in [0, 1].
        truth: the photos.

    Returns:
        By word, for each photo of which it is `LEAST_SHARE`: `ciede2000_of_word` of these pixels, and `same_word`, the
        share of them that have the same word in the picture.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for picture, photo in zip(made, truth, strict=True):
        apart = ciede2000(rgb_to_lab(picture), rgb_to_lab(photo))
        before, after = named(photo), named(picture)
        for number, word in enumerate(WORDS):
            mine = before == number
            if word in KINDS and mine.float().mean() >= LEAST_SHARE:
                values = found.setdefault(word, {"same_word": [], "ciede2000_of_word": []})
                values["ciede2000_of_word"].append(apart[mine].mean().item())
                values["same_word"].append((after[mine] == number).float().mean().item())
    return found


def by_kind(
    made: Sequence[Tensor], truth: Sequence[Tensor], boxes: Sequence[Sequence[Box]]
) -> dict[str, dict[str, list[float]]]:
    """How things of a kind came out: skies, foliage, skin and water.

    Args:
        made: coloured photos (3, H, W) in [0, 1].
        truth: the photos.
        boxes: of each photo.

    Returns:
        By kind, for each box: `ciede2000_of_kind`, and for the kinds of `EXPECTED` `as_expected`, 1 where the mean
        colour has such a hue.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for picture, photo, own in zip(made, truth, boxes, strict=True):
        lab, wanted = rgb_to_lab(picture), rgb_to_lab(photo)
        for box in own:
            rows, columns = box.inside(*lab.shape[1:])
            values = found.setdefault(box.kind, {"ciede2000_of_kind": []})
            apart = ciede2000(lab[:, rows, columns], wanted[:, rows, columns])
            values["ciede2000_of_kind"].append(apart.mean().item())
            if box.kind in EXPECTED:
                low, high = EXPECTED[box.kind]
                angle, chroma = _hue(*lab[1:, rows, columns].mean((1, 2)).tolist())
                values.setdefault("as_expected", []).append(float(low <= angle <= high and chroma >= LEAST_CHROMA))
    return found


def winner(rgb: Tensor, inside: Tensor) -> str:
    """The word of `scenes.HUES` that is nearest to the mean chroma of a thing, "" where that is grey.

    Args:
        rgb: (3, H, W) in [0, 1].
        inside: weight of each pixel, (H, W).
    """
    a, b = ((rgb_to_lab(rgb)[1:] * inside).sum((1, 2)) / inside.sum().clamp(min=1e-9)).tolist()
    angle, chroma = _hue(a, b)
    if chroma < LEAST_CHROMA:
        return ""
    return min(HUES, key=lambda word: abs((angle - HUES[word] + 180) % 360 - 180))


def _hue(a: float, b: float) -> tuple[float, float]:
    """Angle in degrees, 0 to 360, and chroma."""
    return float(np.degrees(np.arctan2(b, a)) % 360), float(np.hypot(a, b))


def colorfulness_abs(rgb: Tensor) -> float:
    """The colourfulness of much published code, which takes the sizes of the opponent channels first: (3, H, W)."""
    red, green, blue = (255 * rgb.double()).unbind(0)
    opponent = torch.stack(((red - green).abs(), ((red + green) / 2 - blue).abs())).flatten(1)
    spread, mean = opponent.var(1, correction=0).sum().sqrt(), opponent.mean(1).square().sum().sqrt()
    return float(spread + 0.3 * mean)
