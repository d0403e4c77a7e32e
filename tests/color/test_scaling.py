"""Reduced pictures and back."""

import numpy as np
import pytest

from dequant.color.scaling import block_extremes, block_means, enlarged


def test_means_of_squares_that_do_not_divide_the_sides() -> None:
    image = np.arange(15).reshape(3, 5)
    assert block_means(image, 2).tolist() == [[3, 5, 6.5], [10.5, 12.5, 14]]
    assert block_extremes(image, 2, np.maximum).tolist() == [[6, 8, 9], [11, 13, 14]]
    assert block_extremes(image > 6, 2, np.minimum).tolist() == [[False, False, False], [True, True, True]]
    assert np.array_equal(block_means(image, 1), image)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_ramps_come_back(factor: int) -> None:
    rows, columns = np.mgrid[:24, :36].astype(np.float32)
    image = np.stack((rows, columns), axis=-1)
    large = enlarged(block_means(image, factor), factor, image.shape)
    assert large.shape == image.shape
    assert np.abs(large - image)[factor:-factor, factor:-factor].max() < 1e-4


def test_stripes_are_parts_of_the_whole() -> None:
    image = np.random.default_rng(0).random((7, 9)).astype(np.float32)
    whole = enlarged(image, 3, (20, 26))
    parts = [enlarged(image, 3, (20, 26), slice(top, min(top + 7, 20))) for top in range(0, 20, 7)]
    assert whole.shape == (20, 26)
    assert np.abs(np.concatenate(parts) - whole).max() < 1e-6
