"""How good an output is: one number per image, never pooled over a batch, as the paper averages over images.

The first group repeats the released evaluation (its PSNR and SSIM are those of piq); the palette error
compares what was asked with what came out, both quantized, where there is no ground truth (paper, section 4).
The second group says whether the texture of the source survived, which the palette error alone cannot.
"""

from collections.abc import Callable, Iterator, Sequence
from math import log2, sqrt

import torch
from torch import Tensor
from torch.nn import functional as F

from dequant import InputError
from dequant.cells import cells_of, kept
from dequant.color import check_rgb, ciede2000, gray_uint8, rgb_to_lab, to_uint8
from dequant.palette import quantize
from dequant.texture import GRADIENT_THRESHOLD, gradient_map, thresholded_gradient_map

Metric = Callable[[Tensor, Tensor], Tensor]

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
SSIM_SIDE = 256
"""Images are reduced to about this short side first, as piq does."""
HAAR_SCALES = 3


def psnr(pred: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, `-10 log10(mse + 1e-8)`: identical images have 80.

    Args:
        pred: (B, 3, H, W), clamped to [0, 1].
        target: the same.

    Returns:
        (B,).

    Raises:
        InputError: the images are not floating-point batches of one shape.
    """
    _check_pair(pred, target)
    squared_error = (pred.clamp(0, 1) - target.clamp(0, 1)).square().mean((1, 2, 3))
    return -10 * torch.log10(squared_error + 1e-8)


def ssim(pred: Tensor, target: Tensor) -> Tensor:
    """Structural similarity (Wang et al., 2004) as piq computes it, averaged over the RGB channels.

    The Gaussian window has 11 x 11 pixels and sigma 1.5 and stays inside the image. Large images are reduced
    first, by averaging blocks of `round(min(H, W) / 256)` pixels, so values of images from 384 pixels on
    depend on their size.

    Args:
        pred: (B, 3, H, W), clamped to [0, 1].
        target: the same.

    Returns:
        (B,), at most 1, which is reached by identical images.

    Raises:
        InputError: the images are not floating-point batches of one shape, or a side is below 11 pixels.
    """
    _check_pair(pred, target)
    if min(pred.shape[-2:]) < SSIM_WINDOW:
        height, width = pred.shape[-2:]
        raise InputError(
            f"The SSIM of images of {height} by {width} pixels does not exist: give at least 11 by 11 pixels."
        )
    pred, target = pred.clamp(0, 1), target.clamp(0, 1)
    block = max(1, round(min(pred.shape[-2:]) / SSIM_SIDE))
    if block > 1:
        pred, target = F.avg_pool2d(pred, block), F.avg_pool2d(target, block)
    offsets = torch.arange(SSIM_WINDOW, dtype=pred.dtype, device=pred.device) - (SSIM_WINDOW - 1) / 2
    window = torch.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * SSIM_SIGMA**2))
    window = (window / window.sum()).expand(3, 1, -1, -1)

    def local_mean(image: Tensor) -> Tensor:
        return F.conv2d(image, window, groups=3)

    mean_p, mean_t = local_mean(pred), local_mean(target)
    variance_p = local_mean(pred**2) - mean_p**2
    variance_t = local_mean(target**2) - mean_t**2
    covariance = local_mean(pred * target) - mean_p * mean_t
    c1, c2 = 0.01**2, 0.03**2
    structure = (2 * covariance + c2) / (variance_p + variance_t + c2)
    similarity = (2 * mean_p * mean_t + c1) / (mean_p**2 + mean_t**2 + c1) * structure
    return similarity.mean((1, 2, 3))


def l1(pred: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error, not clamped.

    Args:
        pred: (B, 3, H, W).
        target: the same.

    Returns:
        (B,).

    Raises:
        InputError: the images are not floating-point batches of one shape.
    """
    _check_pair(pred, target)
    return (pred - target).abs().mean((1, 2, 3))


def smape(pred: Tensor, target: Tensor) -> Tensor:
    """Symmetric relative error of the released evaluation: the mean of `|p - t| / (|p| + |t| + 0.01)`.

    Args:
        pred: (B, 3, H, W).
        target: the same.

    Returns:
        (B,), from 0 to less than 1.

    Raises:
        InputError: the images are not floating-point batches of one shape.
    """
    _check_pair(pred, target)
    return ((pred - target).abs() / (pred.abs() + target.abs() + 0.01)).mean((1, 2, 3))


def palette_error(output: Tensor, asked: Tensor, n_colors: int | Sequence[int], metric: Metric) -> Tensor:
    """The paper's palette error: a metric between the quantized output and the quantized input.

    As in the released evaluation, both are rounded down to 8 bits and median-cut. Rounding down costs an
    output that went through [-1, 1] up to one level, so that even a perfect one does not reach 80 dB (38 to
    48 dB instead).

    Args:
        output: (B, 3, H, W) in [0, 1].
        asked: the quantized images given to the model, the same shape.
        n_colors: size of the palettes, 1 to 256, for all images or for each. The paper takes that of the
            condition, and 16 for recoloured patches.
        metric: such as `psnr` or `ssim`.

    Returns:
        (B,), from `metric`.

    Raises:
        InputError: the images are not floating-point batches of one shape, or `n_colors` does not fit.
    """
    _check_pair(output, asked)
    sizes = _sizes(n_colors, len(output))
    return metric(_requantize(output, sizes), _requantize(asked, sizes))


def index_agreement(output: Tensor, asked: Tensor, n_colors: int | Sequence[int]) -> Tensor:
    """Share of the pixels of an 8-bit output whose nearest colour in the palette asked for is the one asked for.

    Where two colours are equally near, both count (`cells.kept`).

    Args:
        output: (B, 3, H, W) in [0, 1], rounded to 8 bits.
        asked: the quantized images given to the model, the same shape.
        n_colors: as in `palette_error`: size of the palettes into which they are quantized, which leaves images of
            that many colours as they are.

    Returns:
        (B,) in [0, 1].

    Raises:
        InputError: the images are not floating-point batches of one shape, or `n_colors` does not fit.
    """
    _check_pair(output, asked)
    wanted = _requantize(asked, _sizes(n_colors, len(output)))
    pairs = zip(output, wanted, strict=True)
    return torch.stack([kept(rgb, cells_of(one), ties=True).float().mean() for rgb, one in pairs])


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
    _check_pair(pred, target)
    return ciede2000(rgb_to_lab(pred.clamp(0, 1)), rgb_to_lab(target.clamp(0, 1))).mean((1, 2))


def texture_correlation(output: Tensor, source: Tensor) -> Tensor:
    """Correlation of the luminance gradients of an output with those of its source photo.

    It ignores colours and the overall brightness, but not the sign of the local contrast.

    Args:
        output: (B, 3, H, W) in [0, 1], at least 2 by 2 pixels.
        source: the same.

    Returns:
        (B,) in [-1, 1]; where an image is flat, 1 if both are and 0 otherwise.

    Raises:
        InputError: the images are not floating-point batches of one shape, or are below 2 by 2 pixels.
    """
    _check_pair(output, source)
    gradients = [gradient_map(rgb).double().flatten(1) for rgb in (output, source)]
    first, second = (gradient - gradient.mean(1, keepdim=True) for gradient in gradients)
    energy1, energy2 = first.square().sum(1), second.square().sum(1)
    both = (energy1 > 0) & (energy2 > 0)
    correlation = (first * second).sum(1) / torch.where(both, (energy1 * energy2).sqrt(), 1)
    return torch.where(both, correlation, ((energy1 == 0) & (energy2 == 0)).double()).float()


def gradient_agreement(
    output: Tensor, source: Tensor, mask: Tensor | None = None, threshold: float = GRADIENT_THRESHOLD
) -> Tensor:
    """F1 score between the thresholded gradients of an output and of its source photo.

    The maps are those that condition variant T, along rows and along columns; sign and size of a gradient do
    not count.

    Args:
        output: (B, 3, H, W) in [0, 1], at least 2 by 2 pixels.
        source: the same.
        mask: (H, W) or (B, H, W) bool, the pixels that count; None for all.
        threshold: in grey levels out of 255; a gradient equal to it is no edge.

    Returns:
        (B,) in [0, 1], 1 where neither image has an edge.

    Raises:
        InputError: the images are not floating-point batches of one shape and size, or the mask does not fit.
    """
    _check_pair(output, source)
    found, wanted = (thresholded_gradient_map(rgb, threshold) > 0 for rgb in (output, source))
    if mask is not None:
        if mask.dtype != torch.bool or mask.shape not in (found.shape[-2:], found[:, 0].shape):
            raise InputError(
                f"A {mask.dtype} mask of shape {tuple(mask.shape)} does not fit: "
                f"give a boolean one of shape {tuple(found.shape[-2:])}, for all images or for each."
            )
        inside = mask if mask.ndim == 2 else mask[:, None]
        found, wanted = found & inside, wanted & inside
    shared = (found & wanted).sum((1, 2, 3))
    edges = found.sum((1, 2, 3)) + wanted.sum((1, 2, 3))
    return torch.where(edges > 0, 2 * shared / edges.clamp_min(1), 1.0)


def haar_distance(output: Tensor, source: Tensor) -> Tensor:
    """How far the statistics of an output's detail are from those of its source photo: a figure of naturalness.

    The marginals of Haar details (vertical, horizontal, diagonal, `HAAR_SCALES` scales or as many as fit) set natural
    images apart from smooth and from banded ones (Huang and Mumford, Statistics of natural images and models, CVPR
    1999). Compared is log2(1 + |detail|) in grey levels of the 8-bit image, by the Wasserstein distance, which is the
    mean difference of the sorted values. Where a detail lies does not count: one natural photo among the likely ones
    is near 0, and their mean, which is smooth, is not.

    Args:
        output: (B, 3, H, W) in [0, 1], at least 2 by 2 pixels.
        source: the same.

    Returns:
        (B,) in octaves, 0 for equal statistics; the mean over directions and scales.

    Raises:
        InputError: the images are not floating-point batches of one shape, or are below 2 by 2 pixels.
    """
    _check_pair(output, source)
    if min(output.shape[-2:]) < 2:
        raise InputError(f"A shape of {tuple(output.shape)} has no details: give at least 2 by 2 pixels.")
    pairs = zip(_haar_details(output), _haar_details(source), strict=True)
    distances = [(ours.sort(-1).values - theirs.sort(-1).values).abs().mean(-1) for ours, theirs in pairs]
    return torch.cat(distances, dim=1).mean(1)


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
        raise InputError("The mean of no values does not exist: give at least one.")
    return numbers.mean().item(), numbers.std(correction=0).item() / sqrt(len(numbers))


def _haar_details(rgb: Tensor) -> Iterator[Tensor]:
    """log2(1 + |detail|) of the 8-bit grey image, (B, 3, n) for each scale, the finest first."""
    grey = gray_uint8(rgb)[:, None].float()
    signs = torch.tensor([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]], device=rgb.device)
    kernels = signs.view(4, 1, 2, 2) / 2
    for _ in range(min(HAAR_SCALES, int(log2(min(rgb.shape[-2:]))))):
        bands = F.conv2d(grey, kernels, stride=2)
        grey = bands[:, :1] / 2
        yield (1 + bands[:, 1:].flatten(2).abs()).log2()


def _sizes(n_colors: int | Sequence[int], n: int) -> list[int]:
    sizes = [n_colors] * n if isinstance(n_colors, int) else list(n_colors)
    if len(sizes) != n:
        raise InputError(f"{len(sizes)} palette sizes do not fit {n} images: give one, or one for each.")
    return sizes


def _requantize(rgb: Tensor, sizes: list[int]) -> Tensor:
    levels = to_uint8(rgb, truncate=True).float() / 255
    return torch.stack([quantize(image, size).rgb for image, size in zip(levels, sizes, strict=True)])


def _check_pair(pred: Tensor, target: Tensor) -> None:
    check_rgb(pred)
    check_rgb(target)
    if pred.ndim != 4 or pred.shape != target.shape:
        raise InputError(
            f"Images of shapes {tuple(pred.shape)} and {tuple(target.shape)} cannot be compared: "
            "give two batches (B, 3, H, W) of one shape."
        )
