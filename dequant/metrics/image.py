"""How close an output is to its target: one number per image, averaged over images later, as in the paper.

PSNR and SSIM are those of the released evaluation, which takes them from piq.
"""

from collections.abc import Callable, Sequence
from math import sqrt

import torch
from torch import Tensor
from torch.nn import functional as F

from dequant.color.rgb import check_rgb
from dequant.color.spaces import ciede2000, rgb_to_lab
from dequant.errors import InputError

Metric = Callable[[Tensor, Tensor], Tensor]


SSIM_WINDOW = 11


SSIM_SIGMA = 1.5


SSIM_SIDE = 256
"""Images are reduced to about this shorter side first, as in piq."""


def psnr(pred: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, `-10 log10(mse + 1e-8)`, which is 80 for identical images.

    Args:
        pred: (B, 3, H, W), clamped to [0, 1].
        target: the same.

    Returns:
        (B,).

    Raises:
        InputError: the images are not floating-point batches of one shape.
    """
    check_pair(pred, target)
    squared_error = (pred.clamp(0, 1) - target.clamp(0, 1)).square().mean((1, 2, 3))
    return -10 * torch.log10(squared_error + 1e-8)


def ssim(pred: Tensor, target: Tensor) -> Tensor:
    """Structural similarity (Wang et al., 2004) as piq computes it, averaged over the RGB channels.

    The Gaussian window has 11 x 11 pixels and sigma 1.5 and stays inside the image. Images of 384 pixels and more are
    reduced first, by averaging blocks of `round(min(H, W) / 256)` pixels, so their values depend on their size.

    Args:
        pred: (B, 3, H, W), clamped to [0, 1].
        target: the same.

    Returns:
        (B,), at most 1, the value of identical images.

    Raises:
        InputError: the images are not floating-point batches of one shape, or a side is below 11 pixels.
    """
    check_pair(pred, target)
    if min(pred.shape[-2:]) < SSIM_WINDOW:
        height, width = pred.shape[-2:]
        raise InputError(
            f"SSIM needs images of at least {SSIM_WINDOW} by {SSIM_WINDOW} pixels, got {height} by {width}."
        )
    pred, target = pred.clamp(0, 1), target.clamp(0, 1)
    block = max(1, round(min(pred.shape[-2:]) / SSIM_SIDE))
    if block > 1:
        pred, target = F.avg_pool2d(pred, block), F.avg_pool2d(target, block)
    offsets = torch.arange(SSIM_WINDOW, dtype=pred.dtype, device=pred.device) - (SSIM_WINDOW - 1) / 2
    window = torch.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * SSIM_SIGMA**2))
    parts = (pred, target, pred**2, target**2, pred * target)
    channels = 3 * len(parts)  # in one convolution, which is faster than one for each part
    window = (window / window.sum()).expand(channels, 1, -1, -1)
    mean_p, mean_t, *products = F.conv2d(torch.cat(parts, 1), window, groups=channels).chunk(len(parts), 1)
    variance_p, variance_t, covariance = products[0] - mean_p**2, products[1] - mean_t**2, products[2] - mean_p * mean_t
    c1, c2 = 0.01**2, 0.03**2
    structure = (2 * covariance + c2) / (variance_p + variance_t + c2)
    similarity = (2 * mean_p * mean_t + c1) / (mean_p**2 + mean_t**2 + c1) * structure
    return similarity.mean((1, 2, 3))


def psnr_and_ssim(pred: Tensor, target: Tensor) -> Tensor:
    """Both at once, for `palette_error`, whose palettes cost more than the metrics.

    Args:
        pred: (B, 3, H, W), clamped to [0, 1].
        target: the same.

    Returns:
        (2, B), `psnr` and `ssim`.

    Raises:
        InputError: as `psnr` and `ssim`.
    """
    return torch.stack((psnr(pred, target), ssim(pred, target)))


def mean_ciede2000(pred: Tensor, target: Tensor) -> Tensor:
    """Mean CIEDE2000 colour difference over the pixels.

    Args:
        pred: (B, 3, H, W), clamped to [0, 1].
        target: the same.

    Returns:
        (B,), 0 for identical images; 1 is a just noticeable difference.

    Raises:
        InputError: the images are not floating-point batches of one shape.
    """
    check_pair(pred, target)
    return ciede2000(rgb_to_lab(pred.clamp(0, 1)), rgb_to_lab(target.clamp(0, 1))).mean((1, 2))


def mean_and_stderr(values: Tensor | Sequence[float]) -> tuple[float, float]:
    """Mean of per-image values and its standard error, `std / sqrt(n)`.

    The standard deviation has ddof 0 as in the released evaluation: it divides by n, not by n - 1.

    Args:
        values: n numbers, n at least 1.

    Returns:
        The mean and the standard error.

    Raises:
        InputError: there are no values.
    """
    numbers = torch.as_tensor(values).detach().double().flatten()
    if len(numbers) == 0:
        raise InputError("A mean needs at least one value, got none.")
    return numbers.mean().item(), numbers.std(correction=0).item() / sqrt(len(numbers))


def check_pair(pred: Tensor, target: Tensor) -> None:
    """Raise `InputError` unless both are floating-point batches (B, 3, H, W) of one shape."""
    check_rgb(pred)
    check_rgb(target)
    if pred.ndim != 4 or pred.shape != target.shape:
        raise InputError(
            f"Images of shapes {tuple(pred.shape)} and {tuple(target.shape)} cannot be compared: "
            "give two batches (B, 3, H, W) of one shape."
        )
