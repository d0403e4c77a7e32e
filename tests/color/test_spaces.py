"""Colour: the released code's arrays, published values, a second implementation, round trips, bad input."""

import json

import numpy as np
import pytest
import skimage.color
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from dequant.color import opencv
from dequant.color.opencv import gray_uint8, hsv_jitter, replace_luminance, shift_hsv
from dequant.color.rgb import to_uint8
from dequant.color.spaces import (
    ciede2000,
    colorfulness,
    hsv_to_rgb,
    lab_to_rgb,
    linear_to_srgb,
    rgb_to_hsv,
    rgb_to_lab,
    rgb_to_oklab,
    srgb_to_linear,
)
from dequant.errors import InputError
from tests.support.paths import GOLDEN

ARRAYS = np.load(GOLDEN / "images.npz")
HSV = json.loads((GOLDEN / "images.json").read_text())["hsv_of_caps"]
PHOTOS = ["caps", "plane", "womanhat"]


def photo(name: str) -> Tensor:
    levels = np.array(Image.open(GOLDEN / f"{name}.png").convert("RGB"))
    return torch.from_numpy(levels).permute(2, 0, 1) / 255


def one(*channels: float) -> Tensor:
    """A single pixel, in double precision."""
    return torch.tensor(channels, dtype=torch.float64)[:, None, None]


def assert_levels(rgb: Tensor, levels: np.ndarray) -> None:
    """`rgb` holds exactly these 8-bit levels."""
    assert torch.equal(rgb, torch.from_numpy(levels) / 255)


def every_color(step: int = 15) -> Tensor:
    """A grid over the RGB cube, corners and greys included, (3, 18, 324) float64."""
    levels = torch.arange(0, 256, step).double() / 255
    return torch.stack(torch.meshgrid(levels, levels, levels, indexing="ij")).flatten(2)


@pytest.mark.parametrize("name", PHOTOS)
def test_luminance_is_that_of_the_released_code(name: str) -> None:
    luminance = opencv.luminance(photo(name))
    assert luminance.dtype == torch.float32
    assert np.abs(luminance.numpy() - np.load(GOLDEN / f"cond_{name}.npz")["L"]).max() < 1e-6


@pytest.mark.parametrize("name", PHOTOS)
def test_gray_is_that_of_the_released_code(name: str) -> None:
    """Its gradients are, exactly; caps tells OpenCV's 15-bit weights from the older 14-bit ones."""
    arrays = np.load(GOLDEN / f"cond_{name}.npz")
    gradients = np.stack(np.gradient(gray_uint8(photo(name)).numpy().astype(float)))
    wanted = arrays["conditioning"][arrays["cases"].tolist().index("G_16_tex"), 3:5]
    assert np.array_equal(((gradients + 255) / 510).astype(np.float32), wanted)


def test_luminance_and_gray_of_known_colors() -> None:
    rgb = torch.tensor([[0, 255, 255, 0, 0, 119], [0, 255, 0, 255, 0, 119], [0, 255, 0, 0, 255, 119]]) / 255
    assert (255 * opencv.luminance(rgb[:, None])).round().tolist() == [[0, 255, 136, 224, 82, 128]]
    assert gray_uint8(rgb[:, None]).tolist() == [[0, 255, 76, 150, 29, 119]]


def test_luminance_stays_close_to_lightness() -> None:
    rgb = every_color().float()
    lightness = rgb_to_lab(rgb)[0] / 100
    assert (opencv.luminance(rgb) - lightness).abs().max() < 1.5 / 255


@pytest.mark.parametrize("pair", ["womanhat_dark", "buildings_noise10", "caps_identical", "parrots_bilateral16_f16"])
def test_replace_luminance_is_that_of_the_released_code(pair: str) -> None:
    output, target = released_pair(pair)
    restored = replace_luminance((2 * output - 1 + 1) / 2, opencv.luminance(target))
    assert_levels(restored, ARRAYS[f"{pair}__postL_rgb_u8"].transpose(2, 0, 1))


def released_pair(pair: str) -> tuple[Tensor, Tensor]:
    """An output (8-bit, or stored in half precision) and its target."""
    name = pair.split("_")[0]
    levels = ARRAYS[f"{pair}__out"] if f"{pair}__out" in ARRAYS else np.array(Image.open(GOLDEN / f"{name}.png"))
    output = torch.from_numpy(levels).permute(2, 0, 1).float()
    if f"{pair}__target_u8" not in ARRAYS:
        target = photo(name)
    else:
        target = torch.from_numpy(ARRAYS[f"{pair}__target_u8"]).permute(2, 0, 1) / 255
    return output / 255 if levels.dtype == np.uint8 else output, target


