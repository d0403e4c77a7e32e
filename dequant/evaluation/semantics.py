"""Whether the parts of semantic-aware colorization pay, and whether priors steer colours (arXiv:2404.16678, section 4).

The colorizer arrives as functions.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from dequant.color.spaces import rgb_to_lab
from dequant.condition.captions import Labelled, of_category
from dequant.condition.scenes import HUES, random_scene
from dequant.evaluation.colorization import Keep, Summary, features_of, other_than, rows, shown
from dequant.evaluation.runner import Photo
from dequant.metrics.coloring import measured, winner
from dequant.metrics.image import mean_ciede2000, psnr
from dequant.metrics.perceptual import frechet_distance

Steer = Callable[[Tensor, str, Sequence[Labelled], float], Tensor]
"""A photo (3, H, W) in [0, 1], a prompt, regions with texts and their strength -> the coloured photo."""

FINE = 5
"""Pixels per side of the mean that is subtracted from what counts as fine."""


def ablate(
    photos: Sequence[Photo],
    make: Callable[[Tensor], Mapping[tuple[str, str], Tensor]],
    features: Callable[[Tensor], Tensor],
    keep: Keep,
) -> Summary:
    """The effect of each part (Table 2).

    Args:
        photos: to colour.
        make: a photo -> pictures of it by variant (neither, decoder, guidance, both) and by what was done with them.
        features: of pictures (B, 3, H, W), for the Frechet distance.
        keep: called with each picture.
    """
    made: dict[tuple[str, str], list[Tensor]] = {}
    for photo in shown(photos, "all variants"):
        for (variant, method), picture in make(photo.rgb).items():
            made.setdefault((variant, method), []).append(picture)
            keep(f"{variant}, {method}", photo, picture)
    truth = [photo.rgb for photo in photos]
    reference, summary = features_of(features, truth), Summary()
    for (variant, method), pictures in made.items():
        values, whole = measured(pictures, truth)
        if len(truth) > 1:
            whole["fd"] = frechet_distance(features_of(features, pictures), reference)
        summary += rows(variant, values, whole, method=method, paper_item="ColorDiff, Table 2")
    return summary


def decoders(photos: Sequence[Photo], make: Callable[[Tensor], Mapping[tuple[str, str], Tensor]]) -> Summary:
    """How well decoders bring back photos, and the fine lightness of photos that were coloured.

    Args:
        photos: to decode.
        make: a photo -> pictures of it by decoder and by where the latents are from.

    Returns:
        `psnr`, `ciede2000` and `fine_error`, the root mean square of the error of L* from which its mean over 5 x 5
        pixels is subtracted.
    """
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for photo in shown(photos, "decoding"):
        for place, picture in make(photo.rgb).items():
            pair = picture[None], photo.rgb[None]
            values = {"psnr": float(psnr(*pair)), "fine_error": fine_error(*pair)}
            values["ciede2000"] = float(mean_ciede2000(*pair))
            for metric, value in values.items():
                found.setdefault(place, {}).setdefault(metric, []).append(value)
    return [row for (way, latents), values in found.items() for row in rows(way, values, {}, method=latents)]


def fine_error(picture: Tensor, photo: Tensor) -> float:
    """Of pictures (1, 3, H, W) against photos, in L*, see `decoders`."""
    error = rgb_to_lab(picture)[:, :1] - rgb_to_lab(photo)[:, :1]
    smooth = F.avg_pool2d(F.pad(error, (FINE // 2,) * 4, mode="reflect"), FINE, 1)
    return float((error - smooth).square().mean().sqrt())


def by_region(steer: Steer, name: str, scenes: int, size: int, seed: int, strengths: Sequence[float]) -> Summary:
    """How often the text of a region colours it, and leaves the other region to its own text.

    On drawn scenes, whose lightness tells nothing, and without a prompt: only the regions tell of colours.

    Args:
        steer: the colorizer.
        name: of it.
        scenes: number of scenes.
        size: of a scene in pixels.
        seed: of the scenes and the words.
        strengths: of the regions.

    Returns:
        `obeyed` by strength: of the thing and of the ground with words at random (own), and of the ground when the
        thing's word is another (beside another).
    """
    summary: Summary = []
    for strength in strengths:
        rng, found = np.random.default_rng(seed), dict[str, list[float]]()
        for _ in track(range(scenes), f"regions, strength {strength:g}", transient=True):
            scene = random_scene(size, rng)
            inside = scene.inside.float()
            shape = scene.caption.split()[2]
            ground = other_than(scene.ground, rng)
            word = other_than(ground, rng)
            swapped = str(rng.choice([one for one in HUES if one not in (word, ground)]))
            for given in (word, swapped):
                labels = [Labelled(scene.inside, f"a {given} {shape}"), Labelled(~scene.inside, ground)]
                picture = steer(scene.rgb, "", labels, strength)
                kept = "ground, own" if given == word else "ground, beside another"
                found.setdefault(kept, []).append(float(winner(picture, 1 - inside) == ground))
                found.setdefault("thing", []).append(float(winner(picture, inside) == given))
        summary += [
            row
            for kind, values in found.items()
            for row in rows(name, {"obeyed": values}, {}, method=kind, strength=strength)
        ]
    return summary


def by_category(
    photos: Sequence[Photo],
    steer: Steer,
    name: str,
    recognize: Callable[[Tensor], str],
    others: Sequence[str],
    seed: int,
) -> Summary:
    """How far photos are off by their category: the right one, another one, or none.

    Args:
        photos: those whose thing is recognized are taken.
        steer: the colorizer.
        name: of it.
        recognize: the thing of a photo, "" where none is sure.
        others: things.
        seed: chooses the wrong ones.

    Returns:
        `ciede2000` by method, and of the wrong ones the difference from the right ones, photo by photo.
    """
    rng, found = np.random.default_rng(seed), dict[str, list[float]]()
    for photo in shown(photos, "categories"):
        if not (thing := recognize(photo.rgb)):
            continue
        wrong = str(rng.choice([one for one in others if one != thing]))
        for kind, told in (("right", of_category(thing)), ("wrong", of_category(wrong)), ("none", "")):
            error = mean_ciede2000(steer(photo.rgb, told, (), 0.0)[None], photo.rgb[None])
            found.setdefault(kind, []).append(float(error))
    values = {kind: {"ciede2000": numbers} for kind, numbers in found.items()}
    if found:
        values["wrong"]["ciede2000_off"] = (np.array(found["wrong"]) - found["right"]).tolist()
    return [row for kind, metrics in values.items() for row in rows(name, metrics, {}, method=f"category, {kind}")]
