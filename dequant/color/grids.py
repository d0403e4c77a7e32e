"""The arithmetic of `guided` on CPUs, compiled: means over squares, and conjugate gradients.

The matrix of the latter is that of `guided.with_differences`: a diagonal, and minus a weight for each pair of
neighbours.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def _compiled(function: Any) -> Any:
    return njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})(function)


@_compiled
def box_mean(image: Floats, radius: int, found: Floats) -> None:
    """Write to `found` (H, W) the mean over the square about each pixel of `image` (H, W), cut off at the border."""
    height, width = image.shape
    sums = np.zeros(width)
    for i in range(min(radius, height)):
        for j in range(width):
            sums[j] += image[i, j]
    for i in range(height):
        if i + radius < height:
            for j in range(width):
                sums[j] += image[i + radius, j]
        if i > radius:
            for j in range(width):
                sums[j] -= image[i - radius - 1, j]
        many = min(i + radius, height - 1) - max(i - radius, 0) + 1
        total = sums[:radius].sum()
        for j in range(width):
            if j + radius < width:
                total += sums[j + radius]
            if j > radius:
                total -= sums[j - radius - 1]
            found[i, j] = total / (many * (min(j + radius, width - 1) - max(j - radius, 0) + 1))


@_compiled
def solve(
    y: Floats, right_side: Floats, diagonal: Floats, rows: Floats, columns: Floats, scale: Floats, rounds: int
) -> None:
    """Move `y` to the solution, in place.

    Args:
        y: (H, W), where to start.
        right_side: (H, W).
        diagonal: of the matrix, (H, W).
        rows: weights of neighbours along rows' axis, (H - 1, W).
        columns: likewise, (H, W - 1).
        scale: the preconditioner, (H, W); where it is 0 y stays.
        rounds: number of steps.
    """
    change = np.empty_like(y)
    _apply(y, diagonal, rows, columns, change)
    rest = right_side - change
    step = rest * scale
    size = 0.0
    for i in range(len(y)):
        size += (rest[i] * step[i]).sum()
    for _ in range(rounds):
        along = _apply(step, diagonal, rows, columns, change)
        if size <= 0 or along <= 0:
            return
        length, before, size = np.float32(size / along), size, 0.0
        for i in range(len(y)):
            size += _advance(y[i], rest[i], step[i], change[i], scale[i], length)
        share = np.float32(size / before)
        for i in range(len(y)):
            _turn(step[i], rest[i], scale[i], share)


@_compiled
def _apply(step: Floats, diagonal: Floats, rows: Floats, columns: Floats, found: Floats) -> float:
    """Write the matrix times `step` to `found`; the product of the two."""
    height, width = step.shape
    total = 0.0
    for i in range(height):
        here, result = step[i], found[i]
        for j in range(width):
            result[j] = diagonal[i, j] * here[j]
        if i > 0:
            for j in range(width):
                result[j] -= rows[i - 1, j] * step[i - 1, j]
        if i < height - 1:
            for j in range(width):
                result[j] -= rows[i, j] * step[i + 1, j]
        for j in range(width - 1):
            result[j] -= columns[i, j] * here[j + 1]
        for j in range(width - 1):
            result[j + 1] -= columns[i, j] * here[j]
        part: Any = np.float32(0)
        for j in range(width):
            part += here[j] * result[j]
        total += part
    return total


@_compiled
def _advance(y: Floats, rest: Floats, step: Floats, change: Floats, scale: Floats, length: float) -> float:
    """Go along `step` in one row; what is left, as the preconditioner measures it."""
    total: Any = np.float32(0)
    for j in range(len(y)):
        y[j] += length * step[j]
        rest[j] -= length * change[j]
        total += rest[j] * rest[j] * scale[j]
    return total


@_compiled
def _turn(step: Floats, rest: Floats, scale: Floats, share: float) -> None:
    """The next direction in one row."""
    for j in range(len(step)):
        step[j] = scale[j] * rest[j] + share * step[j]
