"""Moved content and edited areas, as opposed to drift, lost detail and compression."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_erosion, gaussian_filter

from dequant.color.levels import to_rgb
from dequant.edit.moved import BLEED, find_edited, find_moved
from tests.support.edited import disc, edited, photo, with_moved_patch

Change = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

OUTSIDE = np.ones((192, 192), bool)


def jpeg(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "JPEG", quality=85)
    return np.array(Image.open(file))


def soft(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = Image.fromarray(levels)
    return np.array(image.resize((64, 64), Image.Resampling.BICUBIC).resize((192, 192), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("change", [jpeg, soft, lambda levels: jpeg(soft(levels))])
@pytest.mark.parametrize("name", ["caps", "plane", "womanhat"])
def test_lost_detail_and_compression_are_no_content(name: str, change: Change) -> None:
    source = photo(name)
    assert find_moved(to_rgb(source), to_rgb(change(source)), OUTSIDE).mean() < 0.01


@pytest.mark.parametrize("change", [np.copy, jpeg, soft])
def test_moved_content_is_found(change: Change) -> None:
    truth, place = with_moved_patch(photo("plane"), 6)
    found = find_moved(to_rgb(photo("plane")), to_rgb(change(truth)), OUTSIDE)
    changed = (np.abs(truth.astype(int) - photo("plane")) > 25).any(axis=-1)
    assert changed.sum() > 100
    assert found[changed].mean() > 0.95
    assert found[~place].mean() < 0.03


def test_what_bleeds_out_of_the_mask_is_no_content() -> None:
    source, mask = photo("plane"), disc()
    picture = np.where(mask[..., None], 255 - source, source).astype(np.float32) / 255
    bled = np.stack([gaussian_filter(picture[..., c], 3) for c in range(3)], axis=-1)
    assert not find_moved(to_rgb(source), bled, ~mask).any()
    assert not find_moved(to_rgb(source), bled, disc(radius=20 + BLEED - 1) & ~mask).any()


def test_a_shadow_beside_the_mask_reaches_to_it() -> None:
    source, mask = to_rgb(photo("plane")), disc()
    picture = source.copy()
    picture[50:70, 70:140] *= np.float32(0.5)
    found = find_moved(source, picture, ~mask)
    assert found[52:68, 92:138].all()
    assert not found[mask].any()


@pytest.mark.parametrize("change", [np.copy, jpeg, soft])
def test_an_edited_area_is_found(change: Change) -> None:
    source, mask = photo("womanhat"), disc(radius=35)
    found = find_edited(to_rgb(source), to_rgb(change(edited(source, mask))))
    assert (found & mask).sum() / (found | mask).sum() > 0.88
    assert found[binary_erosion(mask, iterations=3)].all()


def test_a_speck_is_no_edited_area() -> None:
    source = photo("womanhat")
    assert not find_edited(to_rgb(source), to_rgb(edited(source, disc(radius=1)))).any()
