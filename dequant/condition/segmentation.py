"""Two segmentations of scikit-image, felzenszwalb and quick shift, compiled, with the same segments.

Images are (H, W, 3) float; results are (H, W) integers, equal inside a segment, in no particular order.
"""

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Image = NDArray[np.floating]


Labels = NDArray[np.int64]


def felzenszwalb(image: Image, scale: float, sigma: float, min_size: int) -> Labels:
    """Merge segments of a graph of pixels if they differ no more from each other than inside.

    Felzenszwalb and Huttenlocher, "Efficient graph-based image segmentation", IJCV 2004.

    Args:
        image: (H, W, 3), from 0 to 1.
        scale: how large a difference small segments tolerate; larger values give larger segments.
        sigma: of the Gaussian blur applied first, in pixels.
        min_size: smallest number of pixels in a segment.

    Returns:
        (H, W), the number of one pixel of the segment.
    """
    smooth = gaussian_filter(image.astype(np.float64), [sigma, sigma, 0])
    numbers = np.arange(smooth[..., 0].size).reshape(smooth.shape[:2])
    steps = (
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
        ((slice(1, None), slice(1, None)), (slice(None, -1), slice(None, -1))),
        ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))),
    )
    costs = np.concatenate([np.sqrt(((smooth[a] - smooth[b]) ** 2).sum(axis=-1)).ravel() for a, b in steps])
    first = np.concatenate([numbers[a].ravel() for a, _ in steps])
    second = np.concatenate([numbers[b].ravel() for _, b in steps])
    order = np.argsort(costs)
    return _merge(numbers.size, first[order], second[order], costs[order], scale / 255, min_size).reshape(numbers.shape)


def quick_shift(image: Image, kernel_size: float, reach: float, rng: np.random.Generator) -> Labels:
    """Link each pixel to the nearest one of higher density in place and colour, up to a distance.

    Vedaldi and Soatto, "Quick shift and kernel methods for mode seeking", ECCV 2008.

    Args:
        image: (H, W, 3), where a unit of colour counts as much as a pixel of distance.
        kernel_size: standard deviation of the Gaussian of the density, which is cut off at three times that.
        reach: largest distance of linked pixels; larger values give larger segments.
        rng: breaks ties, by noise of 1e-5 on the densities.

    Returns:
        (H, W), the number of the pixel of highest density in the segment.
    """
    width = int(np.ceil(3 * kernel_size))
    image = np.ascontiguousarray(image, np.float32)
    noise = rng.normal(scale=1e-5, size=image.shape[:2])
    down, right = (offset.ravel() for offset in np.mgrid[-width : width + 1, -width : width + 1])
    nearest_first = np.argsort(down**2 + right**2, kind="stable")[1:]
    offsets = np.stack((down, right), axis=1)[nearest_first]
    densities = _densities(image, width, np.float32(-0.5 / kernel_size**2))
    return _follow(image, densities + noise, offsets, reach)


def _compiled(function: Any) -> Any:
    return njit(cache=True, nogil=True, error_model="numpy")(function)


@_compiled
def _root(parents: Labels, pixel: int) -> int:
    """The root of a pixel's tree; the pixels on the way are linked to it directly."""
    root = pixel
    while parents[root] != root:
        root = parents[root]
    while parents[pixel] != root:
        parents[pixel], pixel = root, parents[pixel]
    return root


@_compiled
def _merge(
    count: int, first: Labels, second: Labels, costs: NDArray[np.float64], scale: float, min_size: int
) -> Labels:
    """Segments of pixels 0 to count - 1, joined by edges in the order of their costs."""
    parents, sizes, inside = np.arange(count), np.ones(count, np.int64), np.zeros(count)
    for edge in range(len(costs)):
        a, b = _root(parents, first[edge]), _root(parents, second[edge])
        if a != b and costs[edge] < min(inside[a] + scale / sizes[a], inside[b] + scale / sizes[b]):
            kept, joined = min(a, b), max(a, b)
            parents[joined] = kept
            sizes[kept] += sizes[joined]
            inside[kept] = costs[edge]
    for edge in range(len(costs)):
        a, b = _root(parents, first[edge]), _root(parents, second[edge])
        if a != b and min(sizes[a], sizes[b]) < min_size:
            kept, joined = min(a, b), max(a, b)
            parents[joined] = kept
            sizes[kept] += sizes[joined]
    for pixel in range(count):
        parents[pixel] = parents[parents[pixel]]  # the root of a tree is its first pixel
    return parents


@_compiled
def _distance(image: NDArray[np.float32], row: int, column: int, down: int, right: int) -> np.float32:
    """Squared distance in place and colour of two pixels."""
    distance = np.float32(down * down + right * right)
    for channel in range(3):
        step = image[row, column, channel] - image[row + down, column + right, channel]
        distance += step * step
    return distance


@_compiled
def _densities(image: NDArray[np.float32], width: int, factor: np.float32) -> NDArray[np.float32]:
    """Sum of exp(factor * squared distance) over the other pixels in the window of each pixel, (H, W)."""
    height, length, _ = image.shape
    densities = np.zeros((height, length), np.float32)
    for row in range(height):
        for down in range(min(width + 1, height - row)):
            for right in range(1 if down == 0 else -width, width + 1):
                for column in range(max(0, -right), length - max(0, right)):
                    near = math.exp(factor * _distance(image, row, column, down, right))
                    densities[row, column] += near
                    densities[row + down, column + right] += near
    return densities


@_compiled
def _follow(image: NDArray[np.float32], densities: NDArray[np.float64], offsets: Labels, reach: float) -> Labels:
    """Root (H, W) of each pixel, where each is linked to the nearest pixel of higher density at one of the offsets."""
    height, length, _ = image.shape
    parents = np.arange(height * length)
    for row in range(height):
        for column in range(length):
            closest = np.float32(reach * reach) * np.float32(1 + 1e-6)
            for number in range(len(offsets)):
                down, right = offsets[number]
                if down * down + right * right >= closest:
                    break
                is_inside = 0 <= row + down < height and 0 <= column + right < length
                if is_inside and densities[row + down, column + right] > densities[row, column]:
                    distance = _distance(image, row, column, down, right)
                    if distance < closest:
                        closest = distance
                        parents[row * length + column] = (row + down) * length + column + right
    for pixel in range(len(parents)):
        _root(parents, pixel)
    return parents.reshape(height, length)
