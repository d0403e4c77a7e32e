"""Arithmetic of images on CPUs, compiled: means over squares, conjugate gradients, and bounds on gradients.

It is that of `guided` and of `condition.texture_bounds`, which say what it means.
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
    """Move `y` to the solution of `matrix y = right_side`, in place, by conjugate gradients.

    Args:
        y: (H, W), where to start.
        right_side: (H, W).
        diagonal: of the matrix, (H, W).
        rows: minus the entries of neighbours in a column, (H - 1, W).
        columns: minus those of neighbours in a row, (H, W - 1).
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


@_compiled
def within(gray: Floats, low: Floats, high: Floats, free: Floats, size: float, rounds: int) -> Floats:
    """The image (H, W) that `texture_bounds.within` finds.

    Args:
        gray: (H, W), at least 2 by 2 pixels.
        low: (2, H, W), bounds of the central differences along rows, then columns; -inf for none.
        high: likewise, inf for none.
        free: (H, W), 1 where a pixel may be moved, else 0.
        size: of a step.
        rounds: number of steps.
    """
    force, ahead, found, image = np.zeros_like(low), np.zeros_like(low), np.empty_like(low), np.empty_like(gray)
    momentum, step = 1.0, np.float32(size)
    for _ in range(rounds):
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        share, momentum = np.float32((momentum - 1) / following), following
        _pulled(gray, ahead, free, image)
        _differences(image, found)
        for axis in range(2):
            for i in range(len(gray)):
                _strengthen(force[axis, i], ahead[axis, i], found[axis, i], low[axis, i], high[axis, i], step, share)
    _pulled(gray, force, free, image)
    return image


@_compiled
def _strengthen(
    force: Floats, ahead: Floats, found: Floats, low: Floats, high: Floats, step: float, share: float
) -> None:
    """One step of the forces of a row, given the differences found."""
    for j in range(len(force)):
        moved = ahead[j] + step * found[j]
        stronger = moved - min(max(moved, step * low[j]), step * high[j])
        ahead[j] = stronger + share * (stronger - force[j])
        force[j] = stronger


@_compiled
def _differences(image: Floats, found: Floats) -> None:
    """Write the central differences of `image` (H, W), one-sided at the border, to `found` (2, H, W)."""
    height, width = image.shape
    half = np.float32(0.5)
    for i in range(height):
        up, down = max(i - 1, 0), min(i + 1, height - 1)
        scale = half if down - up == 2 else np.float32(1)
        for j in range(width):
            found[0, i, j] = scale * (image[down, j] - image[up, j])
        for j in range(1, width - 1):
            found[1, i, j] = half * (image[i, j + 1] - image[i, j - 1])
        found[1, i, 0] = image[i, 1] - image[i, 0]
        found[1, i, -1] = image[i, -1] - image[i, -2]


@_compiled
def _pulled(gray: Floats, force: Floats, free: Floats, image: Floats) -> None:
    """Write to `image` what forces (2, H, W) on the differences of `gray` make of it: the transposed of these."""
    height, width = gray.shape
    half = np.float32(0.5)
    for i in range(height):
        image[i] = 0
        here = image[i]
        if i > 0:
            scale = half if i > 1 else np.float32(1)
            for j in range(width):
                here[j] += scale * force[0, i - 1, j]
        if i < height - 1:
            scale = half if i < height - 2 else np.float32(1)
            for j in range(width):
                here[j] -= scale * force[0, i + 1, j]
        if i == 0 or i == height - 1:
            own = np.float32(-1 if i == 0 else 1)
            for j in range(width):
                here[j] += own * force[0, i, j]
        across = force[1, i]
        for j in range(2, width):
            here[j] += half * across[j - 1]
        for j in range(width - 2):
            here[j] -= half * across[j + 1]
        here[1] += across[0]
        here[0] -= across[0]
        here[-1] += across[-1]
        here[-2] -= across[-1]
        for j in range(width):
            here[j] = gray[i, j] - free[i, j] * here[j]
