"""What the network is told about the texture of a photo: luminance, gradients or thresholded gradients.

Each map is a function `(..., 3, H, W) -> (..., 2, H, W)` in [0, 1] and makes one of the paper's variants L, G
and T (section 3, channels 5 and 6). All work on 8-bit grey or L values, as the released weights expect.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from dequant import InputError
from dequant.color import check_rgb, gray_uint8, luminance

GRADIENT_THRESHOLD = 8.0
"""Grey levels out of 255 above which a gradient counts as texture (paper, section 3)."""

EDGE_WIDTH = 3.0
"""Width of the softened threshold of `disagreement`, in grey levels."""


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
    return (_gray_gradients(rgb) + 255) / 510


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
    return (_gray_gradients(rgb).abs() > threshold).float()


def disagreement(rgb: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """How far the edges of an estimate are from those of its target: a loss that sees neither sign nor size.

    Where luminance changes by more than `GRADIENT_THRESHOLD` in the target, it should in the estimate. The threshold is
    softened to a logistic function of width `EDGE_WIDTH`; the loss is its cross-entropy against the target's bits. The
    mean of the photos that share their bits has no edges; this term makes an estimate decide for some.

    Args:
        rgb: the estimates, (B, 3, H, W) about [0, 1].
        target: (B, 3, H, W) in [0, 1].
        weight: of the pixels, (B, 1, H, W), 0 where they do not count.

    Returns:
        The weighted entropy over the number of pixels that count, averaged over the images that have some: a scalar, 0
        where none has.
    """
    gray = 255 * (0.299 * rgb[:, 0] + 0.587 * rgb[:, 1] + 0.114 * rgb[:, 2]).float()
    steepness = torch.stack(torch.gradient(gray, dim=(-2, -1)), dim=1).abs()
    bits = thresholded_gradient_map(target)
    entropy = F.binary_cross_entropy_with_logits((steepness - GRADIENT_THRESHOLD) / EDGE_WIDTH, bits, reduction="none")
    counted = (weight > 0).sum((1, 2, 3))
    per_image = (entropy.mean(1, keepdim=True) * weight).sum((1, 2, 3)) / counted.clamp(min=1)
    return per_image.sum() / (counted > 0).sum().clamp(min=1)


MAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "L": luminance_map,
    "G": gradient_map,
    "T": thresholded_gradient_map,
}
"""The texture map of each variant, by the name that its weights carry."""


def _gray_gradients(rgb: Tensor) -> Tensor:
    """Central differences of the 8-bit grey image, one-sided at the border: (..., 2, H, W) in [-255, 255]."""
    check_rgb(rgb)
    if min(rgb.shape[-2:]) < 2:
        raise InputError(f"A shape of {tuple(rgb.shape)} has no gradients: give at least 2 by 2 pixels.")
    return torch.stack(torch.gradient(gray_uint8(rgb).float(), dim=(-2, -1)), dim=-3)
