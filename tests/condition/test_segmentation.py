"""The compiled segmentations have the segments of scikit-image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image
from skimage import segmentation as skimage_segmentation
from skimage.color import rgb2lab

from dequant.condition.segmentation import felzenszwalb, quick_shift
from tests.support.paths import GOLDEN

PHOTOS = ("caps", "plane", "womanhat")


def photo(name: str, width: int, height: int) -> NDArray[np.float32]:
    image = Image.open(GOLDEN / f"{name}.png").convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32) / 255


def misplaced(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Share of the pixels that are outside the segment that most of their segment of `one` is in in `other`."""
    pairs, counts = np.unique(np.stack((one.ravel(), other.ravel())), axis=1, return_counts=True)
    return 1 - sum(counts[pairs[0] == label].max() for label in np.unique(one)) / one.size


def number(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Labels in the order in which they occur."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].reshape(labels.shape)


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize(("scale", "sigma", "min_size"), [(50, 0.5, 20), (400, 0.5, 20), (100, 0.8, 50), (100, 0.0, 1)])
def test_felzenszwalb_of_photos(name: str, scale: float, sigma: float, min_size: int) -> None:
    image = photo(name, 80, 64)
    wanted = skimage_segmentation.felzenszwalb(image, scale, sigma, min_size)
    assert np.array_equal(number(felzenszwalb(image, scale, sigma, min_size)), number(wanted))


@settings(max_examples=100, deadline=None)
@given(arrays(np.float64, st.tuples(st.integers(2, 9), st.integers(2, 9), st.just(3)), elements=st.floats(0, 1)))
def test_felzenszwalb_of_any_image(image: NDArray[np.float64]) -> None:
    image = 0.9 * image + 0.1 * np.random.default_rng(0).random(image.shape)  # equal costs may be sorted either way
    wanted = skimage_segmentation.felzenszwalb(image, 100, 0.5, min_size=3)
    assert np.array_equal(number(felzenszwalb(image, 100, 0.5, 3)), number(wanted))


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize(("kernel_size", "reach"), [(1.5, 3), (1.5, 9), (2, 8)])
def test_quick_shift_of_photos(name: str, kernel_size: float, reach: float) -> None:
    image = photo(name, 48, 40)
    wanted = skimage_segmentation.quickshift(image, 0.5, kernel_size, reach, rng=0)
    found = quick_shift(0.5 * rgb2lab(image), kernel_size, reach, np.random.default_rng(0))
    assert max(misplaced(wanted, found), misplaced(found, wanted)) < 0.01  # ties are broken at random
    assert len(np.unique(found)) == pytest.approx(len(np.unique(wanted)), abs=2)


def test_quick_shift_joins_what_is_within_reach() -> None:
    image = np.zeros((9, 9, 3))
    image[:, 5:] = 100
    labels = quick_shift(image, 2, 30, np.random.default_rng(0))
    assert len(np.unique(labels)) == 2
    assert not set(np.unique(labels[:, :5])) & set(np.unique(labels[:, 5:]))


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 2)])
def test_small_images(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random((*shape, 3))
    assert felzenszwalb(image, 100, 0.5, 1).shape == shape
    assert quick_shift(image, 1, 3, np.random.default_rng(0)).shape == shape
