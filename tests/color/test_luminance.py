"""Grey pictures of the same lightness, and colours put on a lightness."""

import pytest
import torch

from dequant.color.luminance import grayscale, with_lightness
from dequant.color.spaces import colorfulness, rgb_to_lab
from dequant.errors import InputError


def some_rgb(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_grey_is_neutral_and_as_light() -> None:
    rgb = some_rgb(2, 3, 9, 7)
    gray = grayscale(rgb)
    assert gray.shape == rgb.shape and torch.equal(gray[:, 0], gray[:, 1]) and torch.equal(gray[:, 1], gray[:, 2])
    torch.testing.assert_close(rgb_to_lab(gray)[:, 0], rgb_to_lab(rgb)[:, 0], atol=1e-3, rtol=0)
    assert rgb_to_lab(gray)[:, 1:].abs().max() < 0.02 and colorfulness(gray).max() < 0.01


def test_grey_stays_as_it_is() -> None:
    ramp = torch.linspace(0, 1, 256).expand(3, 1, -1)
    torch.testing.assert_close(grayscale(ramp), ramp, atol=1e-5, rtol=0)


@pytest.mark.parametrize("levels", [255, 65535])
def test_rounded_colours_have_the_lightness_of_the_grey_photo(levels: int) -> None:
    colors, gray = some_rgb(3, 30, 30), grayscale(some_rgb(3, 30, 30).flip(2))
    made = with_lightness(colors, gray, levels)
    assert (rgb_to_lab(made)[0] - rgb_to_lab(gray)[0]).abs().max() <= 0.25
    torch.testing.assert_close((made * levels).round(), made * levels, atol=1e-2, rtol=0)


def test_bytes_are_refused() -> None:
    with pytest.raises(InputError):
        grayscale(torch.zeros(3, 2, 2, dtype=torch.uint8))
