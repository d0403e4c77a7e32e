"""Restorers: values worked out by hand, limits of the strengths, the table, bad input."""

import csv

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from benchmarks.tune_restorers import LARGEST_STRENGTH, N_COLORS
from dequant.color.palette import quantize
from dequant.errors import InputError
from dequant.evaluation.restorers import (
    TABLE,
    Filter,
    bilateral,
    gaussian,
    nonlocal_means,
    total_variation,
    tuned_strength,
    wavelet,
)
from dequant.metrics.image import psnr
from tests.support.photos import NAMES, golden_square, noise

FILTERS = tuple(LARGEST_STRENGTH)


def variation(rgb: Tensor) -> float:
    return (rgb.diff(dim=1).abs().mean() + rgb.diff(dim=2).abs().mean()).item()


@pytest.mark.parametrize("restore", FILTERS)
def test_strength_zero_changes_nothing(restore: Filter) -> None:
    rgb = golden_square()
    before = rgb.clone()
    assert torch.equal(restore(rgb, 16, 0.0), before)
    restore(rgb, 16, 0.1)
    assert torch.equal(rgb, before)


@pytest.mark.parametrize("restore", FILTERS)
def test_strength_goes_to_zero_continuously(restore: Filter) -> None:
    rgb = quantize(golden_square(), 16).rgb
    torch.testing.assert_close(restore(rgb, 16, 1e-4), rgb, rtol=0, atol=1e-3)


@pytest.mark.parametrize("restore", FILTERS)
def test_more_strength_smooths_more(restore: Filter) -> None:
    rgb = quantize(golden_square(), 8).rgb
    largest = LARGEST_STRENGTH[restore]
    restored = [restore(rgb, 8, largest * share) for share in (0.0625, 0.125, 0.25, 0.5, 1.0)]
    variations = [variation(image) for image in restored]
    changes = [(image - rgb).square().mean().item() for image in restored]
    assert variations == sorted(variations, reverse=True)
    assert changes == sorted(changes)


@pytest.mark.parametrize("restore", FILTERS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 3), (17, 40)])
def test_any_shape_and_range(restore: Filter, shape: tuple[int, int]) -> None:
    rgb = noise(*shape, seed=0, low=0.0, high=1.0)
    restored = restore(rgb, 4, LARGEST_STRENGTH[restore])
    assert restored.shape == rgb.shape
    assert restored.dtype == torch.float32
    assert restored.is_contiguous()
    assert 0 <= restored.min() <= restored.max() <= 1


@pytest.mark.parametrize("restore", FILTERS)
def test_a_flat_image_stays(restore: Filter) -> None:
    rgb = torch.tensor([0.2, 0.5, 0.9])[:, None, None].expand(3, 12, 16)
    torch.testing.assert_close(restore(rgb, 4, LARGEST_STRENGTH[restore]), rgb, rtol=0, atol=1e-6)


@pytest.mark.parametrize("restore", [gaussian, bilateral, wavelet])
def test_mirrored_input_gives_mirrored_output(restore: Filter) -> None:
    rgb = quantize(golden_square(), 16).rgb
    strength = LARGEST_STRENGTH[restore] / 4
    mirrored = restore(rgb.flip(-1), 16, strength).flip(-1)
    torch.testing.assert_close(mirrored, restore(rgb, 16, strength), rtol=0, atol=1e-5)


def test_gaussian_spreads_a_point_by_the_normal_density() -> None:
    rgb = torch.zeros(3, 21, 21)
    rgb[:, 10, 10] = 1
    offsets = torch.arange(-10, 11) / 1.5
    weights = torch.exp(-(offsets**2) / 2)
    weights[offsets.abs() > 4] = 0
    expected = weights[:, None] * weights / weights.sum() ** 2
    torch.testing.assert_close(gaussian(rgb, 4, 1.5), expected.expand(3, -1, -1), rtol=0, atol=1e-6)


def test_bilateral_becomes_a_gaussian_where_colours_do_not_count() -> None:
    rgb = noise(20, 30, seed=1, low=0, high=1)
    blurred = ndimage.gaussian_filter(rgb.numpy(), (0, 0.5, 0.5), mode="nearest", truncate=4)
    torch.testing.assert_close(bilateral(rgb, 4, 1e4), torch.from_numpy(blurred), rtol=0, atol=1e-5)


def test_bilateral_of_an_edge() -> None:
    """Two neighbours of another colour, one left and one right of an edge."""
    rgb = torch.zeros(3, 1, 6)
    rgb[:, :, 3:] = 0.3
    places = torch.exp(-2 * torch.arange(-2.0, 3.0) ** 2)
    far = torch.exp(torch.tensor(-3 * 0.3**2 / 0.5**2 / 2))
    across = far * places[3:].sum()
    expected = 0.3 * across / (across + places[:3].sum())
    torch.testing.assert_close(bilateral(rgb, 4, 0.5)[:, 0, 2], expected.expand(3))


