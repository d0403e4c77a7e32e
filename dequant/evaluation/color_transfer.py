"""Baselines of palette transfer, which give a photo the colours of another one, `(source, reference) -> rgb`.

Images are (3, H, W) in [0, 1] and may differ in size. The result has the size, type and device of the source.
Anything but one finite floating-point image is an `InputError`.
"""

import importlib

import numpy as np
import torch
from skimage.exposure import match_histograms
from torch import Tensor

from dequant.color.rgb import check_rgb
from dequant.color.spaces import lab_to_rgb, rgb_to_lab
from dequant.errors import InputError

LIBRARY_METHODS = ("hm", "reinhard", "mkl", "hm-mkl-hm")
"""Of `color_matcher`: the library's methods that accept images of different sizes."""


FLAT_LAB = 0.01
"""Standard deviation of L, a or b below which a channel counts as flat; 1 is a just noticeable difference."""


FLAT_RGB = 1e-6
"""The same for the principal axes of the colours, in RGB."""


def check_image(rgb: Tensor) -> None:
    """Raise `InputError` unless `rgb` is one floating-point image (3, H, W) of finite numbers."""
    check_rgb(rgb)
    if rgb.ndim != 3 or not rgb.isfinite().all():
        raise InputError(
            f"A tensor of shape {tuple(rgb.shape)} cannot be restored or recoloured: "
            "give one image (3, H, W) of finite numbers."
        )


def reinhard(source: Tensor, reference: Tensor) -> Tensor:
    """Match the mean and standard deviation of each channel of CIE Lab.

    Reinhard et al. (2001) do so in l-alpha-beta. A flat channel takes the reference's mean.
    """
    (lab, mean, std), (_, *wanted) = _lab_moments(source), _lab_moments(reference)
    mean_reference, std_reference = (moment.to(lab) for moment in wanted)
    gain = torch.where(std > FLAT_LAB, std_reference / std.clamp_min(FLAT_LAB), 0)
    return lab_to_rgb((lab - mean) * gain + mean_reference).to(source)


def monge_kantorovich(source: Tensor, reference: Tensor) -> Tensor:
    """Match the mean and covariance of RGB by the linear map that moves the colours least.

    The closed form of Pitié and Kokaram (2007). Axes along which the colours of the source do not vary stay flat.
    """
    (colors, mean, covariance), (_, *wanted) = _rgb_moments(source), _rgb_moments(reference)
    mean_reference, covariance_reference = (moment.to(colors) for moment in wanted)
    root, inverse_root = _matrix_power(covariance, 0.5), _matrix_power(covariance, -0.5)
    mapping = inverse_root @ _matrix_power(root @ covariance_reference @ root, 0.5) @ inverse_root
    return (mapping @ (colors - mean) + mean_reference).clamp(0, 1).reshape(source.shape).to(source)


def histogram_match(source: Tensor, reference: Tensor) -> Tensor:
    """Match the histogram of each channel of RGB."""
    check_image(source)
    check_image(reference)
    images = (rgb.detach().cpu().numpy() for rgb in (source, reference))
    return torch.from_numpy(match_histograms(*images, channel_axis=0)).to(source).clamp(0, 1)


def color_matcher(source: Tensor, reference: Tensor, method: str = "hm-mkl-hm") -> Tensor:
    """Transfer by the optional library color-matcher.

    Args:
        source: the photo.
        reference: the photo that the colours come from.
        method: one of `LIBRARY_METHODS`: "hm" for histograms, "reinhard" in l-alpha-beta, "mkl" for
            Monge-Kantorovich, "hm-mkl-hm" for histograms before and after it.

    Raises:
        InputError: there is no such method, or the library is not installed.
    """
    check_image(source)
    check_image(reference)
    if method not in LIBRARY_METHODS:
        raise InputError(f"color-matcher has no method {method!r}: choose one of {', '.join(LIBRARY_METHODS)}.")
    try:
        library = importlib.import_module("color_matcher.top_level")
    except ImportError:
        raise InputError(
            "color_matcher needs the package color-matcher: pip install 'dequant[color-matcher]'."
        ) from None
    images = [rgb.detach().movedim(0, -1).cpu().double().numpy().copy() for rgb in (source, reference)]
    matched = library.ColorMatcher(src=images[0], ref=images[1], method=method).main()
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(matched, -1, 0))).to(source).clamp(0, 1)


def _lab_moments(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Lab (3, H, W) in float64, its means and its standard deviations (3, 1, 1)."""
    check_image(rgb)
    lab = rgb_to_lab(rgb.double())
    return lab, lab.mean((1, 2), keepdim=True), lab.std((1, 2), correction=0, keepdim=True)


def _rgb_moments(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Colours (3, pixels) in float64, their mean (3, 1) and their covariance (3, 3)."""
    check_image(rgb)
    colors = rgb.double().flatten(1)
    return colors, colors.mean(1, keepdim=True), colors.cov(correction=0)


def _matrix_power(covariance: Tensor, exponent: float) -> Tensor:
    """Power of a symmetric matrix along the axes that have variance, 0 along the others."""
    variances, axes = torch.linalg.eigh(covariance)
    floor = FLAT_RGB**2
    powers = torch.where(variances > floor, variances.clamp_min(floor) ** exponent, 0)
    return axes * powers @ axes.mT
