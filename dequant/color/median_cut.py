"""Pillow's median cut, byte for byte, compiled and on a histogram of the colours.

The fullest box of colours is split at the median of its longest channel, where lengths are weighted by luminance. Each
colour then belongs to the nearest of the boxes' means. Pillow keeps a sorted linked list of the colours per channel; a
histogram of 256 values finds the same medians without sorting.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Integers = NDArray[np.int64]


MAX_DISTINCT = 65536
"""Pillow drops low bits of the channels until an image has no more distinct colours than this."""


LUMINANCE_WEIGHTS = np.array([77, 150, 29])
"""Red, green and blue: 0.3, 0.59 and 0.11 times 256."""


def median_cut(pixels: NDArray[np.uint8], n_colors: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Reduce an image to at most `n_colors` colours exactly as Pillow's `quantize(n_colors)` does.

    Args:
        pixels: (H, W, 3), at least one pixel.
        n_colors: 1 to 256.

    Returns:
        palette (K, 3) with K at most `n_colors`, and indices (H, W) from 0 to K - 1.
    """
    packed = _pack(pixels.reshape(-1, 3))
    colors, counts, which = _histogram(packed, np.ones(1, np.int64))
    coarse, coarse_counts, in_coarse, bits = colors, counts, None, 0
    while len(coarse) > MAX_DISTINCT:
        bits += 1
        coarse, coarse_counts, in_coarse = _histogram(_coarser(colors, bits), counts)
    boxes, n_boxes = _cut(coarse, coarse_counts, n_colors)
    box = boxes if in_coarse is None else boxes[in_coarse]
    palette = _means(colors, counts, box, n_boxes)
    neighbours = np.sort(_distances(palette), axis=1)
    nearest = _nearest(colors, box, palette, neighbours)
    return palette.astype(np.uint8), nearest[which].reshape(pixels.shape[:2])


def _compiled(function: Any) -> Any:
    return njit(cache=True, nogil=True, error_model="numpy")(function)


