"""Training examples: which palettes and dithers are drawn, where windows lie, and how large an error is said to be."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from dequant.color.palette import quantize
from dequant.condition.coloring import RandomColoring
from dequant.condition.examples import RandomDegradation, RandomTraining, random_n_colors, random_window
from dequant.condition.recoloring import HUE_SHIFT
from dequant.condition.texture_maps import gradient_map


def dithered(photo: torch.Tensor, **shares: float) -> float:
    """Share of the palettes that are dithered."""
    training, rng = RandomTraining(gradient_map, **shares), np.random.default_rng(0)  # type: ignore[arg-type]
    plain = quantize(photo[:, :6, :6], 4).rgb
    return float(np.mean([not torch.equal(training._quantized(photo[:, :6, :6], 4, rng), plain) for _ in range(25)]))


def test_as_many_palettes_are_dithered_as_asked_for(photo: torch.Tensor) -> None:
    assert dithered(photo) == 0 and dithered(photo, dither_share=1.0) == 1
    assert 0.1 < dithered(photo, dither_share=0.35) < 0.7


def test_palettes_are_powers_from_the_smallest_to_the_largest() -> None:
    rng = np.random.default_rng(0)
    assert {random_n_colors(rng) for _ in range(300)} == {4, 8, 16, 32, 64, 128}
    assert {random_n_colors(rng, 1, 2) for _ in range(50)} == {1, 2} and random_n_colors(rng, 256, 256) == 256


def test_hues_turn_as_far_one_way_as_the_other() -> None:
    assert HUE_SHIFT[0] > 0 and sum(HUE_SHIFT) == 180


@pytest.mark.parametrize("settings", [RandomTraining(gradient_map), RandomDegradation(), RandomColoring()])
def test_settings_do_not_change(settings: object) -> None:
    with pytest.raises(FrozenInstanceError):
        settings.anything = 1  # type: ignore[attr-defined]


def test_a_window_meets_the_patch_and_reaches_all_around_it() -> None:
    condition, rng = torch.ones(7, 20, 30), np.random.default_rng(0)
    condition[5, 12, 3] = 1 / 256
    condition[0] = torch.arange(600.0).view(20, 30)
    sample = {"condition": condition, "target": condition[:3], "caption": "a"}
    found = [random_window(sample, 8, rng) for _ in range(500)]
    assert all((one["condition"][5] == 1 / 256).sum() == 1 and one["caption"] == "a" for one in found)
    assert all(torch.equal(one["condition"][:3], one["target"]) for one in found)
    tops, lefts = (
        {int(one["target"][0, 0, 0]) // 30 for one in found},
        {int(one["target"][0, 0, 0]) % 30 for one in found},
    )
    assert tops == set(range(5, 13)) and lefts == set(range(4))


def test_the_level_of_a_degraded_photo_is_that_of_a_palette_as_far_from_it(photo: torch.Tensor) -> None:
    exact = RandomDegradation(level_jitter=(1.0, 1.0), resize_share=1.0, noise_share=0.0, scale=(2.0, 2.0))
    example = exact(photo, np.random.default_rng(0))
    degraded, level = example["condition"][:3], example["condition"][5]
    half = torch.nn.functional.interpolate(photo[None], (32, 32), mode="bicubic", antialias=True)
    wanted = torch.nn.functional.interpolate(half, (64, 64), mode="bicubic", antialias=True)[0].clamp(0, 1)
    torch.testing.assert_close(degraded, wanted)
    rmse = 2 * (degraded - photo).square().mean().sqrt()
    torch.testing.assert_close(level, torch.full_like(level, ((0.3 / rmse) ** 2).clamp(1, 256).item() / 256))
    assert not example["condition"][[3, 4, 6]].any() and torch.equal(example["target"], photo)
    flat = exact(torch.full((3, 8, 8), 0.5), np.random.default_rng(0))["condition"]
    assert (flat[5] == 1).all()
