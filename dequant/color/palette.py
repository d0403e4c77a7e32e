"""Palettes of images and of colour maps, and their transfer (paper, section 3).

An image becomes a palette and a map of indices into it. Editing the palette, or matching it with another one,
recolours the image without touching the map. Palettes hold 8-bit colours, because the paper's median cut works on
bytes.
"""

from collections.abc import Callable
from numbers import Integral
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from scipy.cluster.vq import vq
from torch import Tensor

from dequant.color.median_cut import median_cut
from dequant.color.rgb import check_rgb, to_uint8
from dequant.color.spaces import lab_to_rgb, rgb_to_lab
from dequant.errors import InputError

QUANTIZATION_RMSE = 0.3
"""Median cut to N colours has an rms error of about 0.3 / sqrt(N) on [-1, 1] (measured on photos, N = 4 to 128)."""


MAX_COLORS = 256


KMEANS_PIXELS = 32768
"""Pixels that the k-means palette is fitted to, drawn at random from larger images."""


KMEANS_ROUNDS = 20


DITHERS = ("floyd_steinberg", "ordered")


def _bayer(n: int) -> list[list[float]]:
    """Thresholds in (0, 1) of an n by n Bayer matrix, n a power of two."""
    matrix = np.zeros((1, 1))
    while len(matrix) < n:
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    return ((matrix + 0.5) / n**2).tolist()


BAYER = _bayer(8)


class Quantized(NamedTuple):
    """An image of few colours.

    Attributes:
        palette: (K, 3) float32 in [0, 1], multiples of 1/255.
        indices: (H, W) int64, from 0 to K - 1.
    """

    palette: Tensor
    indices: Tensor

    @property
    def rgb(self) -> Tensor:
        """The image, (3, H, W) float32 in [0, 1]."""
        return apply_palette(self.palette, self.indices)

    @property
    def counts(self) -> Tensor:
        """Pixels of each colour, (K,) int64."""
        return torch.bincount(self.indices.flatten(), minlength=len(self.palette))


def quantize(
    rgb: Tensor,
    n_colors: int,
    method: str = "median_cut",
    rng: np.random.Generator | None = None,
    visible: Tensor | None = None,
) -> Quantized:
    """Reduce an image to a palette of at most `n_colors` colours.

    Args:
        rgb: (3, H, W) in [0, 1], rounded to 8 bits first.
        n_colors: 1 to 256; an image of fewer colours gets a smaller palette.
        method: "median_cut" (Pillow's, the paper's choice), "kmeans" (in CIE Lab, more accurate and slower) or
            "octree" (Pillow's, faster and coarser).
        rng: draws the pixels that "kmeans" fits the palette of a large image to; None for a fixed choice.
        visible: (H, W) bool, the pixels that make the palette, at least one; None for all. The others take the nearest
            of its colours.

    Returns:
        The palette, (K, 3) with K at most `n_colors`, and the indices, on the device of `rgb`.

    Raises:
        InputError: `rgb` is not a finite floating-point image, or `n_colors` or `method` is not one of the
            above.
    """
    check_rgb(rgb)
    if rgb.ndim != 3 or not torch.stack(rgb.aminmax()).isfinite().all():
        raise InputError(
            f"An image of shape {tuple(rgb.shape)} cannot be quantized: give one image (3, H, W) of finite numbers."
        )
    if not isinstance(n_colors, Integral) or not 1 <= n_colors <= MAX_COLORS:
        raise InputError(f"A palette of {n_colors!r} colours is not possible: ask for 1 to {MAX_COLORS}.")
    if method not in _QUANTIZERS:
        raise InputError(f"There is no quantization method {method!r}: choose one of {', '.join(_QUANTIZERS)}.")
    pixels = to_uint8(rgb).movedim(0, -1).contiguous().cpu().numpy()
    rng = np.random.default_rng(0) if rng is None else rng
    if visible is None:
        palette, indices = _QUANTIZERS[method](pixels, n_colors, rng)
    else:
        inside = visible.cpu().numpy()
        palette, of_visible = _QUANTIZERS[method](pixels[inside][None], n_colors, rng)
        indices = vq(pixels.reshape(-1, 3).astype(float), palette.astype(float))[0].reshape(inside.shape)
        indices[inside] = of_visible[0]
    return Quantized(
        (torch.from_numpy(palette).float() / 255).to(rgb.device),
        torch.from_numpy(indices).long().to(rgb.device),
    )


