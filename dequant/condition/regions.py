"""A hierarchy of regions of a photo: from hundreds of small ones up to the whole, each inside the next."""

import heapq
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.color import rgb2lab
from skimage.filters import gaussian
from skimage.measure import label
from torch import Tensor
from torch.nn import functional as F

from dequant.color.rgb import check_rgb
from dequant.condition import segmentation
from dequant.errors import InputError, whole_number

MAX_SIDE = 192
"""Longer side at which a larger photo is segmented, unless another is given."""

SCALE, LEAST = 30.0, 12
"""Of the finest level: the differences that `segmentation.felzenszwalb` tolerates, and its smallest piece in pixels."""


@dataclass(frozen=True)
class Regions:
    """A tree of regions, numbered as in `scipy.cluster.hierarchy`: the pieces, then what each merge makes.

    Attributes:
        pieces: number of the piece that each pixel belongs to, (h, w) int64 from 0 to S - 1.
        merges: the two regions that each merge joins, (S - 1, 2) int64; the first merge makes region S.
    """

    pieces: Tensor
    merges: Tensor

    @property
    def count(self) -> int:
        """Number of pieces."""
        return len(self.merges) + 1

    @cached_property
    def parents(self) -> NDArray[np.int64]:
        """The region that holds each region; the whole holds itself."""
        parents = np.arange(2 * self.count - 1)
        for number, pair in enumerate(self.merges.tolist()):
            parents[pair] = self.count + number
        return parents

    def cut(self, count: int) -> Tensor:
        """The coarsest level with so many regions, or with all pieces where there are fewer: labels (h, w) from 0.

        Raises:
            InputError: `count` is smaller than 1.
        """
        if count < 1:
            raise InputError(f"Expected at least one region, got {count}.")
        top = 2 * self.count - 1 - min(count, self.count)
        owners = np.arange(2 * self.count - 1)
        for region in reversed(range(top + 1)):
            if self.parents[region] <= top and self.parents[region] != region:
                owners[region] = owners[self.parents[region]]
        _, labels = np.unique(owners[self.pieces.numpy()], return_inverse=True)
        return torch.from_numpy(labels.reshape(self.pieces.shape))

    def around(self, x: float, y: float) -> list[int]:
        """The regions that hold a place, from the piece to the whole.

        Args:
            x: share of the width, 0 to 1.
            y: share of the height, 0 to 1.

        Raises:
            InputError: the place is outside.
        """
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise InputError(f"Expected a place from 0 to 1 of the photo's sides, got ({x}, {y}).")
        height, width = self.pieces.shape
        found = [int(self.pieces[min(int(y * height), height - 1), min(int(x * width), width - 1)])]
        while (parent := int(self.parents[found[-1]])) != found[-1]:
            found.append(parent)
        return found

    def mask(self, region: int) -> Tensor:
        """The pixels of a region, (h, w) bool.

        Raises:
            InputError: there is no such region.
        """
        if not 0 <= region < 2 * self.count - 1:
            raise InputError(f"There are regions 0 to {2 * self.count - 2}, got {region}.")
        inside = np.zeros(2 * self.count - 1, dtype=bool)
        inside[region] = True
        for number in reversed(range(region)):
            inside[number] |= inside[self.parents[number]] and self.parents[number] <= region
        return torch.from_numpy(inside[self.pieces.numpy()])


def regions(rgb: Tensor, side: int = MAX_SIDE) -> Regions:
    """Segment a photo at all levels.

    Small pieces that follow edges (Felzenszwalb and Huttenlocher, 2004) are merged two by two, those of least
    difference first: the distance of the mean colours and of the pixels along the border, weighted as in Ward's method.

    Args:
        rgb: (3, H, W) in [0, 1].
        side: a larger photo is segmented with this as its longer side.

    Raises:
        InputError: `rgb` is not a floating-point photo, or the side is not a whole number from 1.
    """
    check_rgb(rgb)
    scale = min(1.0, whole_number("the side of regions", side) / max(rgb.shape[1:]))
    size = [max(1, round(scale * side)) for side in rgb.shape[1:]]
    small = F.interpolate(rgb[None].float(), size, mode="area")[0]
    lab = gaussian(rgb2lab(small.permute(1, 2, 0).numpy()), 0.7, channel_axis=2).astype(np.float32)
    found = segmentation.felzenszwalb(small.permute(1, 2, 0).numpy(), SCALE, 0.5, LEAST)
    pieces = label(found, background=-1, connectivity=1) - 1
    return Regions(torch.from_numpy(pieces.astype(np.int64)), torch.from_numpy(_merge(pieces, lab)))


def _merge(pieces: NDArray[np.int64], lab: NDArray[np.float32]) -> NDArray[np.int64]:
    """Pairs of regions in the order of their merges, (S - 1, 2)."""
    count, flat = int(pieces.max()) + 1, lab.reshape(-1, 3)
    areas = np.bincount(pieces.ravel()).astype(float).tolist()
    sums = [np.bincount(pieces.ravel(), channel, minlength=count) for channel in flat.T]
    totals = list(np.stack(sums, axis=1))
    borders = _borders(pieces, lab)
    alive, merges = [True] * count, list[tuple[int, int]]()
    queue: list[tuple[float, int, int]] = []

    def offer(one: int, other: int) -> None:
        apart, length = borders[one][other]
        colors = float(np.linalg.norm(totals[one] / areas[one] - totals[other] / areas[other]))
        weight = (areas[one] * areas[other] / (areas[one] + areas[other])) ** 0.5
        heapq.heappush(queue, (weight * (colors + apart / length), one, other))

    for one in range(count):
        for other in borders[one]:
            if one < other:
                offer(one, other)
    while queue:
        _, one, other = heapq.heappop(queue)
        if not (alive[one] and alive[other]):
            continue
        new = len(alive)
        merges.append((one, other))
        alive[one] = alive[other] = False
        alive.append(True)
        areas.append(areas[one] + areas[other])
        totals.append(totals[one] + totals[other])
        own: dict[int, tuple[float, float]] = {}
        for part in (one, other):
            for place, (apart, length) in borders[part].items():
                if place not in (one, other):
                    before = own.get(place, (0.0, 0.0))
                    own[place] = (before[0] + apart, before[1] + length)
                    borders[place].pop(part)
        borders.append(own)
        for place, border in own.items():
            borders[place][new] = border
            offer(place, new)
    return np.array(merges, dtype=np.int64).reshape(-1, 2)


def _borders(pieces: NDArray[np.int64], lab: NDArray[np.float32]) -> list[dict[int, tuple[float, float]]]:
    """For each region and each that touches it: the sum of the colours' distances across the border, and its length."""
    found: list[dict[int, tuple[float, float]]] = [{} for _ in range(int(pieces.max()) + 1)]
    for here, there in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        apart = np.linalg.norm(lab[here] - lab[there], axis=2)
        across = pieces[here] != pieces[there]
        pairs = zip(pieces[here][across].tolist(), pieces[there][across].tolist(), apart[across].tolist(), strict=True)
        for one, other, distance in pairs:
            for first, second in ((one, other), (other, one)):
                total, length = found[first].get(second, (0.0, 0.0))
                found[first][second] = (total + distance, length + 1)
    return found
