from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dequant.data.crops import center_crop, draw_crop
from dequant.errors import InputError
from dequant.io.images import read_image
from tests.support.data import SIZE, jpeg, picture


def random_crop(photo: Image.Image, size: int, seed: int) -> Tensor:
    return draw_crop(photo.size, size, np.random.default_rng(seed)).cut(photo, size)


def test_center_crop_is_exact_at_native_size_and_centred() -> None:
    rgb = read_image(jpeg(3, width=48, height=32))
    assert torch.equal(center_crop(rgb, 32), rgb[:, :, 8:40])
    assert torch.equal(center_crop(picture(3, 32, 48), 32), center_crop(picture(3, 32, 48).copy(), 32))


def test_reduction_is_antialiased() -> None:
    board = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(64, 64).expand(3, -1, -1)
    assert (center_crop(board, 32) - 0.5).abs().max() < 0.05


def test_random_crop_is_reproducible_and_within_the_photo() -> None:
    image = picture(4, 90, 70)
    crops = [random_crop(image, SIZE, seed) for seed in range(40)]
    again = [random_crop(image, SIZE, seed) for seed in range(40)]
    assert all(torch.equal(a, b) for a, b in zip(crops, again, strict=True))
    assert len({crop.numpy().tobytes() for crop in crops}) == 40
    assert all(crop.shape == (3, SIZE, SIZE) and 0 <= crop.min() <= crop.max() <= 1 for crop in crops)


def test_random_crop_reaches_both_extremes_of_scale_and_both_sides() -> None:
    ramp = Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (100, 1))).convert("RGB")
    spans, lefts, mirrored = [], [], []
    for seed in range(300):
        row = random_crop(ramp, 50, seed)[0, 25]
        spans.append(float((row[-1] - row[0]).abs()))
        lefts.append(float(row.min()))
        mirrored.append(bool(row[0] > row[-1]))
    assert min(spans) < 52 / 255 and max(spans) > 94 / 255  # from 50 of the 200 columns to 100 of them
    assert min(lefts) < 4 / 255 and max(lefts) > 140 / 255
    assert 0.4 < np.mean(mirrored) < 0.6


@pytest.mark.parametrize("crop", [center_crop, partial(random_crop, seed=0)])
def test_crop_larger_than_the_image(crop: Callable[[Image.Image, int], Tensor]) -> None:
    with pytest.raises(InputError, match="48 x 40 pixels is too small for a crop of 41"):
        crop(picture(1), 41)
    assert crop(picture(1), 40).shape == (3, 40, 40)