def dither(rgb: Tensor, palette: Tensor, kind: str = "floyd_steinberg") -> Quantized:
    """Show an image in the colours of a palette with dithering, as GIFs do.

    Args:
        rgb: (3, H, W) in [0, 1], rounded to 8 bits first.
        palette: (K, 3) in [0, 1], 1 to 256 colours.
        kind: "floyd_steinberg" diffuses the error of each pixel to its neighbours (Pillow's), "ordered" adds a Bayer
            matrix of 8 by 8 thresholds before it takes the nearest colour.

    Returns:
        The palette in 8 bits, and the indices.

    Raises:
        InputError: the image or the palette has another shape, or there is no such kind.
    """
    check_rgb(rgb)
    _check_palette(palette)
    if rgb.ndim != 3 or len(palette) > MAX_COLORS:
        raise InputError(
            f"Expected one image (3, H, W) and at most {MAX_COLORS} colours, got {tuple(rgb.shape)} and {len(palette)}."
        )
    if kind not in DITHERS:
        raise InputError(f"There is no dither {kind!r}: choose {' or '.join(DITHERS)}.")
    colors = to_uint8(palette.cpu())
    if kind == "ordered":
        spread = 255 * len(colors) ** (-1 / 3)
        rows, columns = (torch.arange(side) % len(BAYER) for side in rgb.shape[1:])
        pixels = 255 * rgb.cpu() + spread * (torch.tensor(BAYER)[rows][:, columns] - 0.5)
        indices, _ = vq(pixels.flatten(1).T.double().numpy(), colors.double().numpy())
    else:
        holder = Image.new("P", (1, 1))
        holder.putpalette(np.resize(colors.numpy(), (MAX_COLORS, 3)).tobytes())
        image = Image.fromarray(to_uint8(rgb.cpu()).movedim(0, -1).contiguous().numpy())
        indices = np.array(image.quantize(palette=holder, dither=Image.Dither.FLOYDSTEINBERG)) % len(colors)
    indices = torch.from_numpy(np.asarray(indices).reshape(rgb.shape[1:])).long()
    return Quantized(colors.float().to(rgb.device) / 255, indices.to(rgb.device))


def apply_palette(palette: Tensor, indices: Tensor) -> Tensor:
    """Colour a map of indices.

    Args:
        palette: (K, 3).
        indices: (H, W) int64, from 0 to K - 1.

    Returns:
        (3, H, W), of the palette's type.

    Raises:
        InputError: a shape is wrong or an index has no colour.
    """
    _check_palette(palette)
    if indices.ndim != 2 or indices.numel() == 0 or indices.is_floating_point():
        raise InputError(
            f"A {indices.dtype} tensor of shape {tuple(indices.shape)} is not an index map: give int64 (H, W)."
        )
    lowest, highest = (bound.item() for bound in indices.aminmax())
    if lowest < 0 or highest >= len(palette):
        raise InputError(
            f"Indices from {lowest} to {highest} do not fit a palette of {len(palette)} colours: "
            f"give indices from 0 to {len(palette) - 1}."
        )
    return palette.T.index_select(1, indices.flatten().long()).view(3, *indices.shape)


def transfer(source: Quantized, target_palette: Tensor, assignment: Tensor, blend: float = 1.0) -> Quantized:
    """Replace every colour of an image by the target colour assigned to it.

    Args:
        source: the quantized image.
        target_palette: (M, 3) in [0, 1].
        assignment: (K,) int64 from `match`: source colour i becomes target colour `assignment[i]`.
        blend: 1 for the target colour, 0 for the source colour, linear in between.

    Returns:
        The same index map with the new palette, rounded down to 8 bits as in the released code. 8-bit colours do not
        change.

    Raises:
        InputError: a shape, an assigned index or `blend` is wrong.
    """
    _check_palette(target_palette)
    if assignment.shape != source.palette.shape[:1] or assignment.is_floating_point():
        raise InputError(
            f"A {assignment.dtype} assignment of shape {tuple(assignment.shape)} does not fit: "
            f"give {len(source.palette)} integers, one for each source colour."
        )
    if assignment.min() < 0 or assignment.max() >= len(target_palette):
        raise InputError(
            f"The assignment does not fit the target palette: give indices from 0 to {len(target_palette) - 1}."
        )
    if not 0 <= blend <= 1:
        raise InputError(f"A blend of {blend} is not possible: give a number from 0 to 1.")
    device = source.palette.device
    target = target_palette.to(device)[assignment.to(device)]
    mixed = blend * target.double() + (1 - blend) * source.palette.double()
    return Quantized(to_uint8(mixed.float(), truncate=True).float() / 255, source.indices)


