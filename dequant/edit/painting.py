"""From what is asked of a photo to an edited picture of any size.

A network that was trained on photos of a few hundred pixels makes the best pictures at such sizes. So a large photo is
edited as a small copy (`WORKING_PIXELS`), and its detail is added again (`dequant.color.details`). What has no texture
of a photo, an indexed image or a picture whose luminance is free, is drawn at its own size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dequant.color import cells
from dequant.color.details import Details, shrunk
from dequant.color.levels import to_levels, to_rgb
from dequant.color.luminance import with_lightness
from dequant.condition.channels import PATCH_LEVEL, for_palette, stack
from dequant.diffusion.fidelity import MODES
from dequant.errors import InputError, whole_number

if TYPE_CHECKING:
    from dequant.diffusion.sampler import Sampler
    from dequant.pipelines.dequant import DequantPipeline

WORKING_PIXELS = 2**18
"""Of the copy that a network edits; a smaller photo is its own copy."""


TILE = 1024
"""Side in pixels of the tiles in which larger pictures without a texture are drawn."""


STRIPE = 2**20
"""Pixels that are finished at a time."""


Watch = Callable[[int, int, Tensor], None]
"""Number of a network's step from 1, number of steps, the picture (3, h, w) in [0, 1] that it predicts; may raise."""


LUMINANCE = ("texture", "keep", "free")
"""Policies: the photo's texture under new brightness, the photo's lightness L*, or neither."""


