"""8-bit levels of rgb, and what is no image."""

import pytest
import torch
from torch import Tensor

from dequant.color.rgb import check_rgb, to_uint8
from dequant.errors import InputError
from tests.support.colors import NO_IMAGES


def test_8_bit_levels_survive_both_roundings() -> None:
    levels = torch.arange(256)
    assert torch.equal(to_uint8(levels / 255), levels.byte())
    assert torch.equal(to_uint8(levels / 255, truncate=True), levels.byte())
    assert to_uint8(torch.tensor([-1.0, 0.0, 0.999, 1.0, 2.0])).tolist() == [0, 0, 255, 255, 255]
    assert to_uint8(torch.tensor([0.999]), truncate=True).tolist() == [254]


@pytest.mark.parametrize("shape", [(3, 1, 1), (2, 3, 4, 5), (2, 2, 3, 4, 5)])
def test_batches_are_images(shape: tuple[int, ...]) -> None:
    check_rgb(torch.zeros(shape))
    check_rgb(torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize("bad", NO_IMAGES)
def test_refuses_what_is_not_an_image(bad: Tensor) -> None:
    with pytest.raises(InputError, match="give a floating-point tensor"):
        check_rgb(bad)
