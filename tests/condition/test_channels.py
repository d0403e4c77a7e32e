"""Conditions: the authors' own arrays, what every training example satisfies, and the frequencies of the draws."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from torch import Tensor

from dequant.color.palette import QUANTIZATION_RMSE, quantize
from dequant.condition import examples
from dequant.condition.channels import color_std, for_palette, for_patch, mean_color
from dequant.condition.examples import RandomDegradation, RandomTraining, random_mask, random_n_colors, random_window
from dequant.condition.texture import TEXTURES
from dequant.condition.texture_maps import gradient_map
from dequant.errors import InputError
from tests.support.paths import GOLDEN

seeds = st.integers(0, 2**32 - 1)


def photo(name: str = "womanhat") -> Tensor:
    levels = np.array(Image.open(GOLDEN / f"{name}.png").convert("RGB"))
    return torch.from_numpy(levels).permute(2, 0, 1) / 255


def golden_palettes() -> list[tuple[str, str]]:
    names = ("caps", "plane", "womanhat")
    return [(name, case) for name in names for case in np.load(GOLDEN / f"cond_{name}.npz")["cases"].tolist()]


def close(actual: Tensor, expected: np.ndarray) -> None:
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, torch.from_numpy(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "case"), golden_palettes())
def test_palettes_agree_with_the_released_code(name: str, case: str) -> None:
    arrays = np.load(GOLDEN / f"cond_{name}.npz")
    variant, n_colors, with_texture = case.split("_")
    rgb = photo(name)
    actual = for_palette(
        quantize(rgb, int(n_colors)).rgb,
        int(n_colors),
        TEXTURES[variant].map(rgb) if with_texture == "tex" else None,
    )
    close(actual, arrays["conditioning"][arrays["cases"].tolist().index(case)])


@pytest.mark.parametrize("case", np.load(GOLDEN / "patch_womanhat.npz")["cases"].tolist())
def test_patches_agree_with_the_released_code(case: str) -> None:
    arrays = np.load(GOLDEN / "patch_womanhat.npz")
    variant, with_texture, kind = case.split("_")
    rgb, mask = photo(), torch.from_numpy(arrays["mask"])
    color = mean_color(rgb, mask) if kind == "mean" else torch.tensor([192, 2, 172]) / 255
    actual = for_patch(rgb, mask, color, TEXTURES[variant].map(rgb), keep_inside=with_texture == "tex")
    close(actual, arrays["conditioning"][arrays["cases"].tolist().index(case)])


def test_a_patch_without_texture_has_none_anywhere() -> None:
    mask = torch.zeros(4, 5, dtype=torch.bool)
    mask[1:3, 2:] = True
    result = for_patch(torch.rand(3, 4, 5), mask, torch.tensor([0.1, 0.2, 0.3]), None)
    assert not result[[3, 4, 6]].any()
    torch.testing.assert_close(result[:3, mask], torch.tensor([0.1, 0.2, 0.3])[:, None].expand(-1, 6))
    assert torch.equal(result[5], torch.where(mask, 1 / 256, 1.0))


def test_mean_color_is_rounded_down_to_8_bits() -> None:
    rgb = torch.tensor([[10, 11, 99], [255, 255, 99], [7, 7, 99]]).float().div(255)[:, None]
    mask = torch.tensor([[True, True, False]])
    assert (mean_color(rgb, mask) * 255).round().tolist() == [10, 255, 7]
    levels = torch.arange(256.0).expand(3, 1, -1) / 255
    for level in range(256):
        assert mean_color(levels, torch.arange(256)[None] == level)[0] == levels[0, 0, level]


@pytest.mark.parametrize("n_colors", [0, 257, -4])
def test_refuses_impossible_palettes(n_colors: int) -> None:
    with pytest.raises(InputError, match="1 to 256"):
        for_palette(torch.rand(3, 4, 4), n_colors, None)


@pytest.mark.parametrize("bad", [torch.rand(1, 3, 4, 4), torch.rand(4, 4), torch.zeros(3, 4, 4, dtype=torch.uint8)])
def test_refuses_what_is_not_one_photo(bad: Tensor) -> None:
    rng = np.random.default_rng(0)
    for attempt in (
        lambda: for_palette(bad, 4, None),
        lambda: for_patch(bad, torch.ones(4, 4) > 0, torch.rand(3), None),
        lambda: RandomTraining(gradient_map)(bad, rng),
        lambda: RandomDegradation()(bad, rng),
    ):
        with pytest.raises(InputError):
            attempt()


@pytest.mark.parametrize("bad", [torch.rand(3, 4, 4), torch.rand(2, 4, 5), torch.rand(4, 4)])
def test_refuses_textures_of_another_shape(bad: Tensor) -> None:
    with pytest.raises(InputError, match="texture"):
        for_palette(torch.rand(3, 4, 4), 4, bad)


@pytest.mark.parametrize("bad", [torch.rand(4, 4), torch.ones(4, 5) > 0, torch.ones(1, 4, 4) > 0])
def test_refuses_masks_that_do_not_fit(bad: Tensor) -> None:
    with pytest.raises(InputError, match="boolean mask"):
        for_patch(torch.rand(3, 4, 4), bad, torch.rand(3), None)


def test_refuses_colors_and_supports_that_are_none() -> None:
    rgb, mask = torch.rand(3, 4, 4), torch.zeros(4, 4, dtype=torch.bool)
    with pytest.raises(InputError, match="3 values"):
        for_patch(rgb, mask, torch.rand(4), None)
    with pytest.raises(InputError, match="at least one pixel"):
        mean_color(rgb, mask)


@settings(max_examples=40, deadline=None)
@given(seeds, st.sampled_from("LGT"))
def test_every_training_example_is_consistent(seed: int, variant: str) -> None:
    rgb = photo()[:, 30:78, 40:90]
    example = RandomTraining(TEXTURES[variant].map)(rgb, np.random.default_rng(seed))
    result, target = example["condition"], example["target"]
    assert result.shape == (7, 48, 50)
    assert target.shape == (3, 48, 50)
    assert result.dtype == target.dtype == torch.float32
    assert min(result.min(), target.min()) >= 0
    assert max(result.max(), target.max()) <= 1
    on, level = result[6] == 1, result[5]
    expected_texture = TEXTURES[variant].map(target)
    assert torch.equal(result[3:5], torch.where(on, expected_texture, 0))
    if (level == 1).any():
        mask = level == 1 / 256
        assert torch.equal(mask, level != 1)
        assert ndimage.label(mask.numpy())[1] == 1
        assert on[~mask].all()
        assert len(on[mask].unique()) == 1
        assert torch.equal(result[:3, ~mask], target[:, ~mask])
        assert torch.equal(result[:3, mask], mean_color(target, mask)[:, None].expand(-1, int(mask.sum())))
    else:
        n_colors = int(level[0, 0] * 256)
        assert n_colors in {4, 8, 16, 32, 64, 128}
        assert len(level.unique()) == len(on.unique()) == 1
        assert torch.equal(result[:3], quantize(target, n_colors).rgb)


@settings(max_examples=5, deadline=None)
@given(seeds)
def test_one_seed_gives_one_example_and_leaves_the_photo_alone(seed: int) -> None:
    rgb = photo("caps")
    for draw in (RandomTraining(gradient_map, gray_share=0.5, saturation_share=0.5), RandomDegradation()):
        first, second = (draw(rgb, np.random.default_rng(seed)) for _ in range(2))
        assert torch.equal(first["condition"], second["condition"])
        assert torch.equal(first["target"], second["target"])
    assert torch.equal(rgb, photo("caps"))


def test_shares_of_tasks_textures_and_augmentations() -> None:
    rgb, rng, n = photo()[:, 40:56, 40:56], np.random.default_rng(0), 1000
    draw = RandomTraining(gradient_map)
    examples = [draw(rgb, rng) for _ in range(n)]
    patch = np.array([(e["condition"][5] == 1).any().item() for e in examples])
    dropped = np.array([(e["condition"][6] == 0).any().item() for e in examples])
    gray = np.array([(e["target"][0] == e["target"][1:]).all().item() for e in examples])
    changed = np.array([not torch.equal(e["target"], rgb) for e in examples])
    for share, expected in ((patch, 0.5), (dropped, 0.65), (gray, 0.1), (changed, 0.2)):
        assert share.mean() == pytest.approx(expected, abs=4 * (expected * (1 - expected) / n) ** 0.5)
    assert dropped[patch].mean() == pytest.approx(dropped[~patch].mean(), abs=0.12)


def test_saturation_changes_and_hue_does_not() -> None:
    draw = RandomTraining(gradient_map, gray_share=0, saturation_share=1, saturation=(0.5, 0.5))
    rgb = torch.tensor([200, 100, 100]).float().div(255)[:, None, None]
    assert (draw.augment(rgb, np.random.default_rng(0)) * 255).round().flatten().tolist() == pytest.approx(
        [200, 150, 150], abs=2
    )


@pytest.mark.parametrize(("smallest", "largest"), [(4, 128), (1, 128), (16, 16), (2, 256)])
def test_few_colors_are_drawn_three_times_as_often_as_many(smallest: int, largest: int) -> None:
    rng, n = np.random.default_rng(0), 8000
    counts = np.bincount([random_n_colors(rng, smallest, largest).bit_length() - 1 for _ in range(n)], minlength=9)
    sizes = range(smallest.bit_length() - 1, largest.bit_length())
    expected = np.zeros(9)
    expected[sizes.start : sizes.stop] = np.linspace(3, 1, len(sizes)) / np.linspace(3, 1, len(sizes)).sum()
    np.testing.assert_allclose(counts / n, expected, atol=0.02)


@pytest.mark.parametrize(
    "settings_",
    [
        {"min_colors": 3},
        {"min_colors": 64, "max_colors": 32},
        {"max_colors": 512},
        {"patch_share": 1.1},
        {"texture_dropout": -0.1},
        {"gray_share": 0.6, "saturation_share": 0.6},
    ],
)
def test_refuses_impossible_training(settings_: dict[str, float]) -> None:
    with pytest.raises(InputError, match="give"):
        RandomTraining(gradient_map, **settings_)


@pytest.mark.parametrize("settings_", [{"resize_share": 0.4, "noise_share": 0.5}, {"noise_share": 2}])
def test_refuses_impossible_degradation(settings_: dict[str, float]) -> None:
    with pytest.raises(InputError):
        RandomDegradation(**settings_)


def test_a_degradation_may_be_a_palette() -> None:
    rgb, rng = photo()[:, 40:72, 40:72], np.random.default_rng(0)
    draw = RandomDegradation(palette_share=0.5)
    levels = [draw(rgb, rng)["condition"] for _ in range(200)]
    palettes = [one for one in levels if (sizes := 256 * one[5].unique()).numel() == 1 and sizes.item() % 4 == 0]
    assert len(palettes) == pytest.approx(100, abs=25)
    n_colors = int(256 * palettes[0][5, 0, 0])
    assert torch.equal(palettes[0], for_palette(quantize(rgb, n_colors).rgb, n_colors, None))


def test_settings_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        RandomDegradation().max_sigma = 1


def test_random_masks_include_regions_of_a_palette(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(examples, "quantize", lambda rgb, n: calls.append(n) or quantize(rgb, n))
    rng = np.random.default_rng(0)
    squares = torch.arange(64).view(8, 8).repeat_interleave(4, 0).repeat_interleave(4, 1)
    draws = [random_mask(photo()[:, :32, :32], rng, lambda rgb, rng: squares) for _ in range(600)]
    shares = [mask.float().mean().item() for mask in draws]
    assert len(calls) == pytest.approx(60, abs=30)
    assert set(calls) == {4, 8, 16, 32}
    assert np.mean(shares) == pytest.approx(0.134, abs=0.03)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_every_degradation_shows_and_states_its_size(seed: int) -> None:
    rgb = photo("caps")
    example = RandomDegradation(level_jitter=(1, 1))(rgb, np.random.default_rng(seed))
    result = example["condition"]
    assert example["target"] is rgb
    assert result.shape == (7, 128, 128)
    assert not result[[3, 4, 6]].any()
    assert result.min() >= 0
    assert result.max() <= 1
    rmse = 2 * (result[:3] - rgb).square().mean().sqrt()
    assert rmse > 0
    level = result[5].unique()
    assert len(level) == 1
    if 1 / 256 < level < 1:
        torch.testing.assert_close(color_std(level)[0], rmse, rtol=1e-4, atol=0)


def test_degradations_are_blur_noise_or_both() -> None:
    rgb, rng = torch.full((3, 16, 16), 0.5), np.random.default_rng(0)
    noisy = [not torch.allclose(RandomDegradation().degrade(rgb, rng), rgb, atol=1e-5) for _ in range(1000)]
    assert np.mean(noisy) == pytest.approx(0.5, abs=0.06)
    checks = (torch.arange(16)[:, None] + torch.arange(16)).remainder(2).float().expand(3, -1, -1)
    blurred = RandomDegradation(resize_share=1, noise_share=0, scale=(2, 2)).degrade(checks, rng)
    assert blurred.std() < 0.2 * checks.std()


def test_level_is_misjudged_within_its_range() -> None:
    rgb, draw = photo(), RandomDegradation(resize_share=0, noise_share=1)
    ratios = []
    for seed in range(200):
        result = draw(rgb, np.random.default_rng(seed))["condition"]
        rmse = 2 * (result[:3] - rgb).square().mean().sqrt().item()
        if 1 / 256 < result[5, 0, 0] < 1:
            ratios.append(color_std(result[5, :1, 0]).item() / rmse)
    assert 0.69 < min(ratios) < 0.75
    assert 1.3 < max(ratios) < 1.41


@pytest.mark.parametrize("name", ["caps", "plane", "womanhat"])
@pytest.mark.parametrize("n_colors", [4, 16, 64])
def test_the_law_of_quantization_errors_holds_for_photos(name: str, n_colors: int) -> None:
    rgb = photo(name)
    rmse = 2 * (quantize(rgb, n_colors).rgb - rgb).square().mean().sqrt().item()
    assert 0.5 < rmse / (QUANTIZATION_RMSE / n_colors**0.5) < 2


@pytest.mark.parametrize("seed", range(8))
def test_windows_are_cut_alike_and_meet_the_patch(seed: int) -> None:
    rgb, rng = photo(), np.random.default_rng(seed)
    mask = torch.zeros(rgb.shape[1:], dtype=torch.bool)
    mask[3, -2] = True
    whole = {"condition": for_patch(rgb, mask, torch.ones(3), None), "target": rgb}
    cut = random_window(whole, 24, rng)
    assert cut["condition"].shape == (7, 24, 24) and cut["target"].shape == (3, 24, 24)
    assert (cut["condition"][5] == 1 / 256).sum() == 1
    inside = cut["condition"][5] == 1
    assert (cut["condition"][:3] == cut["target"])[:, inside].all()


def test_windows_reach_every_corner_and_may_be_the_whole() -> None:
    rgb = torch.arange(48.0).view(1, 6, 8).expand(3, -1, -1) / 48
    whole = {"condition": for_palette(rgb, 4, None), "target": rgb}
    rng = np.random.default_rng(0)
    corners = {random_window(whole, 5, rng)["target"][0, 0, 0].mul(48).round().item() for _ in range(100)}
    assert corners == {0, 1, 2, 3, 8, 9, 10, 11}
    square = {name: values[:, :, :6] for name, values in whole.items()}
    assert all(torch.equal(random_window(square, 6, rng)[name], square[name]) for name in square)


@pytest.mark.parametrize(("n_colors", "expected"), [(1, 0.3), (4, 0.15), (16, 0.075), (64, 0.0375), (256, 0.01875)])
def test_color_std(n_colors: int, expected: float) -> None:
    assert color_std(torch.tensor(n_colors / 256)).item() == pytest.approx(expected)
