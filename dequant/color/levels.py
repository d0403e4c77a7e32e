"""Photos as arrays of levels: (H, W, 3) of 8 or 16 bits, as files have them."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dequant.color.spaces import ciede2000, rgb_to_lab
from dequant.errors import InputError

Levels = NDArray[np.uint8] | NDArray[np.uint16]


def check_levels(levels: NDArray[Any], name: str) -> None:
    """Raise `InputError` unless `levels`, which the error calls `name`, is (H, W, 3) uint8 or uint16 with pixels."""
    if not isinstance(levels, np.ndarray):
        raise InputError(f"Expected an array (H, W, 3) for {name}, got a {type(levels).__name__}.")
    if levels.ndim != 3 or levels.shape[2] != 3 or not levels.size or levels.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"Expected uint8 or uint16 levels of shape (H, W, 3) for {name}, "
            f"got {levels.dtype} of shape {levels.shape}."
        )


def to_rgb(levels: NDArray[Any]) -> NDArray[np.float32]:
    """Values in [0, 1] of 8 or 16-bit levels, of the same shape."""
    return levels.astype(np.float32) / np.float32(np.iinfo(levels.dtype).max)


def to_levels(rgb: NDArray[Any], dtype: np.dtype[Any]) -> Levels:
    """The nearest levels of values in [0, 1], clamped, of the same shape."""
    most = np.iinfo(dtype).max
    return np.rint(np.clip(rgb, 0, 1) * np.float32(most)).astype(dtype)


def difference(rgb1: NDArray[np.floating], rgb2: NDArray[np.floating]) -> NDArray[np.float32]:
    """CIEDE2000 between colours (..., 3) in [0, 1], as (...)."""
    if not np.size(rgb1):
        return np.zeros(np.shape(rgb1)[:-1], np.float32)
    labs = [rgb_to_lab(torch.from_numpy(np.float32(one)).reshape(-1, 3).T[..., None]) for one in (rgb1, rgb2)]
    return ciede2000(*labs)[:, 0].numpy().reshape(np.shape(rgb1)[:-1])
