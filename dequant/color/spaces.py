"""Colour spaces, colour difference and colourfulness in floating point, all differentiable."""

from math import pi, tau

import numpy as np
import torch
from torch import Tensor

from dequant.color.opencv import RGB_TO_XYZ
from dequant.color.rgb import check_rgb

WHITE = (0.95047, 1.0, 1.08883)
"""D65, 2 degree observer, in XYZ with Y = 1."""


RGB_TO_LMS = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)


LMS_TO_OKLAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)


def srgb_to_linear(rgb: Tensor) -> Tensor:
    """Undo the sRGB transfer curve (IEC 61966-2-1): any shape, [0, 1] -> [0, 1]."""
    return torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(linear: Tensor) -> Tensor:
    """Apply the sRGB transfer curve (IEC 61966-2-1): any shape, [0, 1] -> [0, 1]."""
    curve = 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, linear * 12.92, curve)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """CIE Lab under D65: (..., 3, H, W) in [0, 1] -> L in [0, 100], a and b in about [-128, 127].

    Raises:
        InputError: `rgb` is not a floating-point image.
    """
    check_rgb(rgb)
    xyz = _mix(RGB_TO_XYZ, srgb_to_linear(rgb)) / rgb.new_tensor(WHITE)[:, None, None]
    threshold = (6 / 29) ** 3
    f = torch.where(xyz > threshold, xyz.clamp_min(threshold) ** (1 / 3), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f.unbind(-3)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=-3)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Inverse of `rgb_to_lab`: (..., 3, H, W) -> [0, 1]; colours outside the sRGB gamut are clamped.

    Raises:
        InputError: `lab` is not a floating-point image.
    """
    return linear_to_srgb(lab_to_linear(lab)).clamp(0, 1)


def lab_to_linear(lab: Tensor) -> Tensor:
    """Linear RGB of CIE Lab, (..., 3, H, W); colours outside the sRGB gamut lie outside [0, 1].

    Raises:
        InputError: `lab` is not a floating-point image.
    """
    check_rgb(lab)
    light, a, b = lab.unbind(-3)
    y = (light + 16) / 116
    f = torch.stack((y + a / 500, y, y - b / 200), dim=-3)
    xyz = torch.where(f > 6 / 29, f**3, (f - 4 / 29) * (3 * (6 / 29) ** 2)) * lab.new_tensor(WHITE)[:, None, None]
    return _mix(np.linalg.inv(RGB_TO_XYZ).tolist(), xyz)


def rgb_to_oklab(rgb: Tensor) -> Tensor:
    """Oklab (Ottosson, 2020): (..., 3, H, W) in [0, 1] -> L in [0, 1], a and b in about [-0.4, 0.4].

    Raises:
        InputError: `rgb` is not a floating-point image.
    """
    check_rgb(rgb)
    return _mix(LMS_TO_OKLAB, _power(_mix(RGB_TO_LMS, srgb_to_linear(rgb)), 1 / 3))


def ciede2000(lab1: Tensor, lab2: Tensor) -> Tensor:
    """CIEDE2000 colour difference with k_L = k_C = k_H = 1 (Sharma, Wu and Dalal, 2005).

    Args:
        lab1: (..., 3, H, W) from `rgb_to_lab`.
        lab2: the same, or of a shape that broadcasts with it.

    Returns:
        (..., H, W), 0 for equal colours, about 1 for a just noticeable difference, 100 between black and
        white.

    Raises:
        InputError: one of them is not a floating-point image.
    """
    check_rgb(lab1)
    check_rgb(lab2)
    (light1, a1, b1), (light2, a2, b2) = lab1.unbind(-3), lab2.unbind(-3)
    chroma7 = ((_power(a1**2 + b1**2, 0.5) + _power(a2**2 + b2**2, 0.5)) / 2) ** 7
    stretch = 1.5 - 0.5 * _power(chroma7 / (chroma7 + 25**7), 0.5)
    chroma1, hue1 = _polar(a1 * stretch, b1)
    chroma2, hue2 = _polar(a2 * stretch, b2)
    both_colored = chroma1 * chroma2 > 0
    turn = hue2 - hue1
    wrapped = turn - tau * (turn > pi).to(turn) + tau * (turn < -pi).to(turn)
    delta_hue = torch.where(both_colored, 2 * _power(chroma1 * chroma2, 0.5) * torch.sin(wrapped / 2), 0)
    light, chroma, hue = (light1 + light2) / 2, (chroma1 + chroma2) / 2, hue1 + hue2
    far = turn.abs() > pi
    mean_hue = torch.where(both_colored, (hue + tau * (far & (hue < tau)) - tau * (far & (hue >= tau))) / 2, hue)
    weight = (
        1
        - 0.17 * torch.cos(mean_hue - pi / 6)
        + 0.24 * torch.cos(2 * mean_hue)
        + 0.32 * torch.cos(3 * mean_hue + pi / 30)
        - 0.20 * torch.cos(4 * mean_hue - 63 * pi / 180)
    )
    rotation = 2 * torch.exp(-(((mean_hue * 180 / pi - 275) / 25) ** 2)) * pi / 6
    cross = -2 * _power(chroma**7 / (chroma**7 + 25**7), 0.5) * torch.sin(rotation)
    l_term = (light2 - light1) / (1 + 0.015 * (light - 50) ** 2 / (20 + (light - 50) ** 2) ** 0.5)
    c_term = (chroma2 - chroma1) / (1 + 0.045 * chroma)
    h_term = delta_hue / (1 + 0.015 * chroma * weight)
    return _power(l_term**2 + c_term**2 + h_term**2 + cross * c_term * h_term, 0.5)


def colorfulness(rgb: Tensor) -> Tensor:
    """Colourfulness M3 of Hasler and Suesstrunk (2003), in their 8-bit units: 0 is grey, 60 vivid.

    Args:
        rgb: (..., 3, H, W) in [0, 1].

    Returns:
        (...), one number per image.

    Raises:
        InputError: `rgb` is not a floating-point image.
    """
    check_rgb(rgb)
    red, green, blue = (255 * rgb).unbind(-3)
    opponent = torch.stack((red - green, (red + green) / 2 - blue)).flatten(-2)
    spread = _power(opponent.var(-1, correction=0).sum(0), 0.5)
    return spread + 0.3 * _power(opponent.mean(-1).square().sum(0), 0.5)


def _mix(matrix: tuple[tuple[float, ...], ...] | list[list[float]], channels: Tensor) -> Tensor:
    return torch.einsum("ij,...jhw->...ihw", channels.new_tensor(matrix), channels)


def _power(x: Tensor, exponent: float) -> Tensor:
    """x ** exponent, with value and gradient 0 where x <= 0."""
    return torch.where(x > 0, torch.where(x > 0, x, 1) ** exponent, 0)


def _polar(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Chroma and hue angle in [0, 2 pi); the angle of greys is 0, and so is its gradient."""
    colored = (a != 0) | (b != 0)
    angle = torch.atan2(torch.where(colored, b, 0), torch.where(colored, a, 1))
    return _power(a**2 + b**2, 0.5), torch.where(angle < 0, angle + tau, angle)
