"""Pins: this pixel, or this colour, shall have that colour.

After LoCoPalettes (Du et al., "LoCoPalettes: Local control for palette-based image editing", Computer Graphics Forum,
2023): what is clicked becomes as asked, everything unlike it stays, and where two clicks contradict each other, the
later one holds around its pixel only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isqrt
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dequant.color.shifts import Shifts, contradicts
from dequant.color.spaces import ciede2000, rgb_to_lab
from dequant.edit.painting import STRIPE, as_levels, as_rgb
from dequant.edit.regions import Point, asked_color, check_point, enlarged, in_copy, segments
from dequant.errors import InputError
from dequant.io.colors import to_hex

Asked = tuple[tuple[int, int], Tensor]
Pair = tuple[Tensor, Tensor]

SAME = 1.0
"""CIEDE2000 up to which two colours are the same."""


ALIKE = 0.8
"""Weight from which a pixel counts as one of a colour to swap."""


FADE, NEAR = 0.01, 4
"""Over which a pin that holds around its pixel fades towards its mask: a share of width and height, pixels at least."""


@dataclass(frozen=True)
class Pins:
    """Colours of a picture and what they become.

    Attributes:
        shifts: what holds everywhere, None for nothing.
        local: for each pin that contradicts an earlier one, its number, what holds around it, and how much there,
            (H, W) in [0, 1].
        asked: pixel (x, y) and colour (3,) of each pin.
        notes: for the report.
    """

    shifts: Shifts | None
    local: list[tuple[int, Shifts, NDArray[np.float32]]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def apply(self, levels: NDArray[Any]) -> NDArray[Any]:
        """Move the colours of a picture (H, W, 3) of 8 or 16 bits, in stripes."""
        result, rows = levels.copy(), max(1, STRIPE // levels.shape[1])
        for top in range(0, len(levels), rows):
            part = slice(top, top + rows)
            photo = as_rgb(levels[part])
            rgb = photo if self.shifts is None else self.shifts.apply(photo)
            for _, shifts, mask in self.local:
                share = torch.from_numpy(mask[part])
                if share.any():
                    rgb = torch.lerp(rgb, shifts.apply(photo), share)
            moved = (rgb != photo).any(0)[..., None].numpy()
            result[part] = np.where(moved, as_levels(rgb, levels.dtype), levels[part])
        return result

    def weight(self, rgb: Tensor, rows: slice, columns: slice) -> Tensor:
        """How much each pixel of a window (3, h, w) is one that is to move, (h, w) in [0, 1].

        A wide spread moves others, too; they count as unlike all the same.
        """
        every = torch.zeros(rgb.shape[1:])
        lab = rgb_to_lab(rgb).flatten(1)
        if self.shifts is not None:
            every = _usual(self.shifts).weights(lab).amax(0).view(rgb.shape[1:])
        for _, shifts, mask in self.local:
            near = _usual(shifts).weights(lab).amax(0).view(rgb.shape[1:])
            every = torch.maximum(every, near * torch.from_numpy(mask[rows, columns]))
        return every


def pinned(
    levels: NDArray[Any],
    copy: Tensor,
    pins: Sequence[tuple[Point, Any]],
    swaps: Mapping[str, Any],
    spread: float,
) -> Pins:
    """Sort pins into those that hold everywhere and those that hold around their pixel.

    Args:
        levels: the picture whose colours move, (H, W, 3) of 8 or 16 bits.
        copy: the small copy of the photo that segments are found in, (3, h, w).
        pins: ((x, y), colour) pairs.
        swaps: colours of the picture, and what they shall become.
        spread: how far similar colours follow, 0 for none.

    Raises:
        InputError: a point is not on the photo, a colour is none, or two contradict each other at one place.
    """
    size, moves = levels.shape[:2], _swapped(swaps)
    asked = _asked(pins, size)
    befores = [as_rgb(levels[y : y + 1, x : x + 1])[:, 0, 0] for (x, y), _ in asked]
    pairs = [(before, color) for before, (_, color) in zip(befores, asked, strict=True)]
    shared = _shared(pairs, moves, spread, levels.dtype)
    moves += [pairs[one] for one in shared]
    rivals = [one for one in range(len(asked)) if one not in shared]
    masks = _around(rivals, asked, size, copy)
    local = [
        (one, _models(_beside(pairs[one], moves, spread, levels.dtype), spread), mask)
        for one, mask in zip(rivals, masks, strict=True)
    ]
    notes = [
        f"pin {number + 1} contradicts an earlier one of a similar colour: it holds around its pixel, in "
        f"{mask.mean():.1%} of the picture"
        for number, _, mask in local
    ]
    notes += _absent(swaps, levels, copy)
    return Pins(_models(moves, spread) if moves else None, local, asked, notes)


def told_pins(size: tuple[int, ...], pins: Sequence[tuple[Point, Any]], swaps: Mapping[str, Any]) -> dict[str, Any]:
    """Pins and swaps as a recipe has them, left out where there are none."""
    found: dict[str, Any] = {}
    if pins:
        read = [_read(pin, (size[0], size[1])) for pin in pins]
        found["pins"] = [{"at": list(at), "color": to_hex(color)} for at, color in read]
    if swaps:
        pairs = [(asked_color(old), asked_color(new)) for old, new in swaps.items()]
        found["swaps"] = [{"from": to_hex(old), "to": to_hex(new)} for old, new in pairs]
    return found


def _swapped(swaps: Mapping[str, Any]) -> list[Pair]:
    """Colours and what they become.

    Raises:
        InputError: a colour is none, or two are alike and are to become different ones.
    """
    moves: list[Pair] = []
    for old, new in swaps.items():
        before, after = asked_color(old), asked_color(new)
        if not all(_agree(before, after, *pair) for pair in moves if contradicts(before, pair[0])):
            raise InputError("Two colours to swap are too much alike to become different ones: swap one of them.")
        moves.append((before, after))
    return moves


def _asked(pins: Sequence[tuple[Point, Any]], size: tuple[int, int]) -> list[Asked]:
    """The pixel and the colour of each pin.

    Raises:
        InputError: one is wrong, or two share a pixel.
    """
    asked: list[Asked] = []
    for pin in pins:
        at, color = _read(pin, size)
        if at in [place for place, _ in asked]:
            raise InputError(f"Two pins share the pixel {at[0]},{at[1]}: give one colour for each pixel.")
        asked.append((at, color))
    return asked


def _read(pin: tuple[Point, Any], size: tuple[int, int]) -> tuple[tuple[int, int], Tensor]:
    try:
        point, color = pin
    except (TypeError, ValueError):
        raise InputError(f"{pin!r} is not a pin: give ((x, y), colour).") from None
    return check_point(point, size), asked_color(color)


def _shared(pairs: Sequence[Pair], moves: Sequence[Pair], spread: float, dtype: Any) -> list[int]:
    """Which pins, colours and what they become, hold everywhere, beside each other and some moves: each is met."""
    found: list[int] = []
    for number, (before, color) in enumerate(pairs):
        known = [*moves, *(pairs[one] for one in found)]
        if all(_agree(before, color, *pair) for pair in known if contradicts(before, pair[0])):
            found.append(number)
    while True:
        known = [*moves, *(pairs[one] for one in found)]
        missed = [one for one in found if not _met(pairs[one], known, spread, dtype)]
        if not missed:
            return found
        found.remove(missed[-1])


def _around(rivals: list[int], asked: list[Asked], size: tuple[int, int], copy: Tensor) -> list[NDArray[np.float32]]:
    """Where each of some pins holds: the segment of its pixel, as far as no other pin there is nearer."""
    if not rivals:
        return []
    labels = torch.from_numpy(segments(copy))
    rows, columns = torch.meshgrid(*map(torch.arange, labels.shape), indexing="ij")
    places = [in_copy(at, size, copy) for at, _ in asked]
    away = [(rows - row).square() + (columns - column).square() for row, column in places]
    found = []
    for number in rivals:
        inside = labels == labels[places[number]]
        for other, place in enumerate(places):
            if other != number and inside[place]:
                inside = inside & (away[number] < away[other])
        mask = enlarged(inside, size, copy)
        _hold(mask, asked[number][0], [at for at, _ in [*asked[:number], *asked[number + 1 :]]])
        found.append(mask)
    return found


def _hold(mask: NDArray[np.float32], own: tuple[int, int], others: list[tuple[int, int]]) -> None:
    """Make a soft mask (H, W) 1 at its own pixel (x, y) and 0 at others, in place; around them it fades."""
    farthest = max(NEAR, round(FADE * sum(mask.shape))) ** 2
    apart = [min(farthest, (own[0] - x) ** 2 + (own[1] - y) ** 2) for x, y in others]
    for at, square in zip(others, apart, strict=True):
        _fade(mask, at, square, 0.0)
    _fade(mask, own, min([farthest, *apart]), 1.0)


def _fade(mask: NDArray[np.float32], at: tuple[int, int], square: int, value: float) -> None:
    """Give a mask a value at a pixel (x, y), less of it farther away, and none from the root of `square` on."""
    x, y, radius = *at, isqrt(square)
    part = slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1)
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    away = (rows[part[0]] - y) ** 2 + (columns[:, part[1]] - x) ** 2
    share = np.clip(1 - away / square, 0, 1) ** 2
    mask[part] = mask[part] * (1 - share) + value * share


def _absent(swaps: Mapping[str, Any], levels: NDArray[Any], copy: Tensor) -> list[str]:
    """Notes of colours to swap that no pixel has; the small copy is asked first."""
    missing = {to_hex(color): _models([(color, color)], 1.0) for color in map(asked_color, swaps)}
    rows = max(1, STRIPE // levels.shape[1])
    for top in [None, *range(0, len(levels), rows)]:
        if not missing:
            break
        lab = rgb_to_lab(copy if top is None else as_rgb(levels[top : top + rows])).flatten(1)
        missing = {name: model for name, model in missing.items() if model.weights(lab).max() <= ALIKE}
    return [f"no pixel has the colour {name} or one much like it" for name in missing]


def _usual(shifts: Shifts) -> Shifts:
    return shifts._replace(spread=min(shifts.spread, 1.0))


def _models(pairs: list[Pair], spread: float) -> Shifts:
    return Shifts.of(torch.stack([before for before, _ in pairs]), torch.stack([after for _, after in pairs]), spread)


def _met(pair: Pair, pairs: list[Pair], spread: float, dtype: Any) -> bool:
    """Whether a colour becomes what is asked, up to `SAME`, where all of some pairs hold."""
    found = as_rgb(as_levels(_models(pairs, spread).apply(pair[0][:, None, None]), dtype))
    return bool(ciede2000(rgb_to_lab(found), rgb_to_lab(pair[1][:, None, None])) <= SAME)


def _beside(pair: Pair, moves: list[Pair], spread: float, dtype: Any) -> list[Pair]:
    """What holds around a pin: itself, and what moves everywhere as far as it leaves the pin its colour."""
    pairs = [*(other for other in moves if not contradicts(pair[0], other[0])), pair]
    return pairs if _met(pair, pairs, spread, dtype) else [pair]


def _agree(before: Tensor, color: Tensor, model: Tensor, wanted: Tensor) -> bool:
    """Whether a colour becomes what is asked where its like becomes what that is to become."""
    found = Shifts.of(model[None], wanted[None]).apply(before[:, None, None], torch.ones(1, 1, 1))
    return bool(ciede2000(rgb_to_lab(found), rgb_to_lab(color[:, None, None])) <= SAME)
