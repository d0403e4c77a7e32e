"""A photo that is edited: its copy, the palette of it, and its picture in another palette."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dequant.color.matching import match_k_best
from dequant.color.palette import Quantized, quantize
from dequant.color.palette import transfer as exchange
from dequant.edit.painting import Layer, Settings, Watch, as_rgb, draw, lay, small_copy
from dequant.errors import InputError, whole_number
from dequant.io.images import Photograph
from dequant.io.originals import Original
from dequant.io.palettes import N_COLORS, indexed_colors

if TYPE_CHECKING:
    from dequant.pipelines.dequant import DequantPipeline


@lru_cache(2)
def pipeline(weights: str) -> "DequantPipeline":
    """`dequant.load`, once for each of the last two weights."""
    from dequant.pipelines.loading import load  # as slow to import as diffusers

    pipe = load(weights)
    pipe.set_progress_bar_config(disable=True)
    return pipe


class NoSuchRank(InputError):  # noqa: N818
    """There are fewer assignments of colours than was asked for."""


class Material(NamedTuple):
    """What palettes of a photo are taken from: its copy, and what decides about them.

    Attributes:
        copy: see `small_copy`; of its own size where the texture is not known.
        textured: whether the photo's texture is known.
        own: how many colours an indexed image has, None for a photo.
        visible: the pixels of the copy that are seen, (h, w) bool; None for all.
    """

    copy: Tensor
    textured: bool
    own: int | None
    visible: Tensor | None

    @classmethod
    def of(cls, original: Original, settings: Settings) -> "Material":
        """Make the copy of a photo."""
        own = _indexed(original)
        textured = own is None and settings.luminance != "free" and min(original.levels.shape[:2]) > 1
        copy = small_copy(original.levels, native=not textured)
        visible = None
        if original.alpha is not None:
            shown = torch.from_numpy((original.alpha > 0).astype(np.float32))[None, None]
            visible = torch.nn.functional.interpolate(shown, copy.shape[1:], mode="nearest-exact")[0, 0] > 0
            visible = visible if visible.any() else None
        return cls(copy, textured, own, visible)

    def quantized(self, n_colors: int | None) -> Quantized:
        """The copy in a palette of so many colours, or of all that an indexed image has.

        Raises:
            InputError: the number is not from 1 to 256.
        """
        if n_colors is not None:
            whole_number("n_colors", n_colors, 1, 256)
        return quantize(self.copy, n_colors or self.own or N_COLORS, visible=self.visible)


class Source(NamedTuple):
    """A photo, its copy, the palette of the copy, and whether its texture is known."""

    original: Original
    copy: Tensor
    quantized: Quantized
    textured: bool

    @classmethod
    def of(cls, original: Original, n_colors: int | None, settings: Settings) -> "Source":
        """Make the copy, and its palette of `n_colors` colours, or of all that an indexed image has."""
        if n_colors is not None:
            whole_number("n_colors", n_colors, 1, 256)
        found = Material.of(original, settings)
        return cls(original, found.copy, found.quantized(n_colors), found.textured)

    @classmethod
    def in_palette(cls, original: Original, palette: Tensor, settings: Settings) -> "Source":
        """Make the copy of a photo, in a palette (K, 3) that is given; each pixel has the nearest of its colours."""
        textured = settings.luminance != "free" and min(original.levels.shape[:2]) > 1
        copy = small_copy(original.levels, native=not textured)
        indices = of_palette(palette, copy.flatten(1)).view(copy.shape[1:])
        return cls(original, copy, Quantized(palette, indices), textured)


def _indexed(original: Original) -> int | None:
    """How many colours an indexed image has, None for a photo."""
    levels = original.levels
    if (
        levels.dtype != np.uint8
        or len(np.unique(levels.reshape(-1, 3)[:: max(1, levels.size // 100_000)], axis=0)) > 256
    ):
        return None
    return indexed_colors(Photograph(as_rgb(levels), None if original.alpha is None else as_alpha(original.alpha)))


def as_alpha(alpha: NDArray[Any]) -> Tensor:
    """Transparency (H, W) of 8 or 16 bits in [0, 1]."""
    return torch.from_numpy(alpha.astype(np.float32) / np.iinfo(alpha.dtype).max)


def matched(before: Quantized, colors: Tensor, counts: Tensor, method: str, rank: int, blend: float) -> Tensor:
    """What each colour of a photo becomes, (K, 3)."""
    rank = whole_number("rank", rank)
    found = assigned(before, colors, counts, method, rank)
    if len(found) < rank:
        there = "is only 1 assignment" if len(found) == 1 else f"are only {len(found)} assignments"
        raise NoSuchRank(f"There {there}: ask for a rank of at most that.")
    return exchange(before, colors, found[rank - 1], blend).palette


def assigned(before: Quantized, colors: Tensor, counts: Tensor, method: str, k: int) -> Tensor:
    """Which of some colours (M, 3) each colour of a photo becomes in the best assignments, (k, K), best first."""
    return match_k_best(before.palette, colors, k, method, source_counts=before.counts, target_counts=counts)


def painted(
    source: Source,
    target: Tensor,
    is_recolored: bool,
    settings: Settings,
    pipe: "DequantPipeline",
    watch: Watch | None = None,
) -> NDArray[Any]:
    """The photo in another palette, (H, W, 3)."""
    before = source.quantized

    def asked(rgb: Tensor) -> Tensor:
        return target.T[:, of_palette(before.palette, rgb)]

    colors = before._replace(palette=target).rgb
    layer = Layer(colors, len(before.palette), is_recolored, source.textured, asked=asked)
    return lay(source.original.levels, [layer], draw(source.copy, [layer], settings, pipe, watch), settings)


def of_palette(palette: Tensor, rgb: Tensor) -> Tensor:
    """The index of the nearest colour (K, 3) to each pixel (3, n)."""
    return torch.cat([torch.cdist(part.T, palette).argmin(1) for part in rgb.split(2**18, dim=1)])
