"""How well photos are coloured: against the photo, against plain methods, by scale, and by the words of a prompt.

Colorizers arrive as functions. The colourfulness is that of Hasler and Suesstrunk (2003), whose opponent channels have
a sign; `colorfulness_abs` is the variant of much published code, which takes their sizes first.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from dequant.color.luminance import grayscale, in_gamut
from dequant.color.names import WORDS, named
from dequant.color.spaces import ciede2000, colorfulness, lab_to_rgb, rgb_to_lab
from dequant.condition.captions import thing_of
from dequant.condition.scenes import HUES, random_scene
from dequant.evaluation.cases import LABELS
from dequant.evaluation.runner import Photo
from dequant.metrics.image import mean_and_stderr, psnr
from dequant.metrics.perceptual import frechet_distance

Paint = Callable[[Tensor, str, float | str], Tensor]
"""A photo (3, H, W) in [0, 1], a prompt and a scale or "auto" -> the coloured photo."""

Summary = list[dict[str, Any]]
"""Dictionaries of variant, paper_item, `LABELS`, metric, mean, stderr (or None) and n, as `runner.summarize` makes."""

GRAY, TRUTH, MEAN, LOOKUP = "gray", "ground truth", "mean ab", "lookup"
"""Rows that every table has: no colour, all of it, the mean chroma of the training photos, and that by lightness and
height in the picture."""

KINDS = ("blue", "green", "beige", "red", "yellow")
"""Colours of pixels that are measured apart."""

LEAST_SHARE = 0.05
"""Of a photo that must have such a colour."""

BINS = (12, 8)
"""Of lightness and height."""


class Lookup(NamedTuple):
    """The mean chroma of photos, over all and by lightness and height.

    Attributes:
        mean: (2,).
        table: (2, rows, columns), sizes `BINS`.
    """

    mean: Tensor
    table: Tensor

    @classmethod
    def of(cls, photos: Sequence[Tensor]) -> "Lookup":
        """Of photos (3, H, W) in [0, 1]; a bin that none has takes the mean of all."""
        total, count = torch.zeros(2, BINS[0] * BINS[1]), torch.zeros(BINS[0] * BINS[1])
        for rgb in photos:
            lab = rgb_to_lab(rgb)
            place = _place(lab[0]).flatten()
            count += torch.bincount(place, minlength=len(count))
            for channel in range(2):
                total[channel] += torch.bincount(place, lab[1 + channel].flatten(), minlength=len(count))
        mean = total.sum(1) / count.sum()
        table = torch.where(count > 0, total / count.clamp(min=1), mean[:, None])
        return cls(mean, table.view(2, *BINS))

    def paint(self, rgb: Tensor, whole: bool) -> Tensor:
        """A photo with the mean chroma of all, or with that of its lightness and height."""
        light = rgb_to_lab(rgb)[0]
        own = self.table.flatten(1)[:, _place(light)]
        chroma = self.mean[:, None, None].expand_as(own) if whole else own
        return lab_to_rgb(in_gamut(torch.cat([light[None], chroma])))


def compare(
    photos: Sequence[Photo],
    paint: Paint,
    name: str,
    seen: Sequence[Tensor],
    features: Callable[[Tensor], Tensor] | None,
    describe: Callable[[Tensor], str] | None,
    keep: Callable[[str, Photo, Tensor], None],
    likeness: Mapping[str, Callable[[Tensor, Tensor], Tensor]] | None = None,
) -> Summary:
    """Colour photos in all ways, and measure them.

    Args:
        photos: to colour.
        paint: the colorizer.
        name: of the colorizer: it comes with scale 1, as `NAME auto` with the scale that its ranker chooses, and as
            `NAME caption` with scale 1 and a caption of the photo itself, which tells its colours.
        seen: training photos, which the mean chroma comes from.
        features: of pictures (B, 3, H, W), for a Frechet distance; None leaves it out.
        describe: makes a caption of a photo; None leaves that row out.
        keep: called with each picture.
        likeness: further metrics of pictures (B, 3, H, W) and their photos, (B,), by name: LPIPS, CLIP.
    """
    known = Lookup.of(seen)
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        GRAY: grayscale,
        TRUTH: lambda rgb: rgb,
        MEAN: lambda rgb: known.paint(rgb, True),
        LOOKUP: lambda rgb: known.paint(rgb, False),
        name: lambda rgb: paint(rgb, "", 1.0),
        f"{name} auto": lambda rgb: paint(rgb, "", "auto"),
    }
    if describe is not None:
        ways[f"{name} caption"] = lambda rgb: paint(rgb, describe(rgb), 1.0)
    truth = [photo.rgb for photo in photos]
    reference = None if features is None else _features(features, truth)
    summary: Summary = []
    for way, make in ways.items():
        made = []
        for photo in _shown(photos, way):
            made.append(make(photo.rgb))
            keep(way, photo, made[-1])
        values, whole = measured(made, truth)
        for metric, measure in (likeness or {}).items():
            pairs = zip(made, truth, strict=True)
            values[metric] = [float(measure(picture[None], photo[None])) for picture, photo in pairs]
        if features is not None and reference is not None:
            whole["fd"] = frechet_distance(_features(features, made), reference)
        summary += _rows(way, values, whole)
        for word, found in by_word(made, truth).items():
            summary += _rows(way, found, {}, method=word)
    return summary


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


def measured(made: Sequence[Tensor], truth: Sequence[Tensor]) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Metrics of each picture, and those of all together.

    Args:
        made: coloured photos (3, H, W) in [0, 1].
        truth: the photos.

    Returns:
        PSNR, CIEDE2000 (mean and 95th percentile of the pixels), both kinds of colourfulness and how far it is from the
        photo's; and for all together the PSNR of the pooled error and the difference of the mean colourfulness.
    """
    values: dict[str, list[float]] = {}
    errors = []
    for picture, photo in zip(made, truth, strict=True):
        apart = ciede2000(rgb_to_lab(picture), rgb_to_lab(photo))
        vivid, wanted = float(colorfulness(picture)), float(colorfulness(photo))
        errors.append((picture - photo).square().mean().item())
        one = {
            "psnr": float(psnr(picture[None], photo[None])),
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
        found = np.array([[float(colorfulness(make(photo.rgb, s))) for s in scales] for photo in _shown(photos, way)])
        for scale, values in zip(scales, found.T, strict=True):
            summary += _rows(way, {"colorfulness": values.tolist()}, {}, strength=scale)
        summary += _rows(way, {"correlation": [float(np.corrcoef(scales, row)[0, 1]) for row in found]}, {})
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
    keep: Callable[[str, Photo, Tensor], None],
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
        other = _other(scene.word, rng)
        for kind, word in (("scene, own", scene.word), ("scene, swapped", other)):
            picture = paint(scene.rgb, scene.caption.replace(scene.word, word, 1), 1.0)
            found.setdefault(kind, []).append(float(winner(picture, scene.inside.float()) == word))
    for photo in _shown(photos, "photos"):
        caption = describe(photo.rgb)
        thing, own = thing_of(caption), caption.split()[1] if caption.startswith("a") else ""
        if not thing or own not in HUES:
            continue
        inside = where(photo.rgb, thing)
        inside = F.interpolate(inside[None, None], photo.rgb.shape[1:], mode="bilinear")[0, 0] > 0.5
        other = _other(own, rng)
        for kind, word in (("photo, own", own), ("photo, swapped", other)):
            picture = paint(photo.rgb, caption.replace(own, word, 1), 1.0)
            keep(f"{word} {thing}", photo, picture)
            found.setdefault(kind, []).append(float(winner(picture, inside.float()) == word))
    return [row for kind, values in found.items() for row in _rows(name, {"obeyed": values}, {}, method=kind)]


def winner(rgb: Tensor, inside: Tensor) -> str:
    """The word of `scenes.HUES` that is nearest to the mean chroma of a thing, "" where that is grey.

    Args:
        rgb: (3, H, W) in [0, 1].
        inside: weight of each pixel, (H, W).
    """
    a, b = ((rgb_to_lab(rgb)[1:] * inside).sum((1, 2)) / inside.sum().clamp(min=1e-9)).tolist()
    if a * a + b * b < 4**2:
        return ""
    angle = np.degrees(np.arctan2(b, a)) % 360
    return min(HUES, key=lambda word: abs((angle - HUES[word] + 180) % 360 - 180))


def colorfulness_abs(rgb: Tensor) -> float:
    """The colourfulness of much published code, which takes the sizes of the opponent channels first: (3, H, W)."""
    red, green, blue = (255 * rgb.double()).unbind(0)
    opponent = torch.stack(((red - green).abs(), ((red + green) / 2 - blue).abs())).flatten(1)
    spread, mean = opponent.var(1, correction=0).sum().sqrt(), opponent.mean(1).square().sum().sqrt()
    return float(spread + 0.3 * mean)


def _other(word: str, rng: np.random.Generator) -> str:
    return str(rng.choice([one for one in HUES if one != word]))


def _features(network: Callable[[Tensor], Tensor], pictures: Sequence[Tensor]) -> Tensor:
    with torch.no_grad():
        return torch.cat([network(picture[None]) for picture in pictures])


def _shown(photos: Sequence[Photo], what: str) -> Iterator[Photo]:
    yield from track(photos, f"colouring, {what}", transient=True)


def _place(light: Tensor) -> Tensor:
    """The bin of each pixel of a lightness (H, W)."""
    height = torch.linspace(0, BINS[1] - 1e-3, light.shape[0]).floor().long()
    return (light / 100 * (BINS[0] - 1e-3)).clamp(min=0).long() * BINS[1] + height[:, None]


def _rows(variant: str, values: Mapping[str, Sequence[float]], whole: Mapping[str, float], **labels: Any) -> Summary:
    about = {"variant": variant, "paper_item": "", **dict.fromkeys(LABELS, ""), **labels}
    rows = []
    for metric, numbers in values.items():
        mean, stderr = mean_and_stderr(numbers)
        rows.append(about | {"metric": metric, "mean": mean, "stderr": stderr, "n": len(numbers)})
    count = len(next(iter(values.values())))
    return rows + [about | {"metric": m, "mean": value, "stderr": None, "n": count} for m, value in whole.items()]
