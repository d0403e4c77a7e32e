"""How well photos are coloured: against the photo, against plain methods, by scale, and by the words of a prompt.

Colorizers arrive as functions.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from dequant.color.luminance import grayscale
from dequant.color.spaces import colorfulness
from dequant.condition.captions import thing_of
from dequant.condition.scenes import HUES, random_scene
from dequant.evaluation.cases import LABELS
from dequant.evaluation.lookup import Lookup
from dequant.evaluation.ridge import Ridge, See
from dequant.evaluation.runner import Photo
from dequant.metrics.coloring import Box, by_kind, by_word, measured, winner
from dequant.metrics.image import mean_and_stderr
from dequant.metrics.perceptual import frechet_distance

Paint = Callable[[Tensor, str, float | str], Tensor]
"""A photo (3, H, W) in [0, 1], a prompt and a scale or "auto" -> the coloured photo."""

Keep = Callable[[str, Photo, Tensor], None]
"""Way, photo and its picture -> kept, to show it later."""

Summary = list[dict[str, Any]]
"""Dictionaries of variant, paper_item, `LABELS`, metric, mean, stderr (or None) and n, as `runner.summarize` makes."""

GRAY, TRUTH, MEAN, LOOKUP, RIDGE = "gray", "ground truth", "mean ab", "lookup", "ridge"
"""Rows of plain methods: no colour, all of it, the mean chroma of the training photos, that by lightness and height in
the picture, and that by features of a classifier."""


def compare(
    photos: Sequence[Photo],
    paint: Paint,
    name: str,
    seen: Sequence[Tensor],
    features: Callable[[Tensor], Tensor] | None,
    describe: Callable[[Tensor], str] | None,
    keep: Keep,
    likeness: Mapping[str, Callable[[Tensor, Tensor], Tensor]] | None = None,
    boxes: Mapping[str, Sequence[Box]] | None = None,
    see: See | None = None,
) -> Summary:
    """Colour photos in all ways, and measure them.

    Args:
        photos: to colour.
        paint: the colorizer.
        name: of the colorizer: it comes with scale 1, as `NAME auto` with the scale that its ranker chooses, and as
            `NAME caption` with scale 1 and a caption of the photo itself, which tells its colours.
        seen: training photos, which the mean chroma comes from.
        features: of pictures (B, 3, H, W), for a Frechet distance of two photos or more; None leaves it out.
        describe: makes a caption of a photo; None leaves that row out.
        keep: called with each picture.
        likeness: further metrics of pictures (B, 3, H, W) and their photos, (B,), by name: LPIPS, CLIP.
        boxes: kinds of things, by the name of their photo.
        see: makes the features that `ridge` knows; None leaves that row out.
    """
    ways = _ways(paint, name, seen, describe, see)
    truth = [photo.rgb for photo in photos]
    reference = None if features is None or len(truth) < 2 else features_of(features, truth)
    summary: Summary = []
    for way, make in ways.items():
        made = []
        for photo in shown(photos, way):
            made.append(make(photo.rgb))
            keep(way, photo, made[-1])
        values, whole = measured(made, truth)
        for metric, measure in (likeness or {}).items():
            with torch.no_grad():
                pairs = zip(made, truth, strict=True)
                values[metric] = [float(measure(picture[None], photo[None])) for picture, photo in pairs]
        if features is not None and reference is not None:
            whole["fd"] = frechet_distance(features_of(features, made), reference)
        summary += rows(way, values, whole)
        for word, found in by_word(made, truth).items():
            summary += rows(way, found, {}, method=word)
        own = [(boxes or {}).get(PurePath(photo.key).stem, ()) for photo in photos]
        for kind, found in by_kind(made, truth, own).items():
            summary += rows(way, found, {}, method=kind)
    return summary


def _ways(
    paint: Paint, name: str, seen: Sequence[Tensor], describe: Callable[[Tensor], str] | None, see: See | None
) -> dict[str, Callable[[Tensor], Tensor]]:
    known = Lookup.of(seen)
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        GRAY: grayscale,
        TRUTH: lambda rgb: rgb,
        MEAN: lambda rgb: known.paint(rgb, True),
        LOOKUP: lambda rgb: known.paint(rgb, False),
        name: lambda rgb: paint(rgb, "", 1.0),
        f"{name} auto": lambda rgb: paint(rgb, "", "auto"),
    }
    if see is not None:
        ways[RIDGE] = Ridge(list(track(seen, "ridge regression", transient=True)), see).paint
    if describe is not None:
        ways[f"{name} caption"] = lambda rgb: paint(rgb, describe(rgb), 1.0)
    return ways


def by_scale(
    photos: Sequence[Photo], ways: Mapping[str, Callable[[Tensor, float], Tensor]], scales: Sequence[float]
) -> Summary:
    """Colourfulness against the scale of the colour in the latents (Diffusing Colors, section 3.1).

    Args:
        photos: to colour.
        ways: whose colour is scaled: the photo's own, or the one that is drawn.
        scales: of it.

    Returns:
        `colorfulness` for each scale (label strength), and `correlation`, the mean over the photos of its correlation
        with the scale.
    """
    summary: Summary = []
    for way, make in ways.items():
        found = np.array([[float(colorfulness(make(photo.rgb, s))) for s in scales] for photo in shown(photos, way)])
        for scale, values in zip(scales, found.T, strict=True):
            summary += rows(way, {"colorfulness": values.tolist()}, {}, strength=scale)
        summary += rows(way, {"correlation": [float(np.corrcoef(scales, row)[0, 1]) for row in found]}, {})
    return summary


def by_prompt(
    photos: Sequence[Photo],
    paint: Paint,
    name: str,
    describe: Callable[[Tensor], str],
    where: Callable[[Tensor, str], Tensor],
    scenes: int,
    size: int,
    seed: int,
    keep: Keep,
) -> Summary:
    """How often the named colour wins: on drawn scenes, whose lightness tells nothing, and on photos of one thing.

    The word that wins is the one whose hue is nearest to the mean chroma of the thing.

    Args:
        photos: those that show a thing of one colour are taken.
        paint: the colorizer.
        name: of it.
        describe: makes a caption of a photo.
        where: the weight of a thing in each pixel of a photo, (h, w) in [0, 1].
        scenes: number of scenes.
        size: of a scene in pixels.
        seed: of the scenes and the words.
        keep: called with each picture of a photo.

    Returns:
        `obeyed`, the share of pictures in which the named colour wins, by method: scene and photo, each with the own
        colour named (own) and with another one (swapped).
    """
    rng, found = np.random.default_rng(seed), dict[str, list[float]]()
    for _ in track(range(scenes), "drawing scenes", transient=True):
        scene = random_scene(size, rng)
        other = other_than(scene.word, rng)
        for kind, word in (("scene, own", scene.word), ("scene, swapped", other)):
            picture = paint(scene.rgb, scene.caption.replace(scene.word, word, 1), 1.0)
            found.setdefault(kind, []).append(float(winner(picture, scene.inside.float()) == word))
    for photo in shown(photos, "photos"):
        caption = describe(photo.rgb)
        thing, own = thing_of(caption), caption.split()[1] if caption.startswith("a") else ""
        if not thing or own not in HUES:
            continue
        inside = where(photo.rgb, thing)
        inside = F.interpolate(inside[None, None], photo.rgb.shape[1:], mode="bilinear")[0, 0] > 0.5
        other = other_than(own, rng)
        for kind, word in (("photo, own", own), ("photo, swapped", other)):
            picture = paint(photo.rgb, caption.replace(own, word, 1), 1.0)
            keep(f"{word} {thing}", photo, picture)
            found.setdefault(kind, []).append(float(winner(picture, inside.float()) == word))
    return [row for kind, values in found.items() for row in rows(name, {"obeyed": values}, {}, method=kind)]


def other_than(word: str, rng: np.random.Generator) -> str:
    """Another word of `HUES`."""
    return str(rng.choice([one for one in HUES if one != word]))


def features_of(network: Callable[[Tensor], Tensor], pictures: Sequence[Tensor]) -> Tensor:
    """Of pictures of any sizes, (B, D)."""
    with torch.no_grad():
        return torch.cat([network(picture[None]) for picture in pictures])


def shown(photos: Sequence[Photo], what: str) -> Iterator[Photo]:
    """The photos, with a bar that says how far they are."""
    yield from track(photos, f"colouring, {what}", transient=True)


def rows(variant: str, values: Mapping[str, Sequence[float]], whole: Mapping[str, float], **labels: Any) -> Summary:
    """Of a summary: means of the values of photos, and numbers of all photos together, by metric."""
    about = {"variant": variant, "paper_item": "", **dict.fromkeys(LABELS, ""), **labels}
    found = []
    for metric, numbers in values.items():
        mean, stderr = mean_and_stderr(numbers)
        found.append(about | {"metric": metric, "mean": mean, "stderr": stderr, "n": len(numbers)})
    count = len(next(iter(values.values())))
    return found + [about | {"metric": m, "mean": value, "stderr": None, "n": count} for m, value in whole.items()]
