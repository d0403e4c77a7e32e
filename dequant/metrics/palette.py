"""How well the requested colours were kept, where there is no ground truth (paper, section 4): one number per image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dequant.color.cells import cells_of, kept
from dequant.color.palette import quantize
from dequant.color.rgb import to_uint8
from dequant.errors import InputError
from dequant.metrics.image import Metric, check_pair


def palette_error(output: Tensor, asked: Tensor, n_colors: int | Sequence[int], metric: Metric) -> Tensor:
    """The paper's palette error: a metric between the quantized output and the quantized input.

    As in the released evaluation, both are rounded down to 8 bits and median-cut. An output that went through [-1, 1]
    loses up to one level to the rounding, so even a perfect one reaches only 38 to 48 dB, not 80.

    Args:
        output: (B, 3, H, W) in [0, 1].
        asked: the quantized images given to the model, the same shape.
        n_colors: size of the palettes, 1 to 256, one for all images or one for each. The paper takes that of the
            condition, and 16 for recoloured patches.
        metric: such as `psnr`, `ssim` or `psnr_and_ssim`.

    Returns:
        (B,), or whatever `metric` returns.

    Raises:
        InputError: the images are not floating-point batches of one shape, or `n_colors` does not fit.
    """
    check_pair(output, asked)
    sizes = _sizes(n_colors, len(output))
    return metric(requantized(output, sizes), requantized(asked, sizes))


def index_agreement(output: Tensor, asked: Tensor, n_colors: int | Sequence[int]) -> Tensor:
    """Share of the pixels of an 8-bit output whose nearest colour in the requested palette is the requested one.

    If two colours are equally near, either counts (`cells.kept`).

    Args:
        output: (B, 3, H, W) in [0, 1], rounded to 8 bits.
        asked: the quantized images given to the model, the same shape.
        n_colors: as in `palette_error`. Images of no more colours than that stay as they are.

    Returns:
        (B,) in [0, 1].

    Raises:
        InputError: the images are not floating-point batches of one shape, or `n_colors` does not fit.
    """
    check_pair(output, asked)
    wanted = requantized(asked, _sizes(n_colors, len(output)))
    pairs = zip(output, wanted, strict=True)
    return torch.stack([kept(rgb, cells_of(one), ties=True).float().mean() for rgb, one in pairs])


def requantized(rgb: Tensor, sizes: Sequence[int]) -> Tensor:
    """Images rounded down to 8 bits and median-cut, as `palette_error` compares them.

    Args:
        rgb: (B, 3, H, W) in [0, 1].
        sizes: of the palettes, 1 to 256, one for each image.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    levels = to_uint8(rgb, truncate=True).float() / 255
    return torch.stack([quantize(image, size).rgb for image, size in zip(levels, sizes, strict=True)])


def _sizes(n_colors: int | Sequence[int], n: int) -> list[int]:
    sizes = [n_colors] * n if isinstance(n_colors, int) else list(n_colors)
    if len(sizes) != n:
        raise InputError(f"Expected one palette size, or one for each of {n} images, got {len(sizes)}.")
    return sizes