@pytest.mark.parametrize("name", PHOTOS)
def test_replace_luminance_sets_it_and_keeps_the_rest(name: str) -> None:
    rgb = photo(name)
    wanted = opencv.luminance(rgb).flip(-1) * 0.5 + 0.25
    a, b = rgb_to_lab(rgb)[1:]
    lab = rgb_to_lab(replace_luminance(rgb, wanted))
    assert (lab[0] / 100 - wanted).abs().median() < 1.5 / 255
    assert (lab[1] - a).abs().median() < 2
    assert (lab[2] - b).abs().median() < 2


def test_replace_luminance_by_its_own_changes_little() -> None:
    rgb = photo("womanhat")
    assert (replace_luminance(rgb, opencv.luminance(rgb)) - rgb).abs().mean() < 2 / 255


@pytest.mark.parametrize("strength", HSV)
def test_hsv_jitter_is_that_of_the_released_code(strength: str) -> None:
    """numpy's old generator draws the published shifts; the signature takes any object with `uniform`."""
    rng = np.random.RandomState(HSV[strength]["np_random_seed"])
    shifted = hsv_jitter(photo("caps"), float(strength), rng)
    assert_levels(shifted, ARRAYS[f"caps__{strength}__A_of_I_u8"])


@pytest.mark.parametrize("n_colors", [4, 16])
@pytest.mark.parametrize("strength", HSV)
def test_shift_of_a_palette_is_that_of_the_released_code(strength: str, n_colors: int) -> None:
    image = Image.open(GOLDEN / "caps.png").convert("P", palette=Image.Palette.ADAPTIVE, colors=n_colors)
    palette = torch.tensor(image.getpalette()).view(-1, 3) / 255
    shift = [HSV[strength][name] for name in ("h_shift_cv2_units", "s_scale", "v_scale")]
    shifted = shift_hsv(palette.T[:, None], *shift)[:, 0]
    assert_levels(shifted[:, np.array(image).astype(int)], ARRAYS[f"caps__{strength}__{n_colors}__A_of_Q_u8"])


def test_hsv_jitter_draws_hue_saturation_and_value_in_turn() -> None:
    rng = np.random.default_rng(3)
    shift = (rng.uniform(-0.3, 0.3) * 180, rng.uniform(0.7, 1.3), rng.uniform(0.7, 1.3))
    expected = shift_hsv(photo("plane"), *shift)
    assert torch.equal(hsv_jitter(photo("plane"), 0.3, np.random.default_rng(3)), expected)


def test_shift_hsv_turns_primaries_into_each_other() -> None:
    red, green, blue = torch.eye(3)[:, :, None, None].expand(3, 3, 2, 40).unbind()
    assert torch.equal(shift_hsv(red, 60, 1, 1), green)
    assert torch.equal(shift_hsv(red, -60, 1, 1), blue)
    assert torch.equal(shift_hsv(red, 360, 1, 1), red)
    assert torch.equal(shift_hsv(red, 0, 0, 1), torch.ones(3, 2, 40))
    assert torch.equal(shift_hsv(red, 0, 1, 0), torch.zeros(3, 2, 40))


@pytest.mark.parametrize("name", PHOTOS)
def test_shift_hsv_by_nothing_changes_little(name: str) -> None:
    assert (shift_hsv(photo(name), 0, 1, 1) - photo(name)).abs().max() < 6 / 255


@pytest.mark.parametrize("convert", [opencv.luminance, gray_uint8, lambda rgb: shift_hsv(rgb, 9, 0.8, 1.1)])
def test_8_bit_batches_are_images_side_by_side(convert) -> None:
    batch = torch.stack([photo(name) for name in PHOTOS])
    assert torch.equal(convert(batch), torch.stack([convert(rgb) for rgb in batch]))


def test_8_bit_levels_survive_both_roundings() -> None:
    levels = torch.arange(256)
    assert torch.equal(to_uint8(levels / 255), levels.byte())
    assert torch.equal(to_uint8(levels / 255, truncate=True), levels.byte())
    assert to_uint8(torch.tensor([-1.0, 0.0, 0.999, 1.0, 2.0])).tolist() == [0, 0, 255, 255, 255]
    assert to_uint8(torch.tensor([0.999]), truncate=True).tolist() == [254]


