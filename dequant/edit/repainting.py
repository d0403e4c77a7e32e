"""A photo's own palette played: other colours for colours, pixels and things of it, in one edit."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from dequant.edit import report as reports
from dequant.edit.edited import Edited, Photo, read, recipe_of
from dequant.edit.edits import USUAL, numbered, swapped
from dequant.edit.painting import Settings, Watch, relit, small_copy
from dequant.edit.pinning import Pins, pinned, told_pins
from dequant.edit.recoloring import recolored
from dequant.edit.regions import Point, Region, described, share
from dequant.edit.report import Wanted, Which
from dequant.edit.sources import Source, of_palette, painted, pipeline
from dequant.errors import InputError
from dequant.io.colors import to_hex
from dequant.pipelines import inputs
from dequant.pipelines.dequant import DequantPipeline


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
    network: bool = True,
    settings: Settings = USUAL,
    pipe: DequantPipeline | None = None,
    watch: Watch | None = None,
) -> Edited:
    """Give colours of a photo's palette, pixels and regions other colours, in this order.

    Args:
        photo: the photo.
        n_colors: of its palette, 1 to 256; None for 16, or those of an indexed image.
        swaps: colours of the palette, and what they shall become; all others stay.
        pins: ((x, y), colour) pairs: this pixel shall have this colour.
        regions: what shall have which colour with the texture that it has; a later one lies on top.
        network: paint the photo anew in the palette. False moves the swapped colours and what is like them, and
            leaves all else as it is; so do pins and regions alone.
        settings: how it is painted.
        pipe: in place of `dequant.load(settings.weights)`.
        watch: sees each step of the network.

    Raises:
        InputError: an argument is wrong, or nothing is asked for.
    """
    swaps = swaps or {}
    if not (swaps or pins or regions):
        raise InputError("Nothing is asked for: change a colour of the palette, a pixel or a region.")
    original = read(photo)
    source, size = Source.of(original, n_colors, settings), original.levels.shape[:2]
    pipe = (pipe or pipeline(settings.weights)) if swaps and network else None
    if pipe is None:
        played = _moved(source, swaps, pins, settings)
    else:
        played = _painted(source, swaps, pins, settings, pipe, watch)
    levels, copy = played.levels, small_copy(original.levels)
    masks = [share(region, size, copy) for region in regions]
    colors = [inputs.color(region.color) for region in regions]
    if regions:
        levels = recolored(levels, small_copy(levels), masks, colors)
    if settings.luminance == "keep":
        levels = relit(levels, original.levels)

    def which(rgb: Tensor, rows: slice, columns: slice) -> Tensor:
        inside = numbered(masks, rgb, rows, columns)
        inside = torch.where(inside < 0, inside, inside + len(played.wanted))
        return torch.where(inside == -1, played.which(rgb, rows, columns), inside)

    wanted = [*played.wanted, *(Wanted(f"region {i}", None, color) for i, color in enumerate(colors, start=1))]
    notes = [*original.notes, *played.moves.notes]
    report = reports.measure(original.levels, levels, wanted, which, played.n_palette, notes)
    told: dict[str, Any] = {"n_colors": n_colors, "network": network} | told_pins(size, pins, swaps)
    if regions:
        told["regions"] = [described(*pair) for pair in zip(regions, masks, strict=True)]
    recipe = recipe_of(original, ("repaint", told), settings, pipe, played.result)
    return Edited(levels, original, reports.with_pins(report, levels, played.moves.asked), recipe)


def _painted(
    source: Source,
    swaps: Mapping[str, Any],
    pins: Sequence[tuple[Point, Any]],
    settings: Settings,
    pipe: DequantPipeline,
    watch: Watch | None,
) -> Played:
    """Drawn anew by the network in the changed palette; then pixels are moved."""
    before = source.quantized.palette
    target = before.clone()
    for old, new in swaps.items():
        target[of_palette(before, inputs.color(old)[:, None])] = inputs.color(new)
    levels = painted(source, target, True, settings, pipe, watch)
    moves = pinned(levels, source.copy, pins, {}, settings.spread)
    pairs = list(zip(before, target, strict=True))
    wanted = [Wanted(f"colour {i}", old, new) for i, (old, new) in enumerate(pairs, start=1)]
    mapping = [{"from": to_hex(old), "to": to_hex(new)} for old, new in pairs]
    which = partial(_nearest, before)
    return Played(moves.apply(levels), moves, wanted, which, len(wanted), {"mapping": mapping})


def _moved(source: Source, swaps: Mapping[str, Any], pins: Sequence[tuple[Point, Any]], settings: Settings) -> Played:
    """Colours and pixels moved, and nothing else."""
    levels = source.original.levels
    moves = pinned(levels, source.copy, pins, swaps, settings.spread)
    wanted, which = swapped(swaps, moves)
    return Played(moves.apply(levels), moves, wanted, which, 0, {})


def _nearest(palette: Tensor, rgb: Tensor, rows: slice, columns: slice) -> Tensor:
    """Which colour of a palette (K, 3) each pixel (3, h, w) is nearest to."""
    return of_palette(palette, rgb.flatten(1)).view(rgb.shape[1:])
