"""Colour spaces: published values, a second implementation, round trips, gradients, bad input."""

from collections.abc import Callable

import numpy as np
import pytest
import skimage.color
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dequant.color.spaces import (
    ciede2000,
    colorfulness,
    lab_to_rgb,
    linear_to_srgb,
    rgb_to_lab,
    rgb_to_oklab,
    srgb_to_linear,
)
from dequant.errors import InputError
from tests.support.colors import NO_IMAGES, every_color
from tests.support.photos import NAMES, golden_photo

Conversion = Callable[[Tensor], Tensor]


def one(*channels: float) -> Tensor:
    """A single pixel, in double precision."""
    return torch.tensor(channels, dtype=torch.float64)[:, None, None]


def test_lab_agrees_with_scikit_image() -> None:
    rgb = every_color()
    lab = skimage.color.rgb2lab(rgb.permute(1, 2, 0).numpy())
    assert np.abs(rgb_to_lab(rgb).permute(1, 2, 0).numpy() - lab).max() < 5e-4  # they round two constants
    back = skimage.color.lab2rgb(lab)
    assert np.abs(lab_to_rgb(torch.from_numpy(lab).permute(2, 0, 1)).permute(1, 2, 0).numpy() - back).max() < 1e-5


def test_linear_light_agrees_with_the_standard() -> None:
    srgb = torch.tensor([0.0, 0.04045, 0.5, 1.0], dtype=torch.float64)
    linear = torch.tensor([0.0, 0.04045 / 12.92, 0.21404114, 1.0], dtype=torch.float64)
    torch.testing.assert_close(srgb_to_linear(srgb), linear)
    torch.testing.assert_close(linear_to_srgb(linear), srgb, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("rgb", "oklab"),
    [
        ((0, 0, 0), (0, 0, 0)),
        ((1, 1, 1), (1, 0, 0)),
        ((1, 0, 0), (0.627955, 0.224863, 0.125846)),
        ((0, 1, 0), (0.866440, -0.233888, 0.179498)),
        ((0, 0, 1), (0.452014, -0.032457, -0.311528)),
    ],
)
def test_oklab_of_the_primaries(rgb: tuple[float, ...], oklab: tuple[float, ...]) -> None:
    """Values published with the colour space."""
    torch.testing.assert_close(rgb_to_oklab(one(*rgb)), one(*oklab), rtol=0, atol=1e-5)


# The table of Sharma, Wu and Dalal (2005): pairs near the discontinuities of hue, and one far pair.
SHARMA = [
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, 3.1571, -77.2803), (50, 0, -82.7485), 2.8615),
    ((50, 2.8361, -74.0200), (50, 0, -82.7485), 3.4412),
    ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
    ((50, 0, 0), (50, -1, 2), 2.3669),
    ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
    ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
    ((50, -0.001, 2.49), (50, 0.0009, -2.49), 4.8045),
    ((50, -0.001, 2.49), (50, 0.0011, -2.49), 4.7461),
    ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]


@pytest.mark.parametrize(("lab1", "lab2", "difference"), SHARMA)
def test_ciede2000_agrees_with_its_published_table(
    lab1: tuple[float, ...], lab2: tuple[float, ...], difference: float
) -> None:
    assert ciede2000(one(*lab1), one(*lab2)).item() == pytest.approx(difference, abs=5e-5)
    assert ciede2000(one(*lab2), one(*lab1)).item() == pytest.approx(difference, abs=5e-5)


def test_ciede2000_agrees_with_scikit_image() -> None:
    lab = rgb_to_lab(every_color())
    other = lab.flip(1).roll(7, dims=2)
    expected = skimage.color.deltaE_ciede2000(lab.permute(1, 2, 0).numpy(), other.permute(1, 2, 0).numpy())
    np.testing.assert_allclose(ciede2000(lab, other).numpy(), expected, atol=1e-6)


def test_ciede2000_broadcasts_over_pairs() -> None:
    lab = rgb_to_lab(torch.rand(3, 1, 5, generator=torch.Generator().manual_seed(0)))
    pairs = ciede2000(lab.mT, lab)
    assert pairs.shape == (5, 5)
    assert (pairs.diagonal() == 0).all()
    torch.testing.assert_close(pairs, pairs.T)


def test_colorfulness_by_hand() -> None:
    """Half red, half cyan: rg is 255 and -255, yb 127.5 and -127.5, so only the spread counts."""
    rgb = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])[:, None]
    assert colorfulness(rgb).item() == pytest.approx(np.hypot(255, 127.5))
    red = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)
    assert colorfulness(red).item() == pytest.approx(0.3 * np.hypot(255, 127.5))


def test_colorfulness_ranks_photos() -> None:
    vivid, dull = (colorfulness(rgb) for rgb in (golden_photo("caps"), golden_photo("caps") * 0.5 + 0.25))
    assert vivid > dull > 0
    assert colorfulness(golden_photo("caps")[:1].expand(3, -1, -1)) == 0
    assert colorfulness(torch.stack([golden_photo(name) for name in NAMES])).shape == (3,)


channel = st.floats(0, 1, width=32)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(channel, channel, channel), min_size=1, max_size=8))
def test_round_trips(colors: list[tuple[float, float, float]]) -> None:
    rgb = torch.tensor(colors, dtype=torch.float64).T[:, None]
    torch.testing.assert_close(lab_to_rgb(rgb_to_lab(rgb)), rgb, rtol=0, atol=1e-6)
    torch.testing.assert_close(linear_to_srgb(srgb_to_linear(rgb)), rgb, rtol=0, atol=1e-6)


def difference_from_gray(rgb: Tensor) -> Tensor:
    return ciede2000(rgb_to_lab(rgb), rgb_to_lab(torch.full_like(rgb, 0.4)))


CONVERSIONS: list[Conversion] = [rgb_to_lab, rgb_to_oklab, colorfulness, difference_from_gray]


@pytest.mark.parametrize("convert", CONVERSIONS)
def test_gradients_are_right(convert: Conversion) -> None:
    rgb = torch.rand(3, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(convert, rgb.requires_grad_())


@pytest.mark.parametrize("convert", CONVERSIONS)
@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
def test_gradients_of_greys_are_finite(convert: Conversion, level: float) -> None:
    rgb = torch.full((3, 2, 2), level, requires_grad=True)
    convert(rgb).sum().backward()
    assert rgb.grad is not None
    assert rgb.grad.isfinite().all()


def test_gradients_pass_from_lab() -> None:
    rgb = torch.rand(3, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    assert torch.autograd.gradcheck(lab_to_rgb, rgb_to_lab(rgb).requires_grad_())


@pytest.mark.parametrize("convert", [*CONVERSIONS, lab_to_rgb])
@pytest.mark.parametrize("bad", NO_IMAGES)
def test_refuses_what_is_not_an_image(convert: Conversion, bad: Tensor) -> None:
    with pytest.raises(InputError, match="give a floating-point tensor"):
        convert(bad)
