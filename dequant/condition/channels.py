"""The seven channels that condition a network, made of a quantized image or of a photo with a patch to recolour."""

from typing import NamedTuple, Self

import torch
from torch import Tensor

from dequant.color.palette import MAX_COLORS, QUANTIZATION_RMSE
from dequant.color.rgb import check_rgb
from dequant.errors import InputError

PATCH_LEVEL = 1 / MAX_COLORS
"""The level inside a patch: one colour."""


LEAST_COLORS = 4.0
"""Of the palette whose error is that of a patch."""


class Condition(NamedTuple):
    """Named views of a condition (..., 7, H, W) in [0, 1], in the channel order of the authors' released weights.

    Attributes:
        colors: quantized RGB, (..., 3, H, W).
        texture: along rows, then along columns, (..., 2, H, W); 0 where it is not given.
        level: colour level N / 256, (..., 1, H, W): 1 where the true colour is given, `PATCH_LEVEL` inside a patch.
        given: 1 where texture is given, else 0, (..., 1, H, W).
    """

    colors: Tensor
    texture: Tensor
    level: Tensor
    given: Tensor

    @classmethod
    def of(cls, condition: Tensor) -> Self:
        """The views of a condition (..., 7, H, W)."""
        return cls(*condition.split([3, 2, 1, 1], dim=-3))

    @property
    def patch(self) -> Tensor:
        """The pixels to recolour, (..., H, W) bool."""
        return self.level[..., 0, :, :] == PATCH_LEVEL

    @property
    def free(self) -> Tensor:
        """The pixels whose true colour is not given, (..., H, W) bool; for a palette of 256 colours, all of them."""
        unknown = self.level[..., 0, :, :] < 1
        return unknown | ~unknown.flatten(-2).any(-1)[..., None, None]

    @property
    def n_colors(self) -> float:
        """Size of the smallest palette, at least `LEAST_COLORS`: a patch has one colour and is to have shades."""
        return max(256 * self.level.amin().item(), LEAST_COLORS)


def color_std(level: Tensor) -> Tensor:
    """Standard deviation on [-1, 1] of the error of a quantized image.

    Args:
        level: colour level N / 256, any shape, in (0, 1].

    Returns:
        `QUANTIZATION_RMSE / sqrt(N)`, same shape.
    """
    return QUANTIZATION_RMSE / (256 * level).clamp(min=1).sqrt()


def for_palette(quantized_rgb: Tensor, n_colors: int, texture: Tensor | None) -> Tensor:
    """Condition on a quantized image, whatever its palette.

    Args:
        quantized_rgb: (3, H, W) in [0, 1].
        n_colors: colours asked of the quantizer, 1 to 256, even if the image has fewer.
        texture: (2, H, W) in [0, 1] from `dequant.condition.texture_maps`, or None to leave the texture to the network.

    Returns:
        (7, H, W) float32 in [0, 1].

    Raises:
        InputError: a shape or the number of colours is wrong.
    """
    check_photo(quantized_rgb)
    if not 1 <= n_colors <= MAX_COLORS:
        raise InputError(f"A palette of {n_colors} colours is not possible: ask for 1 to {MAX_COLORS}.")
    level = quantized_rgb.new_full(quantized_rgb.shape[1:], n_colors / MAX_COLORS)
    return stack(quantized_rgb, texture, level, torch.ones_like(level))


def for_patch(rgb: Tensor, mask: Tensor, color: Tensor, texture: Tensor | None, keep_inside: bool = True) -> Tensor:
    """Condition on a photo in which one patch is replaced by one colour (paper, section 3, "inpainting").

    Args:
        rgb: the photo, (3, H, W) in [0, 1].
        mask: (H, W) bool, True inside the patch.
        color: (3,) in [0, 1].
        texture: (2, H, W) in [0, 1] from `dequant.condition.texture_maps`, or None for no texture anywhere.
        keep_inside: False removes the texture inside the patch and leaves it outside.

    Returns:
        (7, H, W) float32 in [0, 1].

    Raises:
        InputError: a shape is wrong or the mask is not boolean.
    """
    check_photo(rgb)
    _check_mask(mask, rgb)
    if color.shape != (3,):
        raise InputError(f"A tensor of shape {tuple(color.shape)} is not a colour: give 3 values in [0, 1].")
    filled = torch.where(mask, color.to(rgb)[:, None, None], rgb)
    level = torch.where(mask, PATCH_LEVEL, 1.0).to(rgb)
    return stack(filled, texture, level, torch.ones_like(level) if keep_inside else (~mask).to(rgb))


def mean_color(rgb: Tensor, mask: Tensor) -> Tensor:
    """Mean colour of the support of a patch, in 8 bits and rounded down as in the authors' released code.

    Args:
        rgb: (3, H, W) in [0, 1].
        mask: (H, W) bool with at least one True.

    Returns:
        (3,) float32, multiples of 1/255 in [0, 1].

    Raises:
        InputError: a shape is wrong, or the mask is not boolean or is empty.
    """
    check_photo(rgb)
    _check_mask(mask, rgb)
    if not mask.any():
        raise InputError("An empty patch has no mean colour: mark at least one pixel.")
    inside = rgb.flatten(1).index_select(1, mask.flatten().nonzero()[:, 0])
    return inside.double().mul(255).round().mean(dim=1).floor().div(255).float()


def stack(rgb: Tensor, texture: Tensor | None, level: Tensor, indicator: Tensor) -> Tensor:
    """The 7 channels, from (3, H, W), (2, H, W) or None, and twice (H, W); texture where indicator is 1."""
    if texture is None:
        texture, indicator = rgb.new_zeros(2, *level.shape), torch.zeros_like(level)
    if texture.shape != (2, *level.shape):
        raise InputError(
            f"A texture of shape {tuple(texture.shape)} does not fit: give {(2, *level.shape)}, "
            "one channel along rows and one along columns."
        )
    return torch.cat((rgb, texture.to(rgb) * indicator, level[None], indicator[None])).float()


def check_photo(rgb: Tensor) -> None:
    """Raise `InputError` unless `rgb` is one photo (3, H, W)."""
    check_rgb(rgb)
    if rgb.ndim != 3:
        raise InputError(f"A shape of {tuple(rgb.shape)} is a batch: give one photo (3, H, W) at a time.")


def _check_mask(mask: Tensor, rgb: Tensor) -> None:
    if mask.dtype != torch.bool or mask.shape != rgb.shape[1:]:
        raise InputError(
            f"A {mask.dtype} mask of shape {tuple(mask.shape)} does not fit: "
            f"give a boolean mask of shape {tuple(rgb.shape[1:])}, True inside the patch."
        )
