"""Edited pictures with colour drift, as generative editors return them."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dequant.color.levels import to_levels, to_rgb
from tests.support.paths import GOLDEN

Levels = NDArray[np.uint8]

UINT8 = np.dtype(np.uint8)


def photo(name: str = "caps", size: int = 192) -> Levels:
    """A golden photo, enlarged to (size, size, 3)."""
    image = Image.open(GOLDEN / f"{name}.png").convert("RGB")
    return np.array(image.resize((size, size), Image.Resampling.BICUBIC))


def disc(size: int = 192, radius: int = 20, center: tuple[int, int] = (60, 70)) -> NDArray[np.bool_]:
    """A mask (size, size)."""
    rows, columns = np.ogrid[:size, :size]
    return (rows - center[0]) ** 2 + (columns - center[1]) ** 2 <= radius**2


def drifted(levels: Levels) -> Levels:
    """Warmer and with another gamma."""
    return to_levels((to_rgb(levels) * np.float32([1.08, 1, 0.93])) ** np.float32(1.15), levels.dtype)


def edited(source: Levels, mask: NDArray[np.bool_]) -> Levels:
    """The inverted colours inside, and drift everywhere."""
    return drifted(np.where(mask[..., None], np.iinfo(source.dtype).max - source, source))


def with_moved_patch(source: Levels, step: int = 5) -> tuple[Levels, NDArray[np.bool_]]:
    """The photo with a square of it shifted, and the pixels that it covers or covered."""
    result, place = source.copy(), np.zeros(source.shape[:2], bool)
    result[120:160, 110 + step : 150 + step] = source[120:160, 110:150]
    place[120:160, 110 : 150 + step] = True
    return result, place
