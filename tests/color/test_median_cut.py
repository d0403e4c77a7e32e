"""The compiled median cut is Pillow's, byte for byte, whatever the image and the number of colours."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from dequant.color.median_cut import MAX_DISTINCT, median_cut
from tests.support.paths import GOLDEN

PHOTOS = ("caps", "plane", "womanhat")

Pixels = NDArray[np.uint8]
sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))
seeds = st.integers(0, 2**32 - 1)
n_colors = st.integers(2, 256)


def photo(name: str) -> Pixels:
    return np.array(Image.open(GOLDEN / f"{name}.png").convert("RGB"))


@st.composite
def parts_of_photos(draw: st.DrawFn) -> Pixels:
    """A part of a photo, scaled to any size."""
    image = Image.fromarray(photo(draw(st.sampled_from(PHOTOS))))
    left, top = draw(st.integers(0, image.width - 2)), draw(st.integers(0, image.height - 2))
    size = draw(st.tuples(st.integers(1, 96), st.integers(1, 96)))
    return np.array(image.resize(size, Image.Resampling.BICUBIC, box=(left, top, image.width, image.height)))


@st.composite
def noise(draw: st.DrawFn) -> Pixels:
    """Random colours, from all of them or from a narrow range of each channel."""
    rng, size = np.random.default_rng(draw(seeds)), draw(sizes)
    low = np.array(draw(st.tuples(*[st.integers(0, 254)] * 3)))
    high = np.array([draw(st.integers(bound + 1, 255)) for bound in low.tolist()])
    return rng.integers(low, high + 1, (*size, 3)).astype(np.uint8)


@st.composite
def few_colours(draw: st.DrawFn) -> Pixels:
    """Up to 12 colours in random places, with many ties between the boxes."""
    palette = draw(arrays(np.uint8, st.tuples(st.integers(1, 12), st.just(3))))
    return palette[np.random.default_rng(draw(seeds)).integers(0, len(palette), draw(sizes))]


@st.composite
def gradients(draw: st.DrawFn) -> Pixels:
    """Every channel falls or rises along one of the two sides."""
    height, width = draw(sizes)
    down, across = np.linspace(0, 255, height)[:, None], np.linspace(0, 255, width)[None]
    ramps = [draw(st.sampled_from([down, across, 255 - down, 255 - across, 0 * down])) for _ in range(3)]
    return np.stack(np.broadcast_arrays(*ramps, down + across)[:3], axis=-1).astype(np.uint8)


@st.composite
def grey(draw: st.DrawFn) -> Pixels:
    """Any of the others, made grey."""
    image = Image.fromarray(draw(st.one_of(parts_of_photos(), noise(), gradients())))
    return np.array(image.convert("L").convert("RGB"))


def assert_pillows(pixels: Pixels, count: int) -> None:
    wanted = Image.fromarray(pixels).quantize(count, method=Image.Quantize.MEDIANCUT)
    palette, indices = median_cut(pixels, count)
    assert palette.dtype == indices.dtype == np.uint8
    assert palette.tobytes() == bytes(wanted.getpalette() or [])
    assert indices.tobytes() == wanted.tobytes()


@settings(max_examples=400, deadline=None)
@given(st.one_of(parts_of_photos(), noise(), few_colours(), gradients(), grey()), n_colors)
def test_palette_and_indices_are_pillows(pixels: Pixels, count: int) -> None:
    assert_pillows(pixels, count)


@settings(max_examples=200, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3))), n_colors)
def test_small_images_are_pillows(pixels: Pixels, count: int) -> None:
    assert_pillows(pixels, count)


@pytest.mark.slow
@pytest.mark.parametrize("name", PHOTOS)
def test_every_number_of_colours_is_pillows(name: str) -> None:
    pixels = photo(name)
    for count in range(1, 257):
        assert_pillows(pixels, count)


@pytest.mark.parametrize("count", [1, 2, 16, 255, 256])
@pytest.mark.parametrize("levels", [256, 128, 64])
def test_images_of_more_colours_than_pillow_counts(levels: int, count: int) -> None:
    pixels = np.random.default_rng(count).integers(0, levels, (400, 300, 3), dtype=np.uint8) * (256 // levels)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > MAX_DISTINCT
    assert_pillows(pixels, count)


def test_an_enlarged_photo_is_pillows() -> None:
    pixels = np.array(Image.fromarray(photo("plane")).resize((700, 600), Image.Resampling.BICUBIC))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 30000
    for count in (2, 33, 256):
        assert_pillows(pixels, count)


def test_a_part_of_an_image_need_not_be_contiguous() -> None:
    pixels = photo("caps")[::2, 1::3, ::-1]
    palette, indices = median_cut(pixels, 16)
    again = median_cut(np.ascontiguousarray(pixels), 16)
    assert np.array_equal(palette, again[0])
    assert np.array_equal(indices, again[1])
