"""Nearest points of convex polytopes around colours, compiled: the arithmetic of `cells`, pixel by pixel.

The polytope of a colour of a palette is given by planes `normal . y <= limit` for points y relative to the colour: one
for each other colour, whose normal points there, and the six faces of the cube. All numbers are in 8-bit levels.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

TOLERANCE = 5e-4
"""Levels by which a point may lie outside its cell and still count as inside."""


ROUNDS = 64
"""Planes tried for one point at most; 3 to 8 are usual."""


SUBSETS = np.array([(0, -1, -1), (0, 1, -1), (0, 2, -1), (0, 3, -1), (0, 1, 2), (0, 1, 3), (0, 2, 3)])
"""The subsets of four planes, the first of which is violated, that the nearest point can lie on; -1 is none."""


LAST = SUBSETS.max(axis=1)


def _compiled(function: Any) -> Any:
    return njit(cache=True, nogil=True, error_model="numpy")(function)


@_compiled
def _dot(a: Floats, b: Floats) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@_compiled
def _worst(
    y: Floats, own: int, palette: Floats, length: Floats, limit: Floats, room: Floats, order: Integers
) -> tuple[float, int]:
    """By how much a point (3,) lies beyond the plane that it violates most, and which one that is, -1 for none."""
    worst, index = TOLERANCE / 10, -1
    for face in range(6):
        beyond = (y[face] if face < 3 else -y[face - 3]) - room[own, face]
        if beyond > worst:
            worst, index = beyond, len(palette) + face
    r, g, b = palette[own, 0], palette[own, 1], palette[own, 2]
    size = np.sqrt(_dot(y, y))
    for number in range(order.shape[1]):
        j = order[own, number]
        if size - limit[own, j] <= worst:  # and so for all that are farther away
            break
        along = (palette[j, 0] - r) * y[0] + (palette[j, 1] - g) * y[1] + (palette[j, 2] - b) * y[2]
        beyond = along / length[own, j] - limit[own, j]
        if beyond > worst:
            worst, index = beyond, j
    return worst, index


@_compiled
def _plane(index: int, own: int, palette: Floats, length: Floats, limit: Floats, room: Floats, normal: Floats) -> float:
    """Write the normal of a plane, numbered as in `_worst`, and return its limit."""
    if index < len(palette):
        for c in range(3):
            normal[c] = (palette[index, c] - palette[own, c]) / length[own, index]
        return limit[own, index]
    face = index - len(palette)
    normal[:] = 0
    normal[face % 3] = 1 if face < 3 else -1
    return room[own, face]


@_compiled
def _onto(start: Floats, normals: Floats, limits: Floats, subset: Integers, y: Floats) -> bool:
    """Write the point of the planes of a subset that is nearest to the start; False where they have none in common."""
    a = subset[0]
    over = _dot(normals[a], start) - limits[a]
    if subset[1] < 0:
        for c in range(3):
            y[c] = start[c] - over * normals[a, c]
        return True
    b = subset[1]
    over_b, ab = _dot(normals[b], start) - limits[b], _dot(normals[a], normals[b])
    if subset[2] < 0:
        det = 1 - ab * ab
        if det < 1e-14:
            return False
        u, v = (over - ab * over_b) / det, (over_b - ab * over) / det
        for c in range(3):
            y[c] = start[c] - u * normals[a, c] - v * normals[b, c]
        return True
    d = subset[2]
    over_d = _dot(normals[d], start) - limits[d]
    ad, bd = _dot(normals[a], normals[d]), _dot(normals[b], normals[d])
    det = 1 + 2 * ab * ad * bd - ab * ab - ad * ad - bd * bd
    if det < 1e-14:
        return False
    u = (over * (1 - bd * bd) + over_b * (ad * bd - ab) + over_d * (ab * bd - ad)) / det
    v = (over * (ad * bd - ab) + over_b * (1 - ad * ad) + over_d * (ab * ad - bd)) / det
    w = (over * (ab * bd - ad) + over_b * (ab * ad - bd) + over_d * (1 - ab * ab)) / det
    for c in range(3):
        y[c] = start[c] - u * normals[a, c] - v * normals[b, c] - w * normals[d, c]
    return True


@_compiled
def _nearest(
    start: Floats,
    own: int,
    palette: Floats,
    length: Floats,
    limit: Floats,
    room: Floats,
    order: Integers,
    y: Floats,
) -> None:
    """Move a point to the nearest one of its polytope: the most violated plane is added until there is none.

    The nearest point lies on at most three planes. These and the added one are four, and trying all subsets finds the
    nearest feasible point. The distance from the start grows with each plane, so that no set of planes recurs. A point
    that rounding errors leave outside is moved straight towards the colour until it is inside.
    """
    normals, limits, count = np.zeros((4, 3)), np.zeros(4), 0
    kept_normals, kept_limits, tried = np.zeros((3, 3)), np.zeros(3), np.zeros(3)
    y[:] = start
    for _ in range(ROUNDS):
        worst, index = _worst(y, own, palette, length, limit, room, order)
        if index < 0:
            break
        limits[0] = _plane(index, own, palette, length, limit, room, normals[0])
        normals[1 : count + 1], limits[1 : count + 1] = kept_normals[:count], kept_limits[:count]
        least, best, planes = np.inf, -1, count + 1
        for number in range(len(SUBSETS)):
            if LAST[number] >= planes or not _onto(start, normals, limits, SUBSETS[number], tried):
                continue
            inside, distance = True, 0.0
            for j in range(planes):
                inside &= _dot(normals[j], tried) - limits[j] <= TOLERANCE / 20
            for c in range(3):
                distance += (tried[c] - start[c]) ** 2
            distance *= 1 + 1e-9 * number
            if inside and distance < least:
                least, best = distance, number
                y[:] = tried
        if best < 0:
            break
        count = 0
        for j in SUBSETS[best]:
            if j >= 0:
                kept_normals[count], kept_limits[count] = normals[j], limits[j]
                count += 1
    worst, index = _worst(y, own, palette, length, limit, room, order)
    while index >= 0 and worst > TOLERANCE / 2:
        reach = limit[own, index] if index < len(palette) else room[own, index - len(palette)]
        y *= reach / (reach + worst)
        worst, index = _worst(y, own, palette, length, limit, room, order)


@_compiled
def project(
    levels: Floats, own: Integers, palette: Floats, length: Floats, limit: Floats, room: Floats, order: Integers
) -> Floats:
    """Points (n, 3), each moved to the nearest one of the polytope of its colour `own` (n,).

    Args:
        levels: absolute, not relative to the colours. Those inside, to `TOLERANCE`, are returned unchanged.
        own: from 0 to K - 1.
        palette: (K, 3).
        length: distance of each pair of colours, (K, K).
        limit: how far along the normal a polytope reaches, (K, K).
        room: likewise to the faces of the cube, (K, 6): red, green and blue upwards, and downwards.
        order: the other colours of each one by their limits, the least first, (K, K - 1).
    """
    result, start, y = levels.copy(), np.zeros(3), np.zeros(3)
    for i in range(len(levels)):
        mine = own[i]
        for c in range(3):
            start[c] = levels[i, c] - palette[mine, c]
        if _worst(start, mine, palette, length, limit, room, order)[0] > TOLERANCE:
            _nearest(start, mine, palette, length, limit, room, order, y)
            for c in range(3):
                result[i, c] = y[c] + palette[mine, c]
    return result


@_compiled
def share_inside(
    before: Floats,
    after: Floats,
    own: Integers,
    palette: Floats,
    length: Floats,
    limit: Floats,
    room: Floats,
    order: Integers,
) -> Floats:
    """How far each way from one point (n, 3) to another may be gone, (n,) in [0, 1], until it leaves its polytope.

    Arguments as in `project`.
    """
    shares, start, end, to = np.ones(len(before)), np.zeros(3), np.zeros(3), np.zeros(3)
    for i in range(len(before)):
        mine, share = own[i], 1.0
        for c in range(3):
            start[c], end[c] = before[i, c] - palette[mine, c], after[i, c] - palette[mine, c]
        size = np.sqrt(_dot(end, end))
        for number in range(order.shape[1] + 6):
            j = len(palette) + number if number < 6 else order[mine, number - 6]
            reach = _plane(j, mine, palette, length, limit, room, to)
            if number >= 6 and reach >= size:
                break
            beyond = _dot(to, end) - reach
            if beyond > 0:
                inside = min(_dot(to, start) - reach, 0.0)
                share = min(share, -inside / (beyond - inside))
        shares[i] = share
    return shares


@_compiled
def is_nearest(
    levels: Floats, own: Integers, palette: Floats, length: Floats, order: Integers, ties: bool
) -> NDArray[np.bool_]:
    """Whether no colour is nearer to a point (n, 3) than its own; without `ties`, none is as near either. (n,)."""
    found = np.ones(len(levels), np.bool_)
    for i in range(len(levels)):
        r, g, b, mine = levels[i, 0], levels[i, 1], levels[i, 2], palette[own[i]]
        to_own = (r - mine[0]) ** 2 + (g - mine[1]) ** 2 + (b - mine[2]) ** 2
        for number in range(order.shape[1]):
            j = order[own[i], number]
            if length[own[i], j] ** 2 > 4 * to_own + 1:  # and so for all that are farther away
                break
            away = (r - palette[j, 0]) ** 2 + (g - palette[j, 1]) ** 2 + (b - palette[j, 2]) ** 2
            if away < to_own or (away == to_own and not ties):
                found[i] = False
                break
    return found
