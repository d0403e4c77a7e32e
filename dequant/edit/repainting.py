"""A photo's own palette played: other colours for colours, pixels and things of it, in one edit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dequant.edit import recipe as recipes
from dequant.edit import report as reports
from dequant.edit.edited import Edited, Photo, read, recipe_of
from dequant.edit.edits import USUAL, numbered, swapped
from dequant.edit.painting import STRIPE, Settings, Watch, relit, small_copy
from dequant.edit.pinning import Pins, pinned, told_pins
from dequant.edit.recoloring import recolored
from dequant.edit.regions import Point, Region, asked_color, described, share
from dequant.edit.report import Report, Wanted, Which
from dequant.edit.sources import Source, of_palette, painted, pipeline
from dequant.errors import InputError
from dequant.io.colors import to_hex
from dequant.io.originals import Original

if TYPE_CHECKING:
    from dequant.pipelines.dequant import DequantPipeline

WAYS = ("change", "anew", "move")
"""How colours of the palette change. "change": the network paints the photo in its own palette and in the changed one,
and the photo takes the difference, so that all else stays. "anew": the photo becomes what the network paints in the
changed palette, as in the paper. "move": no network; the colours and their likes move, and all else stays."""


class Played(NamedTuple):
    """A photo whose colours have changed.

    Attributes:
        levels: (H, W, 3), of the photo's type.
        moves: of its pins, and of its swaps where no network has painted.
        wanted: the colours asked for.
        which: which pixels were to have which of them.
        n_palette: how many of them are a palette.
        result: for the recipe.
    """

    levels: NDArray[Any]
    moves: Pins
    wanted: list[Wanted]
    which: Which
    n_palette: int
    result: dict[str, Any]


def repaint(
    photo: Photo,
    n_colors: int | None = None,
    *,
    swaps: Mapping[str, Any] | None = None,
    pins: Sequence[tuple[Point, Any]] = (),
    regions: Sequence[Region] = (),
    way: str = "change",
    settings: Settings = USUAL,
    pipe: "DequantPipeline | None" = None,
    watch: Watch | None = None,
) -> Edited:
    """Give colours of a photo's palette, pixels and regions other colours, in this order.

    Args:
        photo: the photo.
        n_colors: of its palette, 1 to 256; None for 16, or those of an indexed image.
        swaps: colours of the palette, each taken for the nearest of it, and what they shall become; all others stay.
        pins: ((x, y), colour) pairs: this pixel shall have this colour.
        regions: what shall have which colour with the texture that it has; a later one lies on top.
        way: one of `WAYS`, in which swapped colours change. Pins and regions alone leave all else as it is.
        settings: how it is painted; a luminance that is free is so only where the network paints.
        pipe: in place of `dequant.load(settings.weights)`.
        watch: sees each step of the network.

    Raises:
        InputError: an argument is wrong, or nothing is asked for.
    """
    swaps = swaps or {}
    _check_way(way, settings)
    if not (swaps or pins or regions):
        raise InputError("Nothing is asked for: change a colour of the palette, a pixel or a region.")
    original = read(photo)
    source, size = Source.of(original, n_colors, settings), original.levels.shape[:2]
    copy = source.copy if source.textured else small_copy(original.levels)
    masks = [share(region, size, copy) for region in regions]
    colors = [asked_color(region.color) for region in regions]
    told: dict[str, Any] = {"n_colors": n_colors, "way": way} | told_pins(size, pins, swaps)
    if regions:
        told["regions"] = [described(*pair) for pair in zip(regions, masks, strict=True)]
    pipe = (pipe or pipeline(settings.weights)) if swaps and way != "move" else None
    if pipe is None:
        played = _moved(source, swaps, pins, settings)
    else:
        played = _painted(source, swaps, pins, way, _Painter(settings, pipe, watch))
    levels = recolored(played.levels, small_copy(played.levels), masks, colors) if regions else played.levels
    if settings.luminance == "keep":
        levels = relit(levels, original.levels)
    recipe = recipe_of(original, ("repaint", told), settings, pipe, played.result)
    return Edited(levels, original, _measured(original, levels, played, masks, colors), recipe)


def prepare(
    photo: Photo, n_colors: int | None = None, *, settings: Settings = USUAL, pipe: "DequantPipeline | None" = None
) -> None:
    """Paint a photo in its own palette ahead of time; the next `repaint` of it, in the way "change", needs that.

    Args:
        photo: the photo.
        n_colors: as in `repaint`.
        settings: likewise.
        pipe: likewise.

    Raises:
        InputError: an argument is wrong.
    """
    _own(_Unchanged.of(Source.of(read(photo), n_colors, settings), settings, pipe or pipeline(settings.weights)))


def _check_way(way: str, settings: Settings) -> None:
    if way not in WAYS:
        raise InputError(f"There is no way {way!r}: choose {', '.join(WAYS)}.")
    if way != "anew" and settings.keep_palette != "off":
        raise InputError(f"A palette is kept where the photo is painted anew: give way='anew', got {way!r}.")


def _measured(
    original: Original, levels: NDArray[Any], played: Played, masks: Sequence[NDArray[Any]], colors: Sequence[Tensor]
) -> Report:
    """What became of the colours, then of the regions with their masks and colours, then of the pins."""

    def which(rgb: Tensor, rows: slice, columns: slice) -> Tensor:
        inside = numbered(masks, rgb, rows, columns)
        inside = torch.where(inside < 0, inside, inside + len(played.wanted))
        return torch.where(inside == -1, played.which(rgb, rows, columns), inside)

    wanted = [*played.wanted, *(Wanted(f"region {i}", None, color) for i, color in enumerate(colors, start=1))]
    notes = [*original.notes, *played.moves.notes]
    report = reports.measure(original.levels, levels, wanted, which, played.n_palette, notes)
    return reports.with_pins(report, levels, played.moves.asked)


@dataclass(frozen=True)
class _Painter:
    """How a network paints, and who sees it."""

    settings: Settings
    pipe: "DequantPipeline"
    watch: Watch | None


@dataclass(frozen=True)
class _Unchanged:
    """A photo in its own palette, as a network paints it: known by the sha256 of its pixels and how it is painted."""

    digest: str
    palette: bytes
    settings: Settings
    pipe: "DequantPipeline"
    source: Source = field(compare=False)

    @classmethod
    def of(cls, source: Source, settings: Settings, pipe: "DequantPipeline") -> Self:
        digest = recipes.digest(source.original.levels, source.original.alpha)
        return cls(digest, source.quantized.palette.numpy().tobytes(), settings, pipe, source)


@lru_cache(2)
def _own(photo: _Unchanged) -> NDArray[Any]:
    """What the network paints, once for all edits of the last photos."""
    return painted(photo.source, photo.source.quantized.palette, True, photo.settings, photo.pipe)


def _painted(
    source: Source, swaps: Mapping[str, Any], pins: Sequence[tuple[Point, Any]], way: str, painter: _Painter
) -> Played:
    """Drawn by the network in the changed palette; then pixels are moved."""
    before = source.quantized.palette
    target, notes = before.clone(), list[str]()
    for number, color in _of_swaps(before, swaps):
        if not any(torch.equal(target[number], one) for one in (before[number], color)):
            notes.append(f"several colours to swap are {to_hex(before[number])} in the palette: the last one holds")
        target[number] = color
    draw = _changed if way == "change" else _anew
    levels = draw(source, target, painter)
    moves = pinned(levels, source.copy, pins, {}, painter.settings.spread)
    pairs = list(zip(before, target, strict=True))
    wanted = [Wanted(f"colour {i}", old, new) for i, (old, new) in enumerate(pairs, start=1)]
    mapping = [{"from": to_hex(old), "to": to_hex(new)} for old, new in pairs]
    moves = replace(moves, notes=[*notes, *moves.notes])
    which, n_palette = partial(_nearest, before, torch.arange(len(before))), len(wanted)
    if way == "change":  # all other colours were to stay
        different = (before != target).any(1)
        numbers = torch.where(different, different.cumsum(0) - 1, -1)
        wanted = [one for one, is_new in zip(wanted, different.tolist(), strict=True) if is_new]
        which, n_palette = partial(_nearest, before, numbers), 0
    return Played(moves.apply(levels), moves, wanted, which, n_palette, {"mapping": mapping})


def _anew(source: Source, target: Tensor, painter: _Painter) -> NDArray[Any]:
    return painted(source, target, True, painter.settings, painter.pipe, painter.watch)


def _changed(source: Source, target: Tensor, painter: _Painter) -> NDArray[Any]:
    """The photo with what differs between the network's pictures of it in two palettes, (H, W, 3)."""
    photo = source.original.levels
    own = _own(_Unchanged.of(source, painter.settings, painter.pipe))
    small = small_copy(own, native=source.copy.shape[1:] == own.shape[:2])

    def watch(step: int, of: int, rgb: Tensor) -> None:
        if painter.watch is not None:
            painter.watch(step, of, (source.copy + rgb - small).clamp(0, 1))

    after = painted(source, target, True, painter.settings, painter.pipe, watch)
    result, most, rows = np.empty_like(photo), np.iinfo(photo.dtype).max, max(1, STRIPE // photo.shape[1])
    for top in range(0, len(photo), rows):
        part = slice(top, top + rows)
        result[part] = (photo[part].astype(np.int32) + after[part] - own[part]).clip(0, most)
    return result


def _of_swaps(palette: Tensor, swaps: Mapping[str, Any]) -> list[tuple[int, Tensor]]:
    """The number in a palette (K, 3) of each colour to swap, and what it shall become."""
    pairs = [(asked_color(old), asked_color(new)) for old, new in swaps.items()]
    return [(int(of_palette(palette, old[:, None])), new) for old, new in pairs]


def _moved(source: Source, swaps: Mapping[str, Any], pins: Sequence[tuple[Point, Any]], settings: Settings) -> Played:
    """Colours and pixels moved, and nothing else."""
    levels = source.original.levels
    moves = pinned(levels, source.copy, pins, swaps, settings.spread)
    wanted, which = swapped(swaps, moves)
    return Played(moves.apply(levels), moves, wanted, which, 0, {})


def _nearest(palette: Tensor, numbers: Tensor, rgb: Tensor, rows: slice, columns: slice) -> Tensor:
    """The number (K,) of the colour of a palette (K, 3) that each pixel (3, h, w) is nearest to."""
    return numbers[of_palette(palette, rgb.flatten(1))].view(rgb.shape[1:])
