"""The colours of one picture with the lightness of another, in floating Lab and inside the gamut.

Unlike the paper's 8-bit rule (`dequant.color.opencv.replace_luminance`), which clips what lies outside sRGB and so
changes the lightness again, chroma is reduced there, at the same lightness and hue.
"""

import torch
from torch import Tensor

from dequant.color.opencv import RGB_TO_XYZ
from dequant.color.rgb import check_rgb
from dequant.color.spaces import lab_to_linear, linear_to_srgb, rgb_to_lab, srgb_to_linear
from dequant.errors import InputError

ROUNDS = 20
"""Bisections of the chroma."""


NEAR = 0.24
"""L* by which a rounded colour may be off; where it is more, green is rounded the other way."""


MARGIN = 1e-6
"""By which linear RGB may leave [0, 1]."""


def grayscale(rgb: Tensor) -> Tensor:
    """The neutral picture of the same lightness L*: rgb (..., 3, H, W) in [0, 1], of three equal channels.

    Raises:
        InputError: `rgb` is not a floating-point image.
    """
    check_rgb(rgb)
    luminance = (rgb.new_tensor(RGB_TO_XYZ[1])[:, None, None] * srgb_to_linear(rgb)).sum(-3)
    return linear_to_srgb(luminance).clamp(0, 1).unsqueeze(-3).expand_as(rgb)


def with_lightness(rgb: Tensor, source: Tensor, levels: int | None = None) -> Tensor:
    """A picture whose lightness L* is that of a photo.

    Args:
        rgb: the picture, (3, H, W) in [0, 1], whose hue is kept, and its chroma as far as sRGB holds it.
        source: the photo, of the same shape.
        levels: 255 rounds to 8 bits, 65535 to 16, with an error of at most 0.25 L*; None does not round.

    Returns:
        (3, H, W) in [0, 1], of the type of `rgb`.

    Raises:
        InputError: the two are not floating-point images of one shape.
    """
    check_rgb(rgb)
    check_rgb(source)
    if rgb.shape != source.shape:
        raise InputError(f"Expected two pictures of one shape, got {tuple(rgb.shape)} and {tuple(source.shape)}.")
    lab = rgb_to_lab(rgb.double())
    lab[0] = rgb_to_lab(source.double())[0]
    result = linear_to_srgb(lab_to_linear(in_gamut(lab)).clamp(0, 1))
    return (result if levels is None else _rounded(result, lab[0], levels)).to(rgb)


def _rounded(rgb: Tensor, light: Tensor, levels: int) -> Tensor:
    """Rounded to multiples of 1 / levels; green to the other side where the lightness asks for it."""
    near = (rgb * levels).round()
    off = (rgb_to_lab(near / levels)[0] - light).abs() > NEAR
    if off.any():
        few = near[:, None, off]
        other = few.clone()
        other[1] += torch.where(rgb[1, off] * levels > few[1], 1, -1)
        errors = [(rgb_to_lab(one / levels)[0] - light[None, off]).abs() for one in (few, other.clamp(0, levels))]
        near[:, off] = torch.where(errors[1] < errors[0], other.clamp(0, levels), few)[:, 0]
    return near / levels


def in_gamut(lab: Tensor) -> Tensor:
    """Lab (3, H, W) whose colours outside sRGB have the largest chroma that it holds at their lightness and hue."""
    outside = ~_inside(lab)
    if not outside.any():
        return lab
    pixels = lab[:, None, outside]
    low, high = torch.zeros_like(pixels[0]), torch.ones_like(pixels[0])
    for _ in range(ROUNDS):
        share = (low + high) / 2
        inside = _inside(_less_chroma(pixels, share))
        low, high = torch.where(inside, share, low), torch.where(inside, high, share)
    result = lab.clone()
    result[:, outside] = _less_chroma(pixels, low)[:, 0]
    return result


def _less_chroma(lab: Tensor, share: Tensor) -> Tensor:
    return torch.stack((lab[0], lab[1] * share, lab[2] * share))


def _inside(lab: Tensor) -> Tensor:
    linear = lab_to_linear(lab)
    return ((linear >= -MARGIN) & (linear <= 1 + MARGIN)).all(0)
