"""The nearest picture within the bounds that a texture map sets.

The texture of a photo bounds the photo itself: its luminance (variant L) or its gradients (G, T), up to the rounding to
8 bits. Grey images within bounds on gradients are a convex set, and going to the nearest one brings a grey estimate
nearer to every one of the set. Colours are moved along the grey axis, by equal amounts in each channel, which is where
estimates lack most; that they come nearer too is measured, not proven (docs/decisions/0013-texture-as-bounds.md).

A bit of 0 bounds a gradient on both sides. One of 1 says that it is beyond the threshold on either side: that of the
picture itself is taken, where it has decided for one. Both keep a margin, so that bits survive the rounding.
"""

import torch
from torch import Tensor

from dequant.color import grids, guided
from dequant.color.rgb import check_rgb
from dequant.color.spaces import lab_to_rgb, rgb_to_lab
from dequant.condition.texture_maps import GRADIENT_THRESHOLD
from dequant.errors import InputError

ROUNDING = 0.5
"""Levels by which rounding to 8 bits changes luminance and gradients at most; gradients at the border by twice that."""


UNDECIDED = 2.0
"""Grey levels up to which the sign of a gradient means nothing."""


ROUNDS = 60
"""Steps of the accelerated dual ascent, each of which carries what it finds two pixels far."""


def nearest_luminance(rgb: Tensor, texture: Tensor, given: Tensor, free: Tensor | None = None) -> Tensor:
    """Move L* to within half a level of the luminance given, as far as the gamut allows, and keep a and b.

    Args:
        rgb: (3, H, W); clamped to [0, 1] first.
        texture: (2, H, W) in [0, 1], from `texture_maps.luminance_map`.
        given: where the texture is given, (H, W) bool.
        free: the pixels that may be moved, (H, W) bool; None for all.

    Returns:
        (3, H, W) float32 in [0, 1].

    Raises:
        InputError: `rgb` is not one image.
    """
    with torch.autocast(rgb.device.type, enabled=False):
        rgb, free = _prepared(rgb, given, free, smallest=1)
        lab, half = rgb_to_lab(rgb), ROUNDING * 100 / 255
        lab[0] = torch.where(given & free, lab[0].clamp(100 * texture[0] - half, 100 * texture[0] + half), lab[0])
        return torch.where(given & free, lab_to_rgb(lab), rgb)


def nearest_gradients(rgb: Tensor, texture: Tensor, given: Tensor, free: Tensor | None = None) -> Tensor:
    """Move an image along the grey axis to the nearest one with the gradients given, nearly, after `ROUNDS` steps.

    Arguments and result as in `nearest_luminance`; the texture is that of `texture_maps.gradient_map`.

    Raises:
        InputError: `rgb` is not one image of at least 2 by 2 pixels.
    """
    with torch.autocast(rgb.device.type, enabled=False):
        rgb, free = _prepared(rgb, given, free, smallest=2)
        gradients, rounding = 510 * texture.float() - 255, _rounding(texture)
        return _shifted(rgb, gradients - rounding, gradients + rounding, given, free)


def nearest_thresholded_gradients(rgb: Tensor, texture: Tensor, given: Tensor, free: Tensor | None = None) -> Tensor:
    """Move an image along the grey axis to the nearest one with the thresholded gradients given, nearly.

    Arguments, result and errors as in `nearest_gradients`; the texture is that of
    `texture_maps.thresholded_gradient_map`.
    """
    with torch.autocast(rgb.device.type, enabled=False):
        rgb, free = _prepared(rgb, given, free, smallest=2)
        found, above = _differences(_gray(rgb)), texture > 0.5
        rounding = _rounding(texture)
        below, beyond = GRADIENT_THRESHOLD - rounding, GRADIENT_THRESHOLD + rounding
        low = torch.where(above & (found > UNDECIDED), beyond, torch.where(above, -torch.inf, -below))
        high = torch.where(above & (found < -UNDECIDED), -beyond, torch.where(above, torch.inf, below))
        return _shifted(rgb, low, high, given, free)


def _prepared(rgb: Tensor, given: Tensor, free: Tensor | None, smallest: int) -> tuple[Tensor, Tensor]:
    """The image in float32 and [0, 1], and the pixels that may be moved."""
    check_rgb(rgb)
    if rgb.ndim != 3 or min(rgb.shape[1:]) < smallest:
        shape = tuple(rgb.shape)
        raise InputError(f"Expected one image (3, H, W) of at least {smallest} by {smallest} pixels, got {shape}.")
    return rgb.float().clamp(0, 1), torch.ones_like(given) if free is None else free


def within(gray: Tensor, low: Tensor, high: Tensor, free: Tensor) -> Tensor:
    """The nearest image whose gradients are within bounds, by the dual problem (FISTA, Beck and Teboulle, 2009).

    Args:
        gray: (H, W), at least 2 by 2 pixels.
        low: (2, H, W), bounds of the central differences along rows, then columns, one-sided at the border; -inf for
            none.
        high: likewise, inf for none.
        free: the pixels that may be moved, (H, W) bool.

    Returns:
        (H, W), after `ROUNDS` steps, so that it is within the bounds nearly.
    """
    step = 0.2 if min(gray.shape) >= 4 else 0.125  # at most one over the squared norm of the differences
    if guided.is_compiled(gray):
        arrays = [part.to(gray.dtype).contiguous().numpy() for part in (gray, low, high, free)]
        return torch.from_numpy(grids.within(*arrays, step, ROUNDS))
    force, ahead, momentum = torch.zeros_like(low), torch.zeros_like(low), 1.0
    for _ in range(ROUNDS):
        moved = ahead / step + _differences(gray - free * _adjoint(ahead))
        stronger = step * (moved - moved.clamp(low, high))
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = stronger.lerp(force, (1 - momentum) / following)
        force, momentum = stronger, following
    return gray - free * _adjoint(force)


def _shifted(rgb: Tensor, low: Tensor, high: Tensor, given: Tensor, free: Tensor) -> Tensor:
    gray = _gray(rgb)
    low, high = low.masked_fill(~given, -torch.inf), high.masked_fill(~given, torch.inf)
    return (rgb + (within(gray, low, high, free) - gray) / 255).clamp(0, 1)


def _rounding(texture: Tensor) -> Tensor:
    """What rounding changes the gradients (2, H, W) by at most."""
    rounding = torch.full_like(texture, ROUNDING, dtype=torch.float32)
    rounding[0, [0, -1]] *= 2
    rounding[1, :, [0, -1]] *= 2
    return rounding


def _gray(rgb: Tensor) -> Tensor:
    """Grey levels (H, W), not rounded, of (3, H, W)."""
    return 255 * (0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2])


def _differences(gray: Tensor) -> Tensor:
    return torch.stack(torch.gradient(gray, dim=(-2, -1)))


def _adjoint(force: Tensor) -> Tensor:
    """The transposed `_differences`, (2, H, W) -> (H, W)."""

    def along_rows(force: Tensor) -> Tensor:
        result = torch.zeros_like(force)
        result[2:] += force[1:-1] / 2
        result[:-2] -= force[1:-1] / 2
        result[1] += force[0]
        result[0] -= force[0]
        result[-1] += force[-1]
        result[-2] -= force[-1]
        return result

    return along_rows(force[0]) + along_rows(force[1].T).T
