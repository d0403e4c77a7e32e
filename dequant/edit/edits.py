"""What an artist does: dequantize, give another palette, apply a colour map, recolour regions.

Each function takes a photo and says what it shall become; nothing happens that was not asked for. Alpha, ICC profile,
EXIF and 16 bits are kept.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from dequant.color.shifts import Shifts
from dequant.color.spaces import rgb_to_lab
from dequant.edit import report as reports
from dequant.edit.edited import Edited, Photo, read, recipe_of
from dequant.edit.painting import Settings, draw, lay, relit, small_copy
from dequant.edit.pinning import ALIKE, Pins, pinned, told_pins
from dequant.edit.recoloring import patch, recolored
from dequant.edit.regions import Point, Region, asked_color, described, share
from dequant.edit.report import Wanted, Which
from dequant.edit.sources import Source, matched, of_palette, painted, pipeline
from dequant.errors import InputError
from dequant.io.colors import to_hex
from dequant.io.palettes import COLORMAP
from dequant.pipelines import inputs

if TYPE_CHECKING:
    from dequant.pipelines.dequant import DequantPipeline

UNLIKE = 0.1
"""Weight below which nothing was asked of a pixel: it counts as elsewhere, moved or not."""


USUAL = Settings()


class Reference(NamedTuple):
    """A palette (K, 3) in [0, 1] and the pixels (K,) of each colour, as a recipe has them."""

    colors: Tensor
    counts: Tensor


def dequantize(
    photo: Photo,
    n_colors: int | None = None,
    *,
    settings: Settings = USUAL,
    pipe: "DequantPipeline | None" = None,
) -> Edited:
    """Reduce a photo to a palette and restore it, or restore a GIF or an indexed PNG from its own palette.

    Args:
        photo: the photo.
        n_colors: 1 to 256; None takes all colours of an indexed image, and 16 of a photo.
        settings: how it is painted.
        pipe: in place of `dequant.load(settings.weights)`.

    Raises:
        InputError: the photo or an argument is wrong.
    """
    source = Source.of(read(photo), n_colors, settings)
    pipe = pipe or pipeline(settings.weights)
    levels = painted(source, source.quantized.palette, False, settings, pipe)
    return _finished(
        source, levels, source.quantized.palette, Pins(None), ("dequantize", {"n_colors": n_colors}), settings, pipe
    )


def transfer(
    photo: Photo,
    palette: Any = None,
    n_colors: int | None = None,
    *,
    method: str | None = None,
    rank: int = 1,
    blend: float = 1.0,
    pins: Sequence[tuple[Point, Any]] = (),
    swaps: Mapping[str, Any] | None = None,
    settings: Settings = USUAL,
    pipe: "DequantPipeline | None" = None,
) -> Edited:
    """Give a photo another palette, or change colours of its own.

    Args:
        photo: the photo.
        palette: as the pipeline takes it: colours, a photo, a palette file, "colormap:viridis". None keeps the photo's
            own: then only what pins and swaps change is done to it, and everything else stays.
        n_colors: of the photo's palette, 1 to 256; None for 16, or those of an indexed image.
        method: as in `matching.match`; None for rank with a colour map, and color otherwise.
        rank: 1 for the best assignment, 2 for the second best, and so on.
        blend: 0 keeps the photo's colours, 1 takes those of the palette.
        pins: ((x, y), colour) pairs: this pixel shall have this colour.
        swaps: colours of the photo, and what they shall become.
        settings: how it is painted.
        pipe: in place of `dequant.load(settings.weights)`.

    Raises:
        InputError: an argument is wrong, or nothing is asked for.
    """
    if palette is None and not pins and not swaps:
        raise InputError("Nothing is asked for: give a palette, pins or colours to swap.")
    source = Source.of(read(photo), n_colors, settings)
    told = {"n_colors": n_colors} | told_pins(source.original.levels.shape[:2], pins, swaps or {})
    if palette is None:
        moves = pinned(source.original.levels, source.copy, pins, swaps or {}, settings.spread)
        return _moved(source, moves, swaps or {}, ("transfer", told), settings)
    before = source.quantized
    colors, counts = _reference(palette, len(before.palette) if n_colors is None else n_colors)
    method = method or ("rank" if inputs.is_colormap(palette) else "color")
    target = matched(before, colors, counts, method, rank, blend)
    for old, new in (swaps or {}).items():
        target[of_palette(before.palette, asked_color(old)[:, None])] = asked_color(new)
    told |= {"palette": [to_hex(one) for one in colors], "counts": counts.tolist()}
    told |= {"method": method, "rank": rank, "blend": blend}
    pipe = pipe or pipeline(settings.weights)
    levels = painted(source, target, True, settings, pipe)
    moves = pinned(levels, source.copy, pins, {}, settings.spread)
    return _finished(source, moves.apply(levels), target, moves, ("transfer", told), settings, pipe)


def apply_colormap(photo: Photo, name: str, n_colors: int | None = None, **options: Any) -> Edited:
    """Give a photo the colours of a matplotlib colour map, dark ones for dark ones.

    Args:
        photo: the photo.
        name: such as "viridis".
        n_colors: as in `transfer`.
        **options: the other arguments of `transfer`.

    Raises:
        InputError: as `transfer`.
    """
    return transfer(photo, COLORMAP + name, n_colors, **options)


def recolor(
    photo: Photo, regions: Sequence[Region], *, settings: Settings = USUAL, pipe: "DequantPipeline | None" = None
) -> Edited:
    """Give regions of a photo other colours; all other pixels stay as they are, to the bit.

    Args:
        photo: the photo.
        regions: what shall have which colour; a later one lies on top.
        settings: how it is painted.
        pipe: in place of `dequant.load(settings.weights)`.

    Raises:
        InputError: an argument is wrong.
    """
    if not regions:
        raise InputError("There is no region: give one at least.")
    original = read(photo)
    copy, size = small_copy(original.levels), original.levels.shape[:2]
    masks = [share(region, size, copy) for region in regions]
    colors = [asked_color(region.color) for region in regions]
    if settings.luminance == "free":
        pipe = pipe or pipeline(settings.weights)
        layers = [patch(copy, mask, color) for mask, color in zip(masks, colors, strict=True)]
        levels = lay(original.levels, layers, draw(copy, layers, settings, pipe), settings)
    else:
        pipe, levels = None, recolored(original.levels, copy, masks, colors)
        levels = relit(levels, original.levels) if settings.luminance == "keep" else levels

    wanted = [Wanted(f"region {number}", None, color) for number, color in enumerate(colors, start=1)]
    report = reports.measure(original.levels, levels, wanted, partial(numbered, masks), 0, list(original.notes))
    told = {"regions": [described(*pair) for pair in zip(regions, masks, strict=True)]}
    return Edited(levels, original, report, recipe_of(original, ("recolor", told), settings, pipe, {}))


def numbered(masks: Sequence[NDArray[Any]], rgb: Tensor, rows: slice, columns: slice) -> Tensor:
    """Which of some regions each pixel of a window of the photo is in, as `report.Which` says it.

    Args:
        masks: of the regions, (H, W) in [0, 1].
        rgb: (3, h, w), the window.
        rows: of the window.
        columns: likewise.
    """
    found = torch.full(rgb.shape[1:], -1)
    for number, mask in enumerate(masks):
        part = torch.from_numpy(mask[rows, columns])
        found[part > 0] = -2  # a soft border is neither inside nor outside
        found[part > 0.99] = number
    return found


def _reference(palette: Any, n_colors: int) -> Reference:
    """The colours of a palette, and how many pixels each has."""
    if isinstance(palette, Reference):
        return palette
    colors, counts = inputs.palette(palette, n_colors)
    return Reference((colors * 255).round() / 255, counts)


def _finished(
    source: Source,
    levels: NDArray[Any],
    target: Tensor,
    moves: Pins,
    told: tuple[str, dict[str, Any]],
    settings: Settings,
    pipe: "DequantPipeline | None",
) -> Edited:
    """A picture in another palette with its report and its recipe."""
    before = source.quantized.palette
    pairs = list(zip(before, target, strict=True))
    wanted = [Wanted(f"colour {i}", old, new) for i, (old, new) in enumerate(pairs, start=1)]

    def which(rgb: Tensor, rows: slice, columns: slice) -> Tensor:
        return of_palette(before, rgb.flatten(1)).view(rgb.shape[1:])

    notes = [*source.original.notes, *moves.notes]
    report = reports.measure(source.original.levels, levels, wanted, which, len(wanted), notes)
    mapping = [{"from": to_hex(old), "to": to_hex(new)} for old, new in pairs]
    recipe = recipe_of(source.original, told, settings, pipe, {"mapping": mapping})
    return Edited(levels, source.original, reports.with_pins(report, levels, moves.asked), recipe)


def _moved(
    source: Source, moves: Pins, swaps: Mapping[str, Any], told: tuple[str, dict[str, Any]], settings: Settings
) -> Edited:
    """A photo some of whose colours have moved; no network has a part in it."""
    photo = source.original.levels
    levels = moves.apply(photo)
    if settings.luminance == "keep":
        levels = relit(levels, photo)
    wanted, which = swapped(swaps, moves)
    report = reports.measure(photo, levels, wanted, which, 0, [*source.original.notes, *moves.notes])
    report = reports.with_pins(report, levels, moves.asked)
    return Edited(levels, source.original, report, recipe_of(source.original, told, settings, None, {}))


def swapped(swaps: Mapping[str, Any], moves: Pins) -> tuple[list[Wanted], Which]:
    """What a report says of colours that have moved: those wanted, and which pixels were to have which.

    Args:
        swaps: colours of the photo, and what they have become.
        moves: how.
    """
    pairs = [(asked_color(old), asked_color(new)) for old, new in swaps.items()]
    wanted = [Wanted(f"swap {i}", *pair) for i, pair in enumerate(pairs, start=1)]
    models = Shifts.of(torch.stack([a for a, _ in pairs]), torch.stack([b for _, b in pairs])) if pairs else None

    def which(rgb: Tensor, rows: slice, columns: slice) -> Tensor:
        found = torch.where(moves.weight(rgb, rows, columns) < UNLIKE, -1, -2)
        if models is not None:
            near, number = models.weights(rgb_to_lab(rgb).flatten(1)).max(0)
            found = torch.where((near > ALIKE).view(found.shape), number.view(found.shape), found)
        return found

    return wanted, which
