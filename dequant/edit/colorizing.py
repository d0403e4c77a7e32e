"""Colour for grey photos, in the manner of the other edits: with a report and a recipe."""

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dequant.color.spaces import colorfulness as colorfulness_of
from dequant.colorization.drawn import Colored
from dequant.colorization.pipeline import ColorizePipeline
from dequant.edit import recipe as recipes
from dequant.edit import report as reports
from dequant.edit.edits import Edited, Photo
from dequant.edit.painting import STRIPE, as_levels, as_rgb, small_copy
from dequant.edit.recipe import Recipe
from dequant.errors import whole_number
from dequant.io.originals import Original, read_original


@dataclass(frozen=True)
class ColorSettings:
    """How a photo is coloured.

    Attributes:
        weights: what `ColorizePipeline.load` takes.
        num_inference_steps: None for the pipeline's own.
        guidance_scale: how far the prompt is exaggerated.

    Raises:
        InputError: the number of steps is below 1.
    """

    weights: str = "diffusing_colors"
    num_inference_steps: int | None = None
    guidance_scale: float = 1.0

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
    prompt: str = "",
    *,
    scale: float | str = 1.0,
    colorfulness: float | None = None,
    settings: ColorSettings = USUAL,
    pipe: ColorizePipeline | None = None,
) -> Edited:
    """Colour a photo; its lightness L* stays, and what colour it has is not looked at.

    Args:
        photo: the photo.
        prompt: what it shows and in which colours, such as "a red car on green"; "" leaves it to the network.
        scale: of the colour; 0 is grey, "auto" lets a ranker choose.
        colorfulness: chooses the scale that makes it as colourful as this number, 0 to 150, instead.
        settings: how it is coloured.
        pipe: in place of that of `settings.weights`.

    Raises:
        InputError: the photo or an argument is wrong.
    """
    original = photo if isinstance(photo, Original) else read_original(photo)
    pipe = pipe or colorizer(settings.weights)
    steps: dict[str, Any] = {
        "num_inference_steps": settings.num_inference_steps,
        "guidance_scale": settings.guidance_scale,
    }
    colored = pipe.color(small_copy(original.levels), prompt, scale=scale, colorfulness=colorfulness, **steps)
    levels = _carried(original.levels, colored)
    found = float(colorfulness_of(as_rgb(levels[:: max(1, len(levels) // 512), :: max(1, levels.shape[1] // 512)])))
    note = f"colour scaled by {colored.scale:.2f}: colourfulness {found:.0f}"
    if colorfulness is not None and abs(found - colorfulness) > max(3, 0.1 * colorfulness):
        note += f", and no scale comes nearer to {colorfulness:g}"

    def which(rgb: Tensor, rows: slice, columns: slice) -> Tensor:
        return torch.full(rgb.shape[1:], -2)

    report = reports.measure(original.levels, levels, [], which, False, [*original.notes, note])
    told = {"prompt": prompt, "scale": scale, "colorfulness": colorfulness}
    (height, width), digest = original.levels.shape[:2], recipes.digest(original.levels, original.alpha)
    source = {"sha256": digest, "width": width, "height": height}
    weights = {"name": recipes.weights_name(settings.weights), "sha256": recipes.weights_digest(pipe)}
    result = {"scale": colored.scale, "colorfulness": round(found, 2)}
    recipe = Recipe("colorize", told, asdict(settings), source, weights, recipes.versions(), result)
    return Edited(levels, original, report, recipe)


def _carried(levels: NDArray[Any], colored: Colored) -> NDArray[Any]:
    """A photo (H, W, 3) with the colour of its small copy, in stripes."""
    result, (height, width), most = np.empty_like(levels), levels.shape[:2], int(np.iinfo(levels.dtype).max)
    rows = max(1, STRIPE // width)
    for top in range(0, height, rows):
        part = slice(top, top + rows)
        result[part] = as_levels(colored.apply(as_rgb(levels[part]), top, height, most), levels.dtype)
    return result