@_compiled
def _pack(pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Levels (n, 3) -> red, green and blue in one number, (n,)."""
    packed = np.empty(len(pixels), np.int32)
    for i in range(len(pixels)):
        packed[i] = np.int32(pixels[i, 0]) << 16 | np.int32(pixels[i, 1]) << 8 | np.int32(pixels[i, 2])
    return packed


@_compiled
def _coarser(colors: NDArray[np.int32], bits: int) -> NDArray[np.int32]:
    """Packed colours without the lowest `bits` of each channel."""
    kept = 255 >> bits
    return (colors >> bits & (kept << 16 | kept << 8 | kept)).astype(np.int32)


@_compiled
def _histogram(packed: NDArray[np.int32], weights: Integers) -> tuple[NDArray[np.int32], Integers, NDArray[np.int32]]:
    """Distinct colours (K,), the weight of each (K,), and the index of each given colour among them (n,).

    `weights` has one number for each given colour, or one for all.
    """
    size = 16
    while size < 2 * len(packed) and size < 1 << 24:
        size *= 2
    table = np.full(size, -1, np.int64)  # number of the colour and the colour, at a place that the colour tells
    colors, counts = np.empty(len(packed), np.int32), np.zeros(len(packed), np.int64)
    which = np.empty(len(packed), np.int32)
    found = 0
    for i in range(len(packed)):
        color = np.int64(packed[i])
        place = (color * 2654435761 >> 15) & (size - 1)
        while table[place] >= 0 and table[place] & 0xFFFFFF != color:
            place = (place + 1) & (size - 1)
        if table[place] < 0:
            table[place] = np.int64(found) << 24 | color
            colors[found] = packed[i]
            found += 1
        number = table[place] >> 24
        counts[number] += weights[i if len(weights) > 1 else 0]
        which[i] = number
    return colors[:found].copy(), counts[:found].copy(), which


@_compiled
def _cut(colors: NDArray[np.int32], counts: Integers, n_colors: int) -> tuple[NDArray[np.int32], int]:
    """Box of each colour (K,) and the number of boxes, in the order of the tree of splits."""
    size = 2 * n_colors
    first, last, total = np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size, np.int64)
    child = np.zeros(size, np.int64)  # the left one, the right one being the next; 0 for a leaf
    order, spare = np.arange(len(colors)), np.empty(len(colors), np.int64)
    last[0], total[0] = len(colors), counts.sum()
    heap, waiting, nodes, boxes = np.zeros(size, np.int64), 0, 1, 1
    waiting = _push(heap, waiting, total, 0)
    while boxes < n_colors and waiting > 0:
        node, waiting = _pop(heap, waiting, total)
        axis, longest = _longest_axis(colors, order[first[node] : last[node]])
        if longest == 0:
            continue
        middle, weight = _split(colors, counts, order, spare, first[node], last[node], axis)
        child[node] = nodes
        first[nodes], last[nodes], total[nodes] = first[node], middle, weight
        first[nodes + 1], last[nodes + 1], total[nodes + 1] = middle, last[node], total[node] - weight
        waiting = _push(heap, waiting, total, nodes)
        waiting = _push(heap, waiting, total, nodes + 1)
        nodes, boxes = nodes + 2, boxes + 1
    starts = np.zeros(len(colors), np.int32)
    for node in range(nodes):
        if child[node] == 0:
            starts[first[node]] = 1
    box, number = np.empty(len(colors), np.int32), -1
    for position in range(len(colors)):
        number += starts[position]
        box[order[position]] = number
    return box, number + 1


@_compiled
def _longest_axis(colors: NDArray[np.int32], members: Integers) -> tuple[int, int]:
    """Channel in which a box is longest, weighted by luminance, and that length."""
    red_low = green_low = blue_low = 255
    red_high = green_high = blue_high = 0
    for i in members:
        red, green, blue = colors[i] >> 16, colors[i] >> 8 & 255, colors[i] & 255
        red_low, red_high = min(red_low, red), max(red_high, red)
        green_low, green_high = min(green_low, green), max(green_high, green)
        blue_low, blue_high = min(blue_low, blue), max(blue_high, blue)
    axis, longest = 0, (red_high - red_low) * LUMINANCE_WEIGHTS[0]
    if longest < (green_high - green_low) * LUMINANCE_WEIGHTS[1]:
        axis, longest = 1, (green_high - green_low) * LUMINANCE_WEIGHTS[1]
    if longest < (blue_high - blue_low) * LUMINANCE_WEIGHTS[2]:
        axis, longest = 2, (blue_high - blue_low) * LUMINANCE_WEIGHTS[2]
    return axis, longest


@_compiled
def _split(
    colors: NDArray[np.int32],
    counts: Integers,
    order: Integers,
    spare: Integers,
    first: int,
    last: int,
    axis: int,
) -> tuple[Any, Any]:
    """Put the brighter half of a box first in `order`: where the other half begins, and the weight before it."""
    shift = 16 - 8 * axis
    weights, lowest, total = np.zeros(256, np.int64), 255, 0
    for i in order[first:last]:
        level = colors[i] >> shift & 255
        weights[level] += counts[i]
        lowest = min(lowest, level)
        total += counts[i]
    threshold, before = 256, 0
    while 2 * before <= total and threshold > lowest + 1:
        threshold -= 1
        before += weights[threshold]
    left: Any = first
    right: Any = 0
    for position in range(first, last):
        i = order[position]
        is_left = np.int64((colors[i] >> shift & 255) >= threshold)
        order[left] = i  # what this overwrites has been read
        spare[right] = i
        left += is_left
        right += 1 - is_left
    order[left:last] = spare[:right]
    return left, before


@_compiled
def _push(heap: Integers, waiting: int, total: Integers, node: int) -> int:
    """Add a node to the heap and return its new size; ties stay in Pillow's order. The heap begins at 1."""
    place = waiting + 1
    while place > 1 and total[node] > total[heap[place // 2]]:
        heap[place] = heap[place // 2]
        place //= 2
    heap[place] = node
    return waiting + 1


@_compiled
def _pop(heap: Integers, waiting: int, total: Integers) -> tuple[int, int]:
    """Take the node of largest total from the heap, and its new size."""
    top, moved = heap[1], heap[waiting]
    waiting -= 1
    place = 1
    while 2 * place <= waiting:
        below = 2 * place
        if below < waiting and total[heap[below]] < total[heap[below + 1]]:
            below += 1
        if total[moved] > total[heap[below]]:
            break
        heap[place] = heap[below]
        place = below
    heap[place] = moved
    return top, waiting


@_compiled
def _means(colors: NDArray[np.int32], counts: Integers, box: NDArray[np.int32], n_boxes: int) -> Integers:
    """Mean colour of each box (K, 3), rounded half up; sums wrap at 32 bits as in Pillow."""
    sums = np.zeros((n_boxes, 4), np.int64)
    for i in range(len(colors)):
        sums[box[i], 0] += counts[i] * (colors[i] >> 16)
        sums[box[i], 1] += counts[i] * (colors[i] >> 8 & 255)
        sums[box[i], 2] += counts[i] * (colors[i] & 255)
        sums[box[i], 3] += counts[i]
    means = np.empty((n_boxes, 3), np.int64)
    for number in range(n_boxes):
        for channel in range(3):
            means[number, channel] = int(0.5 + (sums[number, channel] & 0xFFFFFFFF) / sums[number, 3])
    return means


@_compiled
def _distances(palette: Integers) -> NDArray[np.int32]:
    """Squared distances of all pairs of colours (K, K), times 256, plus the number of the second one."""
    distances = np.empty((len(palette), len(palette)), np.int32)
    for i in range(len(palette)):
        for j in range(len(palette)):
            squared = 0
            for channel in range(3):
                squared += (palette[i, channel] - palette[j, channel]) ** 2
            distances[i, j] = squared << 8 | j
    return distances


@_compiled
def _nearest(
    colors: NDArray[np.int32], box: NDArray[np.int32], palette: Integers, neighbours: NDArray[np.int32]
) -> NDArray[np.uint8]:
    """Nearest colour of the palette; of several, that of the own box, or the one nearest to that."""
    red, green, blue = palette[:, 0].astype(np.int32), palette[:, 1].astype(np.int32), palette[:, 2].astype(np.int32)
    nearest = np.empty(len(colors), np.uint8)
    for i in range(len(colors)):
        r, g, b, best = colors[i] >> 16, colors[i] >> 8 & 255, colors[i] & 255, box[i]
        least = (r - red[best]) ** 2 + (g - green[best]) ** 2 + (b - blue[best]) ** 2
        reach = 4 * least  # farther ones are at least as far from the colour, by the triangle inequality
        for entry in neighbours[best]:
            if entry >> 8 > reach:
                break
            j = entry & 255
            distance = (r - red[j]) ** 2 + (g - green[j]) ** 2 + (b - blue[j]) ** 2
            if distance < least:
                least, best = distance, j
        nearest[i] = best
    return nearest
