"""Baselines of dequantization: classical filters and pretrained restoration networks, `(rgb, n_colors) -> rgb`.

A restorer estimates the photo behind a quantized image. The classical ones take a `strength`, where 0 changes
nothing. It defaults to the one of best PSNR at that number of colours, from the table `baseline_strengths.csv`
beside this module, which is written by

    python -m benchmarks.tune_restorers FOLDER

Images are (3, H, W) in [0, 1], and so are results, of the same type and on the same device. Anything but one
finite floating-point image, and a number out of range, is an `InputError`.
"""

import csv
import importlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from math import ceil, isfinite, log2
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle
from torch import Tensor
from torch.nn import functional as F

from dequant.errors import InputError
from dequant.evaluation.color_transfer import check_image

Filter = Callable[[Tensor, int, float | None], Tensor]


TABLE = Path(__file__).with_name("baseline_strengths.csv")
"""Columns: method, n_colors, strength, psnr (mean over photos), psnr_input (that of the quantized images), n
(number of photos), dataset, size (side in pixels), command, date."""


BILATERAL_SIGMA = 0.5
"""In pixels. Like the three numbers below, the best of a few on the photos that the strengths are tuned on."""


PATCH_SIDE, PATCH_DISTANCE = 7, 2


WAVELET_LEVELS = 2


RGB_TO_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""ITU-R BT.601, full range."""


def gaussian(rgb: Tensor, n_colors: int, strength: float | None = None) -> Tensor:
    """Blur with a Gaussian; `strength` is its standard deviation in pixels."""
    sigma = _strength(gaussian, rgb, n_colors, strength)
    if sigma == 0:
        return rgb.clone()
    return _from_array(ndimage.gaussian_filter(_to_array(rgb), (0, sigma, sigma), mode="nearest"), rgb)


def bilateral(rgb: Tensor, n_colors: int, strength: float | None = None) -> Tensor:
    """Average neighbours of similar colour (Tomasi and Manduchi, 1998).

    `strength` is the standard deviation of the distance between colours, in RGB. scikit-image's function is not used
    because its spatial weights do not match its window (0.26: 64 weights for 7 x 7 pixels).
    """
    sigma = _strength(bilateral, rgb, n_colors, strength)
    if sigma == 0:
        return rgb.clone()
    radius = ceil(3 * BILATERAL_SIGMA)
    height, width = rgb.shape[-2:]
    padded = F.pad(rgb[None], (radius,) * 4, mode="replicate")[0]
    total, weights = torch.zeros_like(rgb), torch.zeros_like(rgb[0])
    for down in range(-radius, radius + 1):
        for right in range(-radius, radius + 1):
            neighbor = padded[:, radius + down :, radius + right :][:, :height, :width]
            difference = ((neighbor - rgb) / sigma).square().sum(0)
            weight = torch.exp(-(difference + (down**2 + right**2) / BILATERAL_SIGMA**2) / 2)
            total += weight * neighbor
            weights += weight
    return (total / weights).clamp(0, 1)


def total_variation(rgb: Tensor, n_colors: int, strength: float | None = None) -> Tensor:
    """Total-variation denoising (Chambolle, 2004); `strength` is the weight of the variation."""
    weight = _strength(total_variation, rgb, n_colors, strength)
    if weight == 0:
        return rgb.clone()
    return _from_array(denoise_tv_chambolle(_to_array(rgb), weight, channel_axis=0), rgb)


def nonlocal_means(rgb: Tensor, n_colors: int, strength: float | None = None) -> Tensor:
    """Average pixels of similar surroundings (Buades et al., 2005); `strength` is scikit-image's `h`."""
    h = _strength(nonlocal_means, rgb, n_colors, strength)
    if h == 0:
        return rgb.clone()
    return _from_array(denoise_nl_means(_to_array(rgb), PATCH_SIDE, PATCH_DISTANCE, h, channel_axis=0), rgb)


def undither(rgb: Tensor, n_colors: int, strength: float | None = 0.3) -> Tensor:
    """Average the 3 by 3 neighbours of near colours, weighted 1 2 1 both ways: the classical way to remove dithering.

    `strength` is the distance of two colours in RGB beyond which they do not mix (the sigma filter of Lee, 1983).
    """
    reach = _strength(undither, rgb, n_colors, strength)
    height, width = rgb.shape[-2:]
    padded = F.pad(rgb[None], (1,) * 4, mode="replicate")[0]
    total, weights = torch.zeros_like(rgb), torch.zeros_like(rgb[0])
    for down in range(3):
        for right in range(3):
            neighbor = padded[:, down:, right:][:, :height, :width]
            near = (neighbor - rgb).square().sum(0) <= reach**2
            weight = near * float((2 - abs(down - 1)) * (2 - abs(right - 1)))
            total += weight * neighbor
            weights += weight
    return (total / weights).clamp(0, 1)


