import pytest
import torch

from dequant.diffusion.tiles import OVERLAP, Tile, blend, tiles
from dequant.errors import InputError

SHAPES = [(64, 64, 32, 8), (64, 200, 48, 16), (112, 40, 63, 8), (96, 96, 96, 16), (48, 32, 500, 16)]


@pytest.mark.parametrize(("height", "width", "side", "multiple"), SHAPES)
def test_tiles_cover_the_image_and_their_weights_add_up_to_one(
    height: int, width: int, side: int, multiple: int
) -> None:
    total = torch.zeros(height, width)
    pieces = list(tiles(height, width, side, multiple))
    for rows, columns, row_weights, column_weights in pieces:
        for span in (rows, columns):
            assert span.start % multiple == span.stop % multiple == 0
            assert span.stop - span.start <= side
        total[rows, columns] += row_weights[:, None] * column_weights
    torch.testing.assert_close(total, torch.ones(height, width))
    assert (len(pieces) == 1) == (side >= max(height, width))


@pytest.mark.parametrize(("height", "width", "side", "multiple"), SHAPES)
def test_neighbours_overlap_by_the_share_that_is_promised(height: int, width: int, side: int, multiple: int) -> None:
    starts = sorted({(tile.columns.start, tile.columns.stop) for tile in tiles(height, width, side, multiple)})
    for (_, end), (start, _) in zip(starts, starts[1:], strict=False):
        assert end - start >= max(OVERLAP * side - 2 * multiple, multiple)


def test_blending_pieces_of_an_image_gives_it_back() -> None:
    x = torch.rand(2, 3, 20, 25)
    pieces = list(tiles(80, 100, 32, 4))
    out = blend(lambda tile, part: torch.cat((part, -part), 1), x, pieces, downscale=4)
    torch.testing.assert_close(out, torch.cat((x, -x), 1))


def test_a_constant_that_differs_between_tiles_is_spread_over_the_overlap() -> None:
    """What GroupNorm does: each tile is off by another constant. A step of 1 becomes a ramp of the overlap's length."""
    pieces = list(tiles(16, 112, 64, 8))
    assert [tile.columns for tile in pieces] == [slice(0, 64), slice(48, 112)]

    def offset(tile: Tile, part: torch.Tensor) -> torch.Tensor:
        return torch.full_like(part, float(tile.columns.start > 0))

    out = blend(offset, torch.zeros(1, 1, 16, 112), pieces)[0, 0, 0]
    assert out[0] == 0
    assert out[-1] == 1
    assert out.diff().min() >= 0
    assert out.diff().max() < 1.6 / 16


def test_tiles_that_are_too_small_are_refused() -> None:
    with pytest.raises(InputError, match="at least 32"):
        list(tiles(64, 64, 31, 16))
