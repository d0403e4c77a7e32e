"""Colour for grey photos, in the manner of the other edits: with a report and a recipe."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dequant.color.spaces import colorfulness as colorfulness_in
from dequant.colorization.drawn import Colored
from dequant.colorization.pipeline import ColorizePipeline
from dequant.edit import recipe as recipes
from dequant.edit import report as reports
from dequant.edit.edited import Edited, Photo
from dequant.edit.painting import STRIPE, as_levels, as_rgb, small_copy
from dequant.edit.recipe import Recipe
from dequant.edit.telling import Asked, Told, described, reading, said, told
from dequant.errors import whole_number
from dequant.io.originals import Original, read_original


@dataclass(frozen=True)
class ColorSettings:
    """How a photo is coloured.

    Attributes:
        weights: what `ColorizePipeline.load` takes.
        num_inference_steps: None for the pipeline's own.
        guidance_scale: how far the prompt is exaggerated; None for the pipeline's own.
        seed: of the noise that "semantic" begins with.
        strength: share of its steps that follow regions.
        captioner: folder or hub id of the BLIP that reads the caption for it; None names the category alone.
        segmenter: folder or hub id of the Mask2Former that finds things for it; None looks at segments.

    Raises:
        InputError: the number of steps is below 1.
    """

    weights: str = "diffusing_colors"
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    seed: int = 0
    strength: float = 0.3
    captioner: str | None = None
    segmenter: str | None = None

    def __post_init__(self) -> None:
        """Refuse what does not exist with an `InputError`."""
        if self.num_inference_steps is not None:
            whole_number("num_inference_steps", self.num_inference_steps)


USUAL = ColorSettings()


@lru_cache(1)
def colorizer(weights: str) -> ColorizePipeline:
    """`ColorizePipeline.load`, once for the last weights."""
    pipe = ColorizePipeline.load(weights)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def colorize(
    photo: Photo,
    prompt: str | None = None,
    *,
    category: str | None = None,
    regions: Sequence[Told] | None = None,
    scale: float | str = 1.0,
    colorfulness: float | None = None,
    settings: ColorSettings = USUAL,
    pipe: ColorizePipeline | None = None,
) -> Edited:
    """Colour a photo; its lightness L* stays, and what colour it has is not looked at.

    Args:
        photo: the photo.
        prompt: what it shows and in which colours, such as "a red car on green"; "" leaves it to the network. None lets
            "semantic" read in the photo what it shows, and is the same as "" for "diffusing_colors".
        category: of the main thing, such as "car"; for "semantic" alone, as the next.
        regions: with texts in place of colours: `Region("a red car", box=(0, 0, 64, 64))`.
        scale: of the colour; 0 is grey, "auto" lets a ranker choose.
        colorfulness: chooses the scale that makes it as colourful as this number, 0 to 150, instead.
        settings: how it is coloured.
        pipe: in place of that of `settings.weights`.

    Raises:
        InputError: the photo or an argument is wrong.
    """
    original = photo if isinstance(photo, Original) else read_original(photo)
    pipe = pipe or colorizer(settings.weights)
    copy, digest = small_copy(original.levels), recipes.digest(original.levels, original.alpha)
    size, reads, notes = original.levels.shape[:2], pipe.config["method"] == "semantic", list(original.notes)
    asked = Asked(prompt, category, None if regions is None else [told(one, size, copy) for one in regions])
    if not reads:
        found = asked.alone(pipe.config["method"])
    else:
        found = reading(copy, digest, asked, (settings.captioner, settings.segmenter))
        seen = found if asked.regions is None else found._replace(regions=())
        notes += [f"read in the photo: {said(seen)}"] if asked.unsaid else []
    options: dict[str, Any] = {"num_inference_steps": settings.num_inference_steps, "seed": settings.seed}
    options |= {"guidance_scale": settings.guidance_scale, "regions": found.regions, "strength": settings.strength}
    colored = pipe.color(copy, found.prompt, scale=scale, colorfulness=colorfulness, **options)
    levels = carried(original.levels, colored)
    colorful = colorfulness_of(levels)
    notes.append(_scaled(colored.scale, colorful, colorfulness))

    report = reports.measure(original.levels, levels, [], nowhere, 0, notes)
    edit = described(found) if reads else {"prompt": found.caption}
    edit |= {"scale": scale, "colorfulness": colorfulness}
    result = {"scale": colored.scale, "colorfulness": round(colorful, 2)}
    return Edited(levels, original, report, _recipe(edit, settings, (*size, digest), pipe, result))


def nowhere(rgb: Tensor, rows: slice, columns: slice) -> Tensor:
    """No pixel is of a palette or a region."""
    return torch.full(rgb.shape[1:], -2)


def _recipe(
    edit: dict[str, Any],
    settings: ColorSettings,
    photo: tuple[int, int, str],
    pipe: ColorizePipeline,
    result: dict[str, float],
) -> Recipe:
    """Of a photo of this height, width and sha256."""
    source = {"sha256": photo[2], "width": photo[1], "height": photo[0]}
    weights = {"name": recipes.weights_name(settings.weights), "sha256": recipes.weights_digest(pipe)}
    return Recipe("colorize", edit, asdict(settings), source, weights, recipes.versions(), result)


def colorfulness_of(levels: NDArray[Any]) -> float:
    """Of a photo (H, W, 3), or of a part of its pixels."""
    rows, columns = (max(1, side // 512) for side in levels.shape[:2])
    return float(colorfulness_in(as_rgb(levels[::rows, ::columns])))


def _scaled(scale: float, found: float, wanted: float | None) -> str:
    note = f"colour scaled by {scale:.2f}: colourfulness {found:.0f}"
    missed = wanted is not None and abs(found - wanted) > max(3, 0.1 * wanted)
    return f"{note}, and no scale comes nearer to {wanted:g}" if missed else note


def carried(levels: NDArray[Any], colored: Colored) -> NDArray[Any]:
    """A photo (H, W, 3) with the colour of its small copy, in stripes."""
    result, (height, width), most = np.empty_like(levels), levels.shape[:2], int(np.iinfo(levels.dtype).max)
    rows = max(1, STRIPE // width)
    for top in range(0, height, rows):
        part = slice(top, top + rows)
        result[part] = as_levels(colored.apply(as_rgb(levels[part]), top, height, most), levels.dtype)
    return result
