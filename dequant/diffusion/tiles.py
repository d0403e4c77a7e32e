"""Large images piece by piece: overlapping tiles whose results are blended by smooth windows."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from dequant.errors import InputError

OVERLAP = 0.25
"""Share of a tile's side that its neighbour sees too."""


class Tile(NamedTuple):
    """A piece of an image: `rows` and `columns` in pixels, and the smooth weights of both."""

    rows: slice
    columns: slice
    row_weights: Tensor
    column_weights: Tensor


def tiles(height: int, width: int, side: int, multiple: int) -> Iterator[Tile]:
    """Tiles that cover an image, the weights of all of which add up to 1 at each pixel.

    Args:
        height: of the image, a multiple of `multiple`.
        width: likewise.
        side: of a tile, rounded down to a multiple; larger than the image means the image.
        multiple: all tiles start and end at multiples of this.

    Raises:
        InputError: the side is below two multiples.
    """
    if side < 2 * multiple:
        raise InputError(f"Tiles of {side} pixels are too small for this network: give at least {2 * multiple}.")
    down, across = _spans(height, side, multiple), _spans(width, side, multiple)
    for rows, row_weights in down:
        for columns, column_weights in across:
            yield Tile(rows, columns, row_weights, column_weights)


def blend(predict: Callable[[Tile, Tensor], Tensor], x: Tensor, pieces: list[Tile], downscale: int = 1) -> Tensor:
    """Run a function on tiles of `x` and blend what it returns (MultiDiffusion, arXiv:2302.08113, equation 5).

    Args:
        predict: maps a tile and its part of `x` to a result of the same grid, with any number of channels.
        x: (B, C, h, w).
        pieces: from `tiles`.
        downscale: pixels per side of one place of `x`.

    Returns:
        (B, C', h, w), in the precision of `x`.
    """
    blended: Tensor | None = None
    for tile in pieces:
        down, across = (slice(one.start // downscale, one.stop // downscale) for one in (tile.rows, tile.columns))
        part = (..., down, across)
        result = predict(tile, x[part])
        if blended is None:
            blended = x.new_zeros(len(x), result.shape[1], *x.shape[-2:])
        rows, columns = (w[downscale // 2 :: downscale].to(x) for w in (tile.row_weights, tile.column_weights))
        blended[part] += rows[:, None] * columns * result
    assert blended is not None
    return blended


def _spans(length: int, side: int, multiple: int) -> list[tuple[slice, Tensor]]:
    """Evenly spread spans of `side` over a length, with weights (side,) that add up to 1."""
    side = min(side // multiple * multiple, length)
    overlap = max(int(OVERLAP * side) // multiple, 1) * multiple
    count = 1 if side == length else -(-(length - overlap) // (side - overlap))
    starts = [round(i * (length - side) / max(count - 1, 1) / multiple) * multiple for i in range(count)]
    ramp = (torch.arange(overlap) + 0.5) / overlap * (torch.pi / 2)
    windows = torch.zeros(count, length)
    for i, start in enumerate(starts):
        windows[i, start : start + side] = 1
        if i > 0:
            windows[i, start : start + overlap] = ramp.sin() ** 2
        if i + 1 < count:
            windows[i, start + side - overlap : start + side] = ramp.cos() ** 2
    windows /= windows.sum(0)
    return [(slice(at, at + side), window[at : at + side]) for at, window in zip(starts, windows, strict=True)]
