"""8-bit conversions: the released code's arrays, known colours, bad input."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dequant.color import opencv
from dequant.color.opencv import gray_uint8, hsv_jitter, replace_luminance, shift_hsv
from dequant.color.spaces import rgb_to_lab
from dequant.errors import InputError
from tests.support.colors import NO_IMAGES, every_color
from tests.support.paths import GOLDEN
from tests.support.photos import NAMES, golden_photo
from tests.support.released import ARRAYS, NUMBERS, released_pair

Conversion = Callable[[Tensor], Tensor]

HSV = NUMBERS["hsv_of_caps"]

CONVERSIONS: list[Conversion] = [
    gray_uint8,
    opencv.luminance,
    lambda rgb: replace_luminance(rgb, torch.rand(8, 8)),
    lambda rgb: hsv_jitter(rgb, 0.1, np.random.default_rng(0)),
    lambda rgb: shift_hsv(rgb, 0, 1, 1),
]


def assert_levels(rgb: Tensor, levels: np.ndarray) -> None:
    """`rgb` holds exactly these 8-bit levels."""
    assert torch.equal(rgb, torch.from_numpy(levels) / 255)


@pytest.mark.parametrize("name", NAMES)
def test_luminance_is_that_of_the_released_code(name: str) -> None:
    luminance = opencv.luminance(golden_photo(name))
    assert luminance.dtype == torch.float32
    assert np.abs(luminance.numpy() - np.load(GOLDEN / f"cond_{name}.npz")["L"]).max() < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_gray_is_that_of_the_released_code(name: str) -> None:
    """Its gradients are, exactly; caps tells OpenCV's 15-bit weights from the older 14-bit ones."""
    arrays = np.load(GOLDEN / f"cond_{name}.npz")
    gradients = np.stack(np.gradient(gray_uint8(golden_photo(name)).numpy().astype(float)))
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
    restored = replace_luminance(output, opencv.luminance(target))
    assert_levels(restored, ARRAYS[f"{pair}__postL_rgb_u8"].transpose(2, 0, 1))


@pytest.mark.parametrize("name", NAMES)
def test_replace_luminance_sets_it_and_keeps_the_rest(name: str) -> None:
    rgb = golden_photo(name)
    wanted = opencv.luminance(rgb).flip(-1) * 0.5 + 0.25
    a, b = rgb_to_lab(rgb)[1:]
    lab = rgb_to_lab(replace_luminance(rgb, wanted))
    assert (lab[0] / 100 - wanted).abs().median() < 1.5 / 255
    assert (lab[1] - a).abs().median() < 2
    assert (lab[2] - b).abs().median() < 2


def test_replace_luminance_by_its_own_changes_little() -> None:
    rgb = golden_photo("womanhat")
    assert (replace_luminance(rgb, opencv.luminance(rgb)) - rgb).abs().mean() < 2 / 255


@pytest.mark.parametrize("strength", HSV)
def test_hsv_jitter_is_that_of_the_released_code(strength: str) -> None:
    """numpy's old generator draws the published shifts; the signature takes any object with `uniform`."""
    rng = np.random.RandomState(HSV[strength]["np_random_seed"])
    shifted = hsv_jitter(golden_photo("caps"), float(strength), rng)
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
    expected = shift_hsv(golden_photo("plane"), *shift)
    assert torch.equal(hsv_jitter(golden_photo("plane"), 0.3, np.random.default_rng(3)), expected)


def test_shift_hsv_turns_primaries_into_each_other() -> None:
    red, green, blue = torch.eye(3)[:, :, None, None].expand(3, 3, 2, 40).unbind()
    assert torch.equal(shift_hsv(red, 60, 1, 1), green)
    assert torch.equal(shift_hsv(red, -60, 1, 1), blue)
    assert torch.equal(shift_hsv(red, 360, 1, 1), red)
    assert torch.equal(shift_hsv(red, 0, 0, 1), torch.ones(3, 2, 40))
    assert torch.equal(shift_hsv(red, 0, 1, 0), torch.zeros(3, 2, 40))


@pytest.mark.parametrize("name", NAMES)
def test_shift_hsv_by_nothing_changes_little(name: str) -> None:
    assert (shift_hsv(golden_photo(name), 0, 1, 1) - golden_photo(name)).abs().max() < 6 / 255


@pytest.mark.parametrize("convert", [opencv.luminance, gray_uint8, lambda rgb: shift_hsv(rgb, 9, 0.8, 1.1)])
def test_8_bit_batches_are_images_side_by_side(convert: Conversion) -> None:
    batch = torch.stack([golden_photo(name) for name in NAMES])
    assert torch.equal(convert(batch), torch.stack([convert(rgb) for rgb in batch]))


@pytest.mark.parametrize("convert", CONVERSIONS)
@pytest.mark.parametrize("bad", NO_IMAGES)
def test_refuses_what_is_not_an_image(convert: Conversion, bad: Tensor) -> None:
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