def colormap_palette(name: str, n_colors: int) -> Tensor:
    """Evenly spaced colours of a matplotlib colour map, ends included; a single colour is the middle one.

    Args:
        name: such as "viridis"; see `matplotlib.colormaps`.
        n_colors: at least 1.

    Returns:
        (n_colors, 3) float32 in [0, 1], not rounded to 8 bits. As in the released code, matching uses the exact colours
        and `transfer` rounds them down.

    Raises:
        InputError: matplotlib has no such colour map, or `n_colors` is less than 1.
    """
    import matplotlib  # here because it is slow

    if n_colors < 1:
        raise InputError(f"A palette of {n_colors} colours is not possible: ask for at least 1.")
    if name not in matplotlib.colormaps:
        raise InputError(f"matplotlib has no colour map {name!r}: choose a name in matplotlib.colormaps.")
    positions = np.linspace(0, 1, n_colors) if n_colors > 1 else np.array([0.5])
    return torch.from_numpy(matplotlib.colormaps[name](positions)[:, :3]).float()


def _check_palette(palette: Tensor) -> None:
    if palette.ndim != 2 or palette.shape[1] != 3 or len(palette) == 0:
        raise InputError(f"A palette of shape {tuple(palette.shape)} is not possible: give (n, 3), n at least 1.")


def _median_cut(pixels: np.ndarray, n_colors: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return median_cut(pixels, n_colors)


def _octree(pixels: np.ndarray, n_colors: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    image = Image.fromarray(pixels).quantize(n_colors, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    return _without_unused(np.array(image.getpalette(), dtype=np.uint8).reshape(-1, 3), np.array(image))


def _kmeans(pixels: np.ndarray, n_colors: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Lloyd's algorithm in Lab, started from the median cut."""
    lab = _lab(pixels.reshape(-1, 3))
    fitted = lab if len(lab) <= KMEANS_PIXELS else lab[rng.choice(len(lab), KMEANS_PIXELS, replace=False)]
    centers = _lab(_median_cut(pixels, n_colors, rng)[0])
    for _ in range(KMEANS_ROUNDS):
        nearest, _ = vq(fitted, centers)
        sizes = np.bincount(nearest, minlength=len(centers))[:, None]
        sums = np.stack([np.bincount(nearest, channel, len(centers)) for channel in fitted.T], axis=1)
        moved = np.where(sizes > 0, sums / np.maximum(sizes, 1), centers)
        if np.allclose(moved, centers, atol=0.01):
            break
        centers = moved
    rgb = lab_to_rgb(torch.from_numpy(centers.T)[:, None])[:, 0].T
    palette = to_uint8(rgb).numpy()
    indices, _ = vq(lab, _lab(palette))
    return _without_unused(palette, indices.reshape(pixels.shape[:2]))


def _lab(colors: np.ndarray) -> np.ndarray:
    """Levels uint8 (n, 3) -> Lab float64 (n, 3)."""
    return rgb_to_lab(torch.from_numpy(colors.T.copy())[:, None].double() / 255)[:, 0].T.numpy()


def _without_unused(palette: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    used, indices = np.unique(indices, return_inverse=True)
    return palette[used], indices


_QUANTIZERS: dict[str, Callable[[np.ndarray, int, np.random.Generator], tuple[np.ndarray, np.ndarray]]] = {
    "median_cut": _median_cut,
    "kmeans": _kmeans,
    "octree": _octree,
}