@dataclass(frozen=True)
class Settings:
    """How an edit is painted, whatever it is.

    Attributes:
        weights: what `dequant.load` takes.
        luminance: "texture" keeps the photo's texture and takes the brightness asked for, "keep" keeps the photo's
            lightness L* and takes only hue and chroma, "free" leaves both to the network.
        keep_palette: as in `dequant.Sampler`: "exact" has every pixel nearest to the colour asked for.
        num_inference_steps: None for the pipeline's own.
        seed: of the noise.
        spread: how far colours follow a similar one that is pinned or swapped; 0 moves no other.

    Raises:
        InputError: a setting does not exist.
    """

    weights: str = "edit_G"
    luminance: str = "texture"
    keep_palette: str = "off"
    num_inference_steps: int | None = None
    seed: int = 0
    spread: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what does not exist with an `InputError`."""
        if self.luminance not in LUMINANCE:
            raise InputError(f"There is no luminance policy {self.luminance!r}: choose {', '.join(LUMINANCE)}.")
        if self.keep_palette not in list(MODES):
            raise InputError(f"There is no keep_palette={self.keep_palette!r}: choose {', '.join(MODES)}.")
        if self.num_inference_steps is not None:
            whole_number("num_inference_steps", self.num_inference_steps)
        whole_number("seed", self.seed, 0, 2**63 - 1)
        if isinstance(self.spread, bool) or not isinstance(self.spread, int | float) or not 0 <= self.spread < inf:
            raise InputError(f"A spread of {self.spread!r} is not possible: give a number of at least 0.")


class Layer(NamedTuple):
    """One thing that is asked of a photo.

    Attributes:
        colors: what the copy shall look like, (3, h, w) in [0, 1], of few colours where it is edited.
        n_colors: size of the palette; a region has one colour.
        recolored: whether the colours are not the photo's own.
        textured: whether the photo's texture is known.
        inside: the pixels of the copy that are edited, (h, w) bool; None for all.
        mask: how much of the photo's pixels is edited, (H, W) in [0, 1]; None for all.
        asked: rgb (3, n) of the photo -> colours (3, n) asked for, for what is kept at full size.
    """

    colors: Tensor
    n_colors: int
    recolored: bool
    textured: bool
    inside: Tensor | None = None
    mask: NDArray[Any] | None = None
    asked: Callable[[Tensor], Tensor] | None = None


def copy_size(height: int, width: int) -> tuple[int, int]:
    """Of the copy that is edited."""
    share = min(1.0, sqrt(WORKING_PIXELS / (height * width)))
    return max(1, round(height * share)), max(1, round(width * share))


def small_copy(levels: NDArray[Any], native: bool = False) -> Tensor:
    """The copy of a photo (H, W, 3) that a network edits, (3, h, w) float32 on the grid of 8 bits.

    Args:
        levels: 8 or 16 bits.
        native: keep its size.
    """
    size = levels.shape[:2] if native else copy_size(*levels.shape[:2])
    if size == levels.shape[:2]:
        small = as_rgb(levels)
    else:  # by whole factors in stripes first, so that a large photo is never held in floats
        factor = max(1, min(levels.shape[0] // size[0], levels.shape[1] // size[1]))
        rows = max(1, STRIPE // (levels.shape[1] * factor)) * factor
        parts = [shrunk_by(as_rgb(levels[top : top + rows]), factor) for top in range(0, levels.shape[0], rows)]
        small = shrunk(torch.cat(parts, dim=1), size)
    return (small * 255).round() / 255


def shrunk_by(rgb: Tensor, factor: int) -> Tensor:
    """The means of squares of `factor` pixels; those at the border are smaller."""
    return torch.nn.functional.avg_pool2d(rgb[None], factor, ceil_mode=True, count_include_pad=False)[0]


def as_rgb(levels: NDArray[Any]) -> Tensor:
    """Levels (H, W, 3) of 8 or 16 bits as rgb (3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(to_rgb(levels)).movedim(-1, 0)


def as_levels(rgb: Tensor, dtype: Any) -> NDArray[Any]:
    """Rgb (3, H, W) in [0, 1] as levels (H, W, 3) of 8 or 16 bits."""
    return to_levels(rgb.movedim(0, -1).numpy(), dtype)


def draw(
    copy: Tensor, layers: Sequence[Layer], settings: Settings, pipe: "DequantPipeline", watch: Watch | None = None
) -> list[Details]:
    """What the network makes of each layer on the copy of a photo, and how it is carried to the photo.

    Args:
        copy: from `small_copy`.
        layers: what is asked.
        settings: how.
        pipe: the pipeline of `settings.weights`.
        watch: sees each step.
    """
    seen = None if watch is None else partial(_see, watch)
    found = []
    for layer in layers:
        generator, sampler = torch.Generator().manual_seed(settings.seed), _sampler(layer, settings, pipe)
        drawn = pipe.draw([_condition(copy, layer, pipe)], generator, sampler, seen=seen)[0].cpu()
        found.append(Details.of(copy, drawn, layer.inside))
    return found


def _see(watch: Watch, step: int, of: int, rgb: Tensor) -> None:
    watch(step, of, rgb[0].cpu())


def lay(levels: NDArray[Any], layers: Sequence[Layer], details: Sequence[Details], settings: Settings) -> NDArray[Any]:
    """The edited picture, (H, W, 3) of the type of `levels`; where no mask reaches, the photo's own levels.

    Args:
        levels: the photo, (H, W, 3) of 8 or 16 bits.
        layers: what is asked, each on top of those before.
        details: of each, from `draw`.
        settings: how.
    """
    result = levels.copy()
    for layer, one in zip(layers, details, strict=True):
        _lay(result, levels, layer, one, settings)
    return result


def relit(levels: NDArray[Any], photo: NDArray[Any]) -> NDArray[Any]:
    """A picture (H, W, 3) with the lightness of the photo where the two differ."""
    result, rows = levels.copy(), max(1, STRIPE // levels.shape[1])
    for top in range(0, len(levels), rows):
        part = slice(top, top + rows)
        lit = with_lightness(as_rgb(levels[part]), as_rgb(photo[part]), int(np.iinfo(levels.dtype).max))
        differs = (levels[part] != photo[part]).any(2, keepdims=True)
        result[part] = np.where(differs, as_levels(lit, levels.dtype), levels[part])
    return result


def _condition(copy: Tensor, layer: Layer, pipe: "DequantPipeline") -> Tensor:
    texture = pipe.control.texture.map(copy) if layer.textured else None
    if layer.inside is None:
        return for_palette(layer.colors, layer.n_colors, texture)
    level = torch.where(layer.inside, PATCH_LEVEL, 1.0)
    return stack(layer.colors, texture, level, torch.ones_like(level))


def _sampler(layer: Layer, settings: Settings, pipe: "DequantPipeline") -> "Sampler":
    """The pipeline's own steps, and what the settings and the layer keep."""
    steps, times = settings.num_inference_steps, None
    if steps is None:
        steps, times = pipe.config["num_inference_steps"], pipe.config["timesteps"]
    own = pipe.config["keep_texture"]
    texture = "exact" if own == "guided" and not layer.recolored else own
    from dequant.diffusion.sampler import Sampler  # as slow to import as diffusers

    sampler = Sampler(type(pipe.scheduler), {}, steps, times, keep_palette=settings.keep_palette)
    large = layer.colors.shape[1] * layer.colors.shape[2] > TILE**2
    return replace(sampler, keep_texture=texture if layer.textured else "off", tile=TILE if large else None)


def _lay(result: NDArray[Any], levels: NDArray[Any], layer: Layer, details: Details, settings: Settings) -> None:
    """Lay one edited copy on the picture, in stripes."""
    (height, width), most = levels.shape[:2], int(np.iinfo(levels.dtype).max)
    rows = max(1, STRIPE // width)
    for top in range(0, height, rows):
        part = slice(top, min(top + rows, height))
        mask = None if layer.mask is None else torch.from_numpy(layer.mask[part].astype(np.float32))
        if mask is not None and not mask.any():
            continue
        photo = as_rgb(levels[part])
        rgb = details.apply(photo, top, height)
        if settings.luminance == "keep":
            rgb = with_lightness(rgb, photo, most if mask is None else None)
        elif settings.keep_palette in ("exact", "strict") and layer.asked is not None:
            rgb = cells.settle(rgb, cells.cells_of(layer.asked(photo.flatten(1)).view_as(photo)))
        if mask is not None:
            rgb = torch.lerp(as_rgb(result[part]), rgb, mask)
        new = as_levels(rgb, levels.dtype)
        result[part] = new if mask is None else np.where(mask[..., None] > 0, new, result[part])
