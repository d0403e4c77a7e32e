"""How close an output is to its target: one number per image, averaged over images later, as in the paper.

PSNR and SSIM are those of the released evaluation, which takes them from piq.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
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


class Target:
    """What metrics take of a target, computed when it is first asked for: give it in place of one used several times.

    Args:
        rgb: (B, 3, H, W), clamped to [0, 1].
    """

    def __init__(self, rgb: Tensor) -> None:
        self.rgb = rgb

    @cached_property
    def lab(self) -> Tensor:
        """In CIE Lab, (B, 3, H, W)."""
        return rgb_to_lab(self.rgb.clamp(0, 1))

    @cached_property
    def reduced(self) -> Tensor:
        """The size that `ssim` compares."""
        return _reduced(self.rgb)

    @cached_property
    def means(self) -> list[Tensor]:
        """Of `reduced`, and of its square, in the windows of `ssim`."""
        return _means(self.reduced, self.reduced**2)


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


def ssim(pred: Tensor, target: Tensor | Target) -> Tensor:
    """Structural similarity (Wang et al., 2004) as piq computes it, averaged over the RGB channels.

    The Gaussian window has 11 x 11 pixels and sigma 1.5 and stays inside the image. Images of 384 pixels and more are
    reduced first, by averaging blocks of `round(min(H, W) / 256)` pixels, so their values depend on their size.

    Args:
        pred: (B, 3, H, W), clamped to [0, 1].
        target: the same, or its `Target`.

    Returns:
        (B,), at most 1, the value of identical images.

    Raises:
        InputError: the images are not floating-point batches of one shape, or a side is below 11 pixels.
    """
    known = _known(target)
    check_pair(pred, known.rgb)
    if min(pred.shape[-2:]) < SSIM_WINDOW:
        height, width = pred.shape[-2:]
        raise InputError(
            f"SSIM needs images of at least {SSIM_WINDOW} by {SSIM_WINDOW} pixels, got {height} by {width}."
        )
    reduced = _reduced(pred)
    mean_p, square_p, product = _means(reduced, reduced**2, reduced * known.reduced)
    mean_t, square_t = known.means
    variance_p, variance_t, covariance = square_p - mean_p**2, square_t - mean_t**2, product - mean_p * mean_t
    c1, c2 = 0.01**2, 0.03**2
    structure = (2 * covariance + c2) / (variance_p + variance_t + c2)
    similarity = (2 * mean_p * mean_t + c1) / (mean_p**2 + mean_t**2 + c1) * structure
    return similarity.mean((1, 2, 3))


def psnr_and_ssim(pred: Tensor, target: Tensor | Target) -> Tensor:
    """Both at once, for `palette_error`, whose palettes cost more than the metrics.

    Args:
        pred: (B, 3, H, W), clamped to [0, 1].
        target: the same, or its `Target`.

    Returns:
        (2, B), `psnr` and `ssim`.

    Raises:
        InputError: as `psnr` and `ssim`.
    """
    known = _known(target)
    return torch.stack((psnr(pred, known.rgb), ssim(pred, known)))


def mean_ciede2000(pred: Tensor, target: Tensor | Target) -> Tensor:
    """Mean CIEDE2000 colour difference over the pixels.

    Args:
        pred: (B, 3, H, W), clamped to [0, 1].
        target: the same, or its `Target`.

    Returns:
        (B,), 0 for identical images; 1 is a just noticeable difference.

    Raises:
        InputError: the images are not floating-point batches of one shape.
    """
    known = _known(target)
    check_pair(pred, known.rgb)
    return ciede2000(rgb_to_lab(pred.clamp(0, 1)), known.lab).mean((1, 2))


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


def _known(target: Tensor | Target) -> Target:
    return target if isinstance(target, Target) else Target(target)


def _reduced(rgb: Tensor) -> Tensor:
    block = max(1, round(min(rgb.shape[-2:]) / SSIM_SIDE))
    return F.avg_pool2d(rgb.clamp(0, 1), block) if block > 1 else rgb.clamp(0, 1)


def _means(*parts: Tensor) -> list[Tensor]:
    """Of each in Gaussian windows, in one convolution, which is faster than one for each."""
    first = parts[0]
    offsets = torch.arange(SSIM_WINDOW, dtype=first.dtype, device=first.device) - (SSIM_WINDOW - 1) / 2
    window = torch.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * SSIM_SIGMA**2))
    channels = 3 * len(parts)
    window = (window / window.sum()).expand(channels, 1, -1, -1)
    together = torch.cat(parts, 1).contiguous()  # channels last would be slower, and round otherwise
    return list(F.conv2d(together, window, groups=channels).chunk(len(parts), 1))
