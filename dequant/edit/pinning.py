"""Pins: this pixel, or this colour, shall have that colour.

After LoCoPalettes (Du et al., "LoCoPalettes: Local control for palette-based image editing", Computer Graphics Forum,
2023): what is clicked becomes as asked, everything unlike it stays, and where two clicks contradict each other, the
later one holds around its pixel only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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

SAME = 1.0
"""CIEDE2000 up to which two colours are the same."""


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
        """How far each pixel of a window (3, h, w) moves, (h, w) in [0, 1]."""
        every = torch.zeros(rgb.shape[1:])
        lab = rgb_to_lab(rgb).flatten(1)
        if self.shifts is not None:
            every = self.shifts.weights(lab).amax(0).view(rgb.shape[1:])
        for _, shifts, mask in self.local:
            near = shifts.weights(lab).amax(0).view(rgb.shape[1:])
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
    asked: list[Asked] = []
    rivals = []
    for pin in pins:
        at, color = _read(pin, size)
        if at in [place for place, _ in asked]:
            raise InputError(f"Two pins share the pixel {at[0]},{at[1]}: give one colour for each pixel.")
        before = as_rgb(levels[at[1] : at[1] + 1, at[0] : at[0] + 1])[:, 0, 0]
        asked.append((at, color))
        alike = [pair for pair in moves if contradicts(before, pair[0])]
        if alike and not all(_agree(before, color, *pair) for pair in alike):
            rivals.append((len(asked) - 1, before, [pair for pair in moves if not contradicts(before, pair[0])]))
        else:
            moves.append((before, color))
    local = [
        (number, Shifts.of(*_columns([*others, (before, asked[number][1])]), spread), mask)
        for (number, before, others), mask in zip(rivals, _around(rivals, asked, size, copy), strict=True)
    ]
    notes = [
        f"pin {number + 1} contradicts an earlier one of a similar colour: it holds around its pixel, in "
        f"{mask.mean():.1%} of the picture"
        for number, _, mask in local
    ]
    return Pins(Shifts.of(*_columns(moves), spread) if moves else None, local, asked, notes)


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


def _swapped(swaps: Mapping[str, Any]) -> list[tuple[Tensor, Tensor]]:
    """Colours and what they become.

    Raises:
        InputError: a colour is none, or two are alike and are to become different ones.
    """
    moves: list[tuple[Tensor, Tensor]] = []
    for old, new in swaps.items():
        before, after = asked_color(old), asked_color(new)
        if not all(_agree(before, after, *pair) for pair in moves if contradicts(before, pair[0])):
            raise InputError("Two colours to swap are too much alike to become different ones: swap one of them.")
        moves.append((before, after))
    return moves


def _read(pin: tuple[Point, Any], size: tuple[int, int]) -> tuple[tuple[int, int], Tensor]:
    try:
        point, color = pin
    except (TypeError, ValueError):
        raise InputError(f"{pin!r} is not a pin: give ((x, y), colour).") from None
    return check_point(point, size), asked_color(color)


def _around(
    rivals: list[tuple[int, Tensor, Any]],
    asked: list[Asked],
    size: tuple[int, int],
    copy: Tensor,
) -> list[NDArray[np.float32]]:
    """Where each of some pins holds: the segment of its pixel, as far as no other pin there is nearer."""
    if not rivals:
        return []
    labels = torch.from_numpy(segments(copy))
    rows, columns = torch.meshgrid(*map(torch.arange, labels.shape), indexing="ij")
    places = [in_copy(at, size, copy) for at, _ in asked]
    away = [(rows - row).square() + (columns - column).square() for row, column in places]
    found = []
    for number, *_ in rivals:
        inside = labels == labels[places[number]]
        for other, place in enumerate(places):
            if other != number and inside[place]:
                inside = inside & (away[number] < away[other])
        found.append(enlarged(inside, size, copy))
    return found


def _columns(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    return torch.stack([before for before, _ in pairs]), torch.stack([after for _, after in pairs])


def _agree(before: Tensor, after: Tensor, model: Tensor, wanted: Tensor) -> bool:
    """Whether a colour becomes what is asked where its like becomes what that is to become."""
    found = Shifts.of(model[None], wanted[None]).apply(before[:, None, None], torch.ones(1, 1, 1))
    return bool(ciede2000(rgb_to_lab(found), rgb_to_lab(after[:, None, None])) <= SAME)