def test_wavelet_leaves_what_is_well_above_the_noise() -> None:
    """BayesShrink: white noise of the stated deviation is removed nearly whole, a strong pattern is kept."""
    gray = torch.full((3, 64, 64), 0.5)
    grain = gray + 0.02 * torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert (wavelet(grain, 4, 0.02) - gray).std() < 0.3 * (grain - gray).std()
    stripes = gray.clone()
    stripes[:, :, ::2] = 0.9
    torch.testing.assert_close(wavelet(stripes, 4, 0.02), stripes, rtol=0, atol=0.005)


def test_total_variation_lowers_a_step_by_its_perimeter() -> None:
    """Of a step between two halves of n columns, the weight takes `weight / n` from either side."""
    rgb = torch.zeros(3, 8, 40)
    rgb[:, :, 20:] = 0.8
    restored = total_variation(rgb, 4, 0.5)
    torch.testing.assert_close(restored[:, :, 20:].mean(), torch.tensor(0.8 - 0.5 / 20), rtol=0, atol=3e-3)


def test_nonlocal_means_averages_repeated_patterns() -> None:
    """A noisy pattern of period 2 has its repeats in reach, so averaging them removes noise, not pattern."""
    pattern = torch.full((3, 48, 48), 0.3)
    pattern[:, ::2] = 0.7
    noisy = pattern + 0.05 * torch.randn(3, 48, 48, generator=torch.Generator().manual_seed(0))
    restored = nonlocal_means(noisy, 4, 0.1)
    assert (restored - pattern).std() < 0.5 * (noisy - pattern).std()


@pytest.mark.parametrize("restore", FILTERS)
@pytest.mark.parametrize(
    "bad",
    [
        torch.zeros(1, 3, 8, 8),
        torch.zeros(4, 8, 8),
        torch.zeros(3, 8, 8, dtype=torch.uint8),
        torch.full((3, 8, 8), torch.nan),
        torch.zeros(3, 0, 8),
    ],
    ids=["batch", "channels", "bytes", "nan", "empty"],
)
def test_a_wrong_image_is_refused(restore: Filter, bad: Tensor) -> None:
    with pytest.raises(InputError, match="give"):
        restore(bad, 16)


@pytest.mark.parametrize("restore", FILTERS)
@pytest.mark.parametrize("strength", [-0.1, float("nan"), float("inf")])
def test_a_wrong_strength_is_refused(restore: Filter, strength: float) -> None:
    with pytest.raises(InputError, match="strength"):
        restore(golden_square(), 16, strength)


def test_table_is_complete_and_never_loses_to_the_input() -> None:
    with TABLE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = {restore.__name__ for restore in FILTERS} | {"ffdnet"}
    assert {(row["method"], int(row["n_colors"])) for row in rows} == {(m, n) for m in names for n in N_COLORS}
    assert list(rows[0]) == [
        "method", "n_colors", "strength", "psnr", "psnr_input", "n", "dataset", "size", "command", "date",
    ]  # fmt: skip
    for row in rows:
        assert float(row["psnr"]) >= float(row["psnr_input"])
        assert 0 <= float(row["strength"]) <= 2 * max(LARGEST_STRENGTH.values())


@pytest.mark.parametrize("restore", FILTERS)
def test_strength_falls_as_colours_grow(restore: Filter) -> None:
    strengths = [tuned_strength(restore.__name__, n) for n in (1, 2, *N_COLORS, 256)]
    assert strengths == sorted(strengths, reverse=True)
    assert strengths[0] == strengths[2]
    assert strengths[-1] == strengths[-2]


def test_strength_is_interpolated_in_log_n() -> None:
    few, more = tuned_strength("wavelet", 4), tuned_strength("wavelet", 8)
    assert tuned_strength("wavelet", 6) == pytest.approx(few + (more - few) * np.log2(6 / 4))


@pytest.mark.parametrize("restore", FILTERS)
def test_the_tuned_strength_is_the_default(restore: Filter) -> None:
    rgb = quantize(golden_square(), 4).rgb
    assert torch.equal(restore(rgb, 4), restore(rgb, 4, tuned_strength(restore.__name__, 4)))


@pytest.mark.parametrize("restore", FILTERS)
def test_tuned_filters_help_photos_they_were_not_tuned_on(restore: Filter) -> None:
    target = torch.stack([golden_square(name, 128) for name in NAMES])
    quantized = [quantize(rgb, 8).rgb for rgb in target]
    restored = torch.stack([restore(rgb, 8) for rgb in quantized])
    assert psnr(restored, target).mean() > psnr(torch.stack(quantized), target).mean()


@pytest.mark.parametrize(("method", "n_colors"), [("median", 8), ("gaussian", 0)])
def test_no_strength(method: str, n_colors: int) -> None:
    with pytest.raises(InputError):
        tuned_strength(method, n_colors)