def wavelet(rgb: Tensor, n_colors: int, strength: float | None = None) -> Tensor:
    """Shrink undecimated Haar coefficients in YCbCr by BayesShrink (Chang, Yu and Vetterli, 2000).

    `strength` is the standard deviation of the noise to remove, in RGB.
    """
    noise = _strength(wavelet, rgb, n_colors, strength)
    if noise == 0:
        return rgb.clone()
    to_ycbcr = torch.tensor(RGB_TO_YCBCR, dtype=rgb.dtype, device=rgb.device)
    border = 2**WAVELET_LEVELS
    padded = F.pad(rgb[None], (border,) * 4, mode="replicate")[0]
    shrunk = _shrink(torch.tensordot(to_ycbcr, padded, 1), noise * to_ycbcr.norm(dim=1)[:, None, None])
    restored = torch.tensordot(to_ycbcr.inverse(), shrunk, 1)
    return restored[:, border:-border, border:-border].clamp(0, 1)


class LearnedRestorer:
    """A pretrained network such as FBCNN, NAFNet, SwinIR or SCUNet, loaded by the library spandrel.

    The weights tell the architecture. A network for grey images receives the channels one by one. Restormer, and
    others of restrictive licences, also need the package spandrel-extra-arches.

    Args:
        path: weights, such as the `.pth` or `.safetensors` file that the authors of the network released.
        device: where the network runs.

    Raises:
        InputError: spandrel cannot be imported, or the file is missing or holds no network that maps images to
            images of the same size.
    """

    def __init__(self, path: str | Path, device: str | torch.device = "cpu") -> None:
        try:
            spandrel = importlib.import_module("spandrel")
        except Exception as error:  # a torchvision that does not fit torch raises more than ImportError
            raise InputError(
                f"The package spandrel cannot be imported ({error}): install 'dequant[baselines]' with a "
                "torchvision built for the installed torch."
            ) from error
        if not Path(path).is_file():
            raise InputError(f"'{path}' does not exist: give the weights of a restoration network.")
        with suppress(ImportError):
            importlib.import_module("spandrel_extra_arches").install(ignore_duplicates=True)
        try:
            model = spandrel.ModelLoader(device).load_from_file(path)
        except Exception as error:  # each format has its own exceptions for a broken file
            raise InputError(f"'{path}' is no network that spandrel knows: choose one from its list.") from error
        channels = (model.input_channels, model.output_channels)
        restores = isinstance(model, spandrel.ImageModelDescriptor) and model.scale == 1
        if not restores or channels not in ((1, 1), (3, 3)):
            raise InputError(f"'{path}' does not map images to images of the same size: choose one that does.")
        self.model, self.device = model.eval(), torch.device(device)

    def __call__(self, rgb: Tensor, n_colors: int) -> Tensor:
        """Restore a quantized image; the number of colours is no input of the network."""
        check_image(rgb)
        batch = rgb[:, None] if self.model.input_channels == 1 else rgb[None]
        restored = [self.model(image) for image in batch.to(self.device, torch.float32).split(1)]
        return torch.cat(restored).reshape(rgb.shape).to(rgb)


def tuned_strength(method: str, n_colors: int) -> float:
    """Strength of a classical restorer for `n_colors` colours: linear in log2 N between the rows of the table."""
    table = _strengths()
    if method not in table:
        raise InputError(f"Expected one of {', '.join(table)}, got {method!r}, of which no strength is known.")
    if n_colors < 1:
        raise InputError(f"Expected a palette of at least 1 colour, got {n_colors}.")
    return float(np.interp(log2(n_colors), *table[method]))


@cache
def _strengths() -> dict[str, tuple[list[float], list[float]]]:
    """The table as {method: (log2 of the numbers of colours, ascending; strengths)}."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    with TABLE.open(newline="", encoding="utf-8") as file:
        for row in sorted(csv.DictReader(file), key=lambda row: int(row["n_colors"])):
            levels, strengths = found.setdefault(row["method"], ([], []))
            levels.append(log2(int(row["n_colors"])))
            strengths.append(float(row["strength"]))
    return found


def _strength(method: Filter, rgb: Tensor, n_colors: int, strength: float | None) -> float:
    check_image(rgb)
    if strength is None:
        return tuned_strength(method.__name__, n_colors)
    if not (isfinite(strength) and strength >= 0):
        raise InputError(f"Expected a finite strength of 0 or more, got {strength}.")
    return strength


def _shrink(image: Tensor, noise: Tensor, level: int = 0) -> Tensor:
    """Undecimated Haar shrinkage of (C, H, W) from `level` on, for white noise of standard deviation (C, 1, 1)."""
    if level == WAVELET_LEVELS:
        return image
    step = 2**level

    def split(band: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        shifted = band.roll(-step, axis)
        return (band + shifted) / 2, (band - shifted) / 2

    def merge(low: Tensor, high: Tensor, axis: int) -> Tensor:
        return (low + high + (low - high).roll(step, axis)) / 2

    def shrink(band: Tensor) -> Tensor:
        variance = (noise / 2) ** 2
        signal = (band.square().mean((1, 2), keepdim=True) - variance).clamp_min(1e-12).sqrt()
        return band.sign() * (band.abs() - variance / signal).clamp_min(0)

    low, high = split(image, -2)
    (low_low, low_high), (high_low, high_high) = split(low, -1), split(high, -1)
    low = merge(_shrink(low_low, noise / 2, level + 1), shrink(low_high), -1)
    return merge(low, merge(shrink(high_low), shrink(high_high), -1), -2)


def _to_array(rgb: Tensor) -> np.ndarray:
    return rgb.detach().to("cpu", torch.float32).numpy()


def _from_array(image: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).reshape(like.shape).to(like).clamp(0, 1)
