"""Photos as levels."""

import numpy as np
import pytest

from dequant.color.levels import check_levels, difference, to_levels, to_rgb
from dequant.errors import InputError


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_levels_come_back(dtype: type) -> None:
    levels = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    assert np.array_equal(to_levels(to_rgb(levels), np.dtype(dtype)), levels)
    assert to_levels(np.array([-1, 0.5, 2]), np.dtype(dtype)).tolist()[::2] == [0, levels[-1]]


def test_the_difference_is_ciede2000() -> None:
    """Black and white are 100 apart, and the shape stays."""
    black, white = np.zeros((2, 3, 3)), np.ones((2, 3, 3))
    assert np.allclose(difference(black, white), np.full((2, 3), 100), atol=1e-3)
    assert difference(black[0, 0], white[0, 0]).shape == ()
    assert difference(black[:0], white[:0]).shape == (0, 3)


@pytest.mark.parametrize(
    "wrong", [[[1]], np.zeros((2, 2, 3)), np.zeros((2, 3), np.uint8), np.zeros((0, 2, 3), np.uint8)]
)
def test_other_arrays_are_refused(wrong: object) -> None:
    with pytest.raises(InputError, match="for the photo"):
        check_levels(wrong, "the photo")  # type: ignore[arg-type]
