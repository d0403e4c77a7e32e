"""How the offset between an edited picture and its photo fades out around a mask."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dequant.color.levels import difference

Pixels = NDArray[np.float32]

DETAIL = 2.0
"""Pixels over which what is no drift fades out: lost detail, compression, and what bled out of the mask."""


MEAN, PEAK, PEAK_SHARE = 0.3, 2.0, 0.009
"""What a chosen fading may cost outside the mask: mean CIEDE2000, and the share of pixels beyond a peak."""


HIDDEN = 1.6
"""CIEDE2000 of an offset that may fade slowly: it stays below the peak."""


NEAR = 8
"""Pixels around the mask where the size of the offset is taken."""


LENGTHS = (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""In pixels, that are tried."""


class Fading(NamedTuple):
    """The weight of the offset at a distance from the mask: a part fades fast, the rest slowly.

    Attributes:
        fast: pixels over which the first part fades out.
        slow: pixels over which the rest does.
        rest: in [0, 1], that of the offset which fades slowly.
        size: CIEDE2000 of the offset at the mask, where it is known.
    """

    fast: float
    slow: float
    rest: float
    size: float = 0.0

    @property
    def slope(self) -> float:
        """CIEDE2000 per pixel that fade where the first part falls most."""
        return (1 - self.rest) * self.size * np.pi / 2 / self.fast

    def offset(self, distance: Pixels) -> Pixels:
        """The weight of drift; 1 for the pixels next to the mask."""
        return (1 - self.rest) * _fall(distance, self.fast) + self.rest * _fall(distance, self.slow)

    def detail(self, distance: Pixels) -> Pixels:
        """The weight of everything else in which the pictures differ."""
        return _fall(distance, min(DETAIL, self.slow))


class Border(NamedTuple):
    """Some pixels around a mask, each standing for `weight` of them.

    Attributes:
        distance: (N,) from the mask, at least 1.
        base: (N, 3) colours far from the mask.
        drift: (N, 3) what is added of drift next to the mask.
        detail: (N, 3) what is added besides.
        weight: the number of pixels per sample.
    """

    distance: Pixels
    base: Pixels
    drift: Pixels
    detail: Pixels
    weight: float


def faded(border: Border, fading: Fading) -> Pixels:
    """Colours (N, 3) with what is left of the offset."""
    drift, detail = fading.offset(border.distance)[:, None], fading.detail(border.distance)[:, None]
    return np.clip(border.base + drift * border.drift + detail * border.detail, 0, 1)


def choose_fading(border: Border, outside: int, longest: float, spent: float = 0) -> Fading:
    """The slowest fading that keeps the photo's colours outside the mask, up to `MEAN` and `PEAK_SHARE`.

    Args:
        border: pixels up to `longest` from the mask.
        outside: the number of all pixels outside the mask.
        longest: of the lengths in pixels.
        spent: the share of pixels that are beyond the peak for other reasons.
    """
    lengths = [float(one) for one in LENGTHS if one <= longest] or [1.0]
    if not len(border.distance):
        return Fading(1, 1, 1)
    offset = difference(np.clip(border.base + border.drift, 0, 1), border.base)
    near = border.distance < NEAR
    size = float(np.quantile(offset[near], 0.95)) if near.any() else 0.0
    rest = min(1.0, HIDDEN / max(size, HIDDEN))
    share = border.weight / outside

    def cheap(length: float) -> bool:
        return float((rest * offset * _fall(border.distance, length)).sum()) * share <= MEAN / 2

    slow = _longest(lengths, cheap)
    if rest == 1:
        return Fading(slow, slow, 1, size)

    def fits(length: float) -> bool:
        cost = difference(faded(border, Fading(length, slow, rest)), border.base)
        beyond = float((cost > PEAK).sum()) * share + spent
        return float(cost.sum()) * share <= MEAN and beyond <= PEAK_SHARE

    return Fading(_longest([one for one in lengths if one <= slow], fits), slow, rest, size)


def _longest(lengths: list[float], fits: Callable[[float], bool]) -> float:
    return next((one for one in reversed(lengths) if fits(one)), lengths[0])


def _fall(distance: Pixels, length: float) -> Pixels:
    """From 1 at a distance of 1 smoothly to 0 at `length` more."""
    return (0.5 + 0.5 * np.cos(np.pi * np.clip((distance - 1) / length, 0, 1))).astype(np.float32)
