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


LENGTHS = (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""In pixels, that are tried."""


class Fading(NamedTuple):
    """The weight of the offset at a distance from the mask: a part fades fast, the rest slowly.

    Attributes:
        fast: pixels over which the first part fades out.
        slow: pixels over which the rest does.
        rest: in [0, 1].
    """

    fast: float
    slow: float
    rest: float

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
    size = difference(np.clip(border.base + border.drift, 0, 1), border.base)
    near = border.distance < 8
    rest = min(1.0, HIDDEN / max(float(np.quantile(size[near], 0.95)) if near.any() else 0.0, 1e-6))

    def fits(fading: Fading, mean: float) -> bool:
        cost = difference(faded(border, fading), border.base) * border.weight / outside
        beyond = (difference(faded(border, fading), border.base) > PEAK).sum() * border.weight / outside
        return bool(cost.sum() <= mean and beyond + spent <= PEAK_SHARE)

    slow = _longest(
        lengths,
        lambda one: float((rest * size * _fall(border.distance, one)).sum()) * border.weight <= 0.5 * MEAN * outside,
    )
    if rest == 1:
        return Fading(slow, slow, 1)
    return Fading(_longest(lengths, lambda one: one <= slow and fits(Fading(one, slow, rest), MEAN)), slow, rest)


def _longest(lengths: list[float], fits: Callable[[float], bool]) -> float:
    return next((one for one in reversed(lengths) if fits(one)), lengths[0])


def _fall(distance: Pixels, length: float) -> Pixels:
    """From 1 at a distance of 1 smoothly to 0 at `length` more."""
    return (0.5 + 0.5 * np.cos(np.pi * np.clip((distance - 1) / length, 0, 1))).astype(np.float32)