def test_lab_agrees_with_scikit_image() -> None:
    rgb = every_color()
    lab = skimage.color.rgb2lab(rgb.permute(1, 2, 0).numpy())
    assert np.abs(rgb_to_lab(rgb).permute(1, 2, 0).numpy() - lab).max() < 5e-4  # they round two constants
    back = skimage.color.lab2rgb(lab)
    assert np.abs(lab_to_rgb(torch.from_numpy(lab).permute(2, 0, 1)).permute(1, 2, 0).numpy() - back).max() < 1e-5


def test_hsv_agrees_with_scikit_image() -> None:
    rgb = every_color()
    hsv = skimage.color.rgb2hsv(rgb.permute(1, 2, 0).numpy())
    np.testing.assert_allclose(rgb_to_hsv(rgb).permute(1, 2, 0).numpy(), hsv, atol=1e-12)


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
def test_oklab_of_the_primaries(rgb, oklab) -> None:
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
def test_ciede2000_agrees_with_its_published_table(lab1, lab2, difference: float) -> None:
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
    vivid, dull = (colorfulness(rgb) for rgb in (photo("caps"), photo("caps") * 0.5 + 0.25))
    assert vivid > dull > 0
    assert colorfulness(photo("caps")[:1].expand(3, -1, -1)) == 0
    assert colorfulness(torch.stack([photo(name) for name in PHOTOS])).shape == (3,)


channel = st.floats(0, 1, width=32)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(channel, channel, channel), min_size=1, max_size=8))
def test_round_trips(colors) -> None:
    rgb = torch.tensor(colors, dtype=torch.float64).T[:, None]
    torch.testing.assert_close(lab_to_rgb(rgb_to_lab(rgb)), rgb, rtol=0, atol=1e-6)
    torch.testing.assert_close(hsv_to_rgb(rgb_to_hsv(rgb)), rgb, rtol=0, atol=1e-9)
    torch.testing.assert_close(linear_to_srgb(srgb_to_linear(rgb)), rgb, rtol=0, atol=1e-6)
    assert (rgb_to_hsv(rgb)[0] < 1).all()


def difference_from_gray(rgb: Tensor) -> Tensor:
    return ciede2000(rgb_to_lab(rgb), rgb_to_lab(torch.full_like(rgb, 0.4)))


CONVERSIONS = [
    rgb_to_lab,
    rgb_to_oklab,
    rgb_to_hsv,
    colorfulness,
    difference_from_gray,
]


@pytest.mark.parametrize("convert", CONVERSIONS)
def test_gradients_are_right(convert) -> None:
    rgb = torch.rand(3, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(convert, rgb.requires_grad_())


@pytest.mark.parametrize("convert", CONVERSIONS)
@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
def test_gradients_of_greys_are_finite(convert, level: float) -> None:
    rgb = torch.full((3, 2, 2), level, requires_grad=True)
    convert(rgb).sum().backward()
    assert rgb.grad is not None
    assert rgb.grad.isfinite().all()


def test_gradients_pass_from_lab_and_hsv() -> None:
    rgb = torch.rand(3, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    assert torch.autograd.gradcheck(lab_to_rgb, rgb_to_lab(rgb).requires_grad_())
    assert torch.autograd.gradcheck(hsv_to_rgb, rgb_to_hsv(rgb).requires_grad_())


@pytest.mark.parametrize(
    "convert",
    [
        *CONVERSIONS,
        lab_to_rgb,
        hsv_to_rgb,
        gray_uint8,
        opencv.luminance,
        lambda rgb: replace_luminance(rgb, torch.rand(8, 8)),
        lambda rgb: hsv_jitter(rgb, 0.1, np.random.default_rng(0)),
        lambda rgb: shift_hsv(rgb, 0, 1, 1),
    ],
)
@pytest.mark.parametrize(
    "bad",
    [torch.rand(8, 8), torch.rand(4, 8, 8), torch.rand(3, 0, 8), torch.zeros(3, 8, 8, dtype=torch.uint8)],
)
def test_refuses_what_is_not_an_image(convert, bad: Tensor) -> None:
    with pytest.raises(InputError, match="give a floating-point tensor"):
        convert(bad)


def test_refuses_impossible_shifts() -> None:
    rgb = torch.rand(3, 4, 4)
    with pytest.raises(InputError, match="from 0 to 1"):
        hsv_jitter(rgb, 1.5, np.random.default_rng(0))
    with pytest.raises(InputError, match="none below 0"):
        shift_hsv(rgb, 0, -0.1, 1)
    with pytest.raises(InputError, match=r"give \(4, 4\)"):
        replace_luminance(rgb, torch.rand(5, 4))
