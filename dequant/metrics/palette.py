"""How well the colours asked for were kept, where there is no ground truth (paper, section 4): one number per image."""

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
    check_pair(output, asked)
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
    check_pair(output, asked)
    wanted = _requantize(asked, _sizes(n_colors, len(output)))
    pairs = zip(output, wanted, strict=True)
    return torch.stack([kept(rgb, cells_of(one), ties=True).float().mean() for rgb, one in pairs])


def _sizes(n_colors: int | Sequence[int], n: int) -> list[int]:
    sizes = [n_colors] * n if isinstance(n_colors, int) else list(n_colors)
    if len(sizes) != n:
        raise InputError(f"{len(sizes)} palette sizes do not fit {n} images: give one, or one for each.")
    return sizes


def _requantize(rgb: Tensor, sizes: list[int]) -> Tensor:
    levels = to_uint8(rgb, truncate=True).float() / 255
    return torch.stack([quantize(image, size).rgb for image, size in zip(levels, sizes, strict=True)])
