"""Pictures at a reduced size and back, in stripes where they are large."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.float32]


def block_means(image: NDArray[Any], factor: int) -> Pixels:
    """Means of squares of side `factor`, (H, W, ...) -> (ceil(H / factor), ceil(W / factor), ...)."""
    result = image.astype(np.float32)
    for axis in (0, 1):
        starts = np.arange(0, result.shape[axis], factor)
        counts = np.diff(np.append(starts, result.shape[axis])).astype(np.float32)
        result = np.add.reduceat(result, starts, axis=axis)
        result /= counts.reshape(-1, *[1] * (result.ndim - 1 - axis))
    return result


def block_extremes(image: NDArray[Any], factor: int, join: np.ufunc) -> NDArray[Any]:
    """`np.minimum` or `np.maximum` of squares, as `block_means`."""
    for axis in (0, 1):
        image = join.reduceat(image, np.arange(0, image.shape[axis], factor), axis=axis)
    return image


def enlarged(image: Pixels, factor: int, shape: tuple[int, ...], rows: slice | None = None) -> Pixels:
    """Rows of a picture (h, w, ...) that was reduced by `factor`, at its size of `shape` again: bilinear."""
    rows = slice(0, shape[0]) if rows is None else rows
    if factor == 1:
        return image[rows]
    box = (0, rows.start / factor, shape[1] / factor, rows.stop / factor)
    size = (shape[1], rows.stop - rows.start)
    planes = image.reshape(*image.shape[:2], -1)
    large = [
        np.asarray(Image.fromarray(planes[..., channel]).resize(size, Image.Resampling.BILINEAR, box=box))
        for channel in range(planes.shape[2])
    ]
    return np.stack(large, axis=-1).reshape(*large[0].shape, *image.shape[2:])
