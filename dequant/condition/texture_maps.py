"""The texture of a photo as a network sees it: luminance, gradients or thresholded gradients.

Each map is a function `(..., 3, H, W) -> (..., 2, H, W)` in [0, 1] and makes one of the paper's variants L, G
and T (section 3, channels 5 and 6). All work on 8-bit grey or L values, as the released weights expect.
"""

import torch
from torch import Tensor

from dequant.color.opencv import gray_uint8, luminance
from dequant.color.rgb import check_rgb
from dequant.errors import InputError

GRADIENT_THRESHOLD = 8.0
"""Grey levels out of 255 above which a gradient counts as texture (paper, section 3)."""


def luminance_map(rgb: Tensor) -> Tensor:
    """Luminance in both channels: the texture of variant L.

    Args:
        rgb: (..., 3, H, W) in [0, 1].

    Returns:
        (..., 2, H, W) float32 in [0, 1]: L* / 100 rounded to 8 bits, twice.

    Raises:
        InputError: `rgb` is not a floating-point image.
    """
    light = luminance(rgb).float()
    return torch.stack((light, light), dim=-3)


def gradient_map(rgb: Tensor) -> Tensor:
    """Gradients along rows, then along columns, shifted so that 0.5 is flat: the texture of variant G.

    Args:
        rgb: (..., 3, H, W) in [0, 1], at least 2 by 2 pixels.

    Returns:
        (..., 2, H, W) float32 in [0, 1]: `(g + 255) / 510`, g being the difference per pixel in grey levels.

    Raises:
        InputError: `rgb` is not a floating-point image of at least 2 by 2 pixels.
    """
    return (gray_gradients(rgb) + 255) / 510


def thresholded_gradient_map(rgb: Tensor, threshold: float = GRADIENT_THRESHOLD) -> Tensor:
    """Where the grey image changes, without sign or magnitude: the texture of variant T.

    Args:
        rgb: (..., 3, H, W) in [0, 1], at least 2 by 2 pixels.
        threshold: in grey levels out of 255; a gradient equal to it does not count.

    Returns:
        (..., 2, H, W) float32, 1 where the gradient along rows (then columns) exceeds `threshold`, else 0.

    Raises:
        InputError: `rgb` is not a floating-point image of at least 2 by 2 pixels.
    """
    return (gray_gradients(rgb).abs() > threshold).float()


def gray_gradients(rgb: Tensor) -> Tensor:
    """Differences per pixel of the 8-bit grey image, central, one-sided at the border.

    Args:
        rgb: (..., 3, H, W) in [0, 1], at least 2 by 2 pixels.

    Returns:
        (..., 2, H, W) float32 in [-255, 255]: along rows, then along columns.

    Raises:
        InputError: `rgb` is not a floating-point image of at least 2 by 2 pixels.
    """
    check_rgb(rgb)
    if min(rgb.shape[-2:]) < 2:
        raise InputError(f"A shape of {tuple(rgb.shape)} has no gradients: give at least 2 by 2 pixels.")
    return torch.stack(torch.gradient(gray_uint8(rgb).float(), dim=(-2, -1)), dim=-3)
