"""Grey pictures of the same lightness, and colours put on a lightness."""

import pytest
import torch

from dequant.color.luminance import grayscale, in_gamut, with_lightness
from dequant.color.spaces import colorfulness, lab_to_linear, rgb_to_lab
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


def test_without_rounding_lightness_and_hue_are_exact() -> None:
    colors, source = some_rgb(3, 20, 20), some_rgb(3, 20, 20).flip(1)
    found = rgb_to_lab(with_lightness(colors.double(), source.double()))
    torch.testing.assert_close(found[0], rgb_to_lab(source.double())[0], atol=1e-3, rtol=0)
    _, a, b = rgb_to_lab(colors.double())
    torch.testing.assert_close(found[1] * b - found[2] * a, torch.zeros(20, 20).double(), atol=0.2, rtol=0)
    assert (found[1] * a + found[2] * b).min() > 0
    torch.testing.assert_close(with_lightness(colors, colors), colors, atol=1e-5, rtol=0)


def test_chroma_is_reduced_to_the_border_of_the_gamut_and_no_further() -> None:
    lab = torch.rand(3, 30, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    lab = torch.stack((5 + 90 * lab[0], 200 * lab[1] - 100, 200 * lab[2] - 100))
    found, linear = in_gamut(lab), lab_to_linear(lab)
    inside = ((linear > 0) & (linear < 1)).all(0)
    assert 0.1 < inside.double().mean() < 0.9 and torch.equal(found[:, inside], lab[:, inside])
    moved = ~inside & (found != lab).any(0)
    share = found[1:].norm(dim=0) / lab[1:].norm(dim=0)
    torch.testing.assert_close(found, torch.cat((lab[:1], lab[1:] * share)))
    for more, outside in ((1, 1e-5), (1.001, None)):
        linear = lab_to_linear(torch.cat((found[:1], found[1:] * more)))[:, moved]
        away = torch.maximum(-linear, linear - 1).amax(0)
        assert away.max() < outside if outside else away.min() > 1e-6
    assert torch.equal(in_gamut(found), found)


def test_rounding_takes_the_nearer_side_of_green() -> None:
    """In 8 bits, half a level of green is up to 0.25 L*, and more in the dark: never is the other side nearer."""
    colors = some_rgb(3, 40, 40) * 0.5
    exact, made = with_lightness(colors.double(), colors.flip(2).double()), with_lightness(colors, colors.flip(2), 255)
    light = rgb_to_lab(colors.flip(2).double())[0]
    for step in (-1, 1):
        other = made.double().clone()
        other[1] += step / 255
        error = [(rgb_to_lab(one.clamp(0, 1))[0] - light).abs() for one in (made.double(), other)]
        near = ((other - exact) * 255).abs()[1] < 1
        assert (error[0] <= error[1] + 1e-4)[near & (error[0] > 0.24)].all()
    assert ((made - exact) * 255).abs().max() < 1.001 and made.dtype == torch.float32


def test_two_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="Expected two pictures of one shape"):
        with_lightness(some_rgb(3, 2, 2), some_rgb(3, 2, 3))


def test_bytes_are_refused() -> None:
    with pytest.raises(InputError):
        grayscale(torch.zeros(3, 2, 2, dtype=torch.uint8))
