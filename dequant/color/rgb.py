"""Images are floating-point tensors (..., 3, H, W) in [0, 1]: their check, and their 8-bit levels."""

import torch
from torch import Tensor

from dequant.errors import InputError


def check_rgb(rgb: Tensor) -> None:
    """Raise `InputError` unless `rgb` is a floating-point tensor (..., 3, H, W) with at least one pixel."""
    if not isinstance(rgb, Tensor):
        raise InputError(f"A {type(rgb).__name__} is not an image: give a floating-point tensor (..., 3, H, W).")
    if rgb.ndim < 3 or rgb.shape[-3] != 3 or rgb.numel() == 0 or not rgb.is_floating_point():
        raise InputError(
            f"A {rgb.dtype} tensor of shape {tuple(rgb.shape)} is not an image: "
            "give a floating-point tensor (..., 3, H, W) of at least one pixel."
        )


def to_uint8(rgb: Tensor, truncate: bool = False) -> Tensor:
    """8-bit levels of values in [0, 1], clamped, as uint8 of the same shape.

    Levels are rounded to the nearest, or down with `truncate`, as the released evaluation does with network outputs.
    Either way an 8-bit photo keeps its levels exactly.
    """
    levels = (rgb.detach() * 255).clamp_(0, 255)
    return (levels if truncate else levels.round_()).to(torch.uint8)
