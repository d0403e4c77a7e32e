"""Transfers of colour: to oneself, back, moments worked out by hand, agreement with a library, bad input."""

import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dequant.color.palette import quantize
from dequant.color.spaces import rgb_to_lab
from dequant.errors import InputError
from dequant.evaluation.color_transfer import (
    LIBRARY_METHODS,
    color_matcher,
    histogram_match,
    monge_kantorovich,
    reinhard,
)
from tests.support.photos import golden_photo, golden_square, noise

TRANSFERS = (reinhard, monge_kantorovich, histogram_match)


@pytest.mark.parametrize("transfer", TRANSFERS)
@pytest.mark.parametrize("name", ["caps", "grey", "flat", "two colours"])
def test_transfer_to_itself_is_the_identity(transfer: Callable[[Tensor, Tensor], Tensor], name: str) -> None:
    rgb = {
        "caps": golden_square("caps"),
        "grey": golden_square("caps").mean(0, keepdim=True).expand(3, -1, -1),
        "flat": torch.tensor([0.2, 0.5, 0.9])[:, None, None].expand(3, 12, 16),
        "two colours": quantize(golden_square("caps"), 2).rgb,
    }[name]
    torch.testing.assert_close(transfer(rgb, rgb), rgb, rtol=0, atol=1e-4)


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_only_colours_of_the_reference_count(transfer: Callable[[Tensor, Tensor], Tensor]) -> None:
    source, reference = golden_square("caps"), golden_square("plane", 48)
    shuffled = reference.flatten(1)[:, torch.randperm(48 * 48, generator=torch.Generator().manual_seed(0))]
    transferred = transfer(source, reference)
    assert transferred.shape == source.shape
    assert transferred.dtype == torch.float32
    assert 0 <= transferred.min() <= transferred.max() <= 1
    torch.testing.assert_close(transfer(source, shuffled.reshape(3, 36, 64)), transferred, rtol=0, atol=1e-5)


def test_reinhard_matches_the_moments_of_lab() -> None:
    source, reference = noise(40, 50, seed=3), noise(30, 20, seed=4, low=0.45, high=0.7)
    lab, wanted = (rgb_to_lab(rgb).flatten(1) for rgb in (reinhard(source, reference), reference))
    torch.testing.assert_close(lab.mean(1), wanted.mean(1), rtol=0, atol=1e-2)
    torch.testing.assert_close(lab.std(1, correction=0), wanted.std(1, correction=0), rtol=0, atol=1e-2)


def test_monge_kantorovich_matches_mean_and_covariance() -> None:
    source = torch.tensor([[1.0, 0.3, 0], [0, 1, 0.5], [0.2, 0, 1]]) @ noise(40, 50, 5).flatten(1) * 0.6
    source, reference = source.reshape(3, 40, 50), noise(30, 20, seed=6, low=0.5, high=0.7)
    colors, wanted = monge_kantorovich(source, reference).flatten(1), reference.flatten(1)
    torch.testing.assert_close(colors.mean(1), wanted.mean(1), rtol=0, atol=1e-5)
    torch.testing.assert_close(colors.cov(correction=0), wanted.cov(correction=0), rtol=0, atol=1e-6)


def test_monge_kantorovich_of_independent_channels_is_a_gain_each() -> None:
    """Channels that do not correlate: the map is diagonal, the ratio of the standard deviations."""
    corners = torch.tensor([[-1.0, 1, -1, 1, -1, 1, -1, 1], [-1, -1, 1, 1, -1, -1, 1, 1], [-1] * 4 + [1] * 4])
    source = 0.5 + torch.tensor([[0.1], [0.2], [0.05]]) * corners
    reference = 0.4 + torch.tensor([[0.2], [0.1], [0.3]]) * corners
    transferred = monge_kantorovich(source.reshape(3, 2, 4), reference.reshape(3, 4, 2))
    torch.testing.assert_close(transferred, reference.reshape(3, 2, 4))


def test_monge_kantorovich_and_back_is_the_identity() -> None:
    """The map back is the inverse map, unlike that of other maps that match covariances."""
    source, reference = noise(40, 50, seed=7), noise(30, 20, seed=8, low=0.45, high=0.7)
    back = monge_kantorovich(monge_kantorovich(source, reference), source)
    torch.testing.assert_close(back, source, rtol=0, atol=1e-5)


def test_histogram_match_gives_the_same_levels() -> None:
    source, reference = noise(16, 24, seed=9), noise(24, 16, seed=10, low=0.1, high=0.9)
    matched = histogram_match(source, reference)
    torch.testing.assert_close(matched.flatten(1).sort(1).values, reference.flatten(1).sort(1).values)
    assert torch.equal(matched.flatten(1).argsort(1), source.flatten(1).argsort(1))


def test_a_source_without_contrast_takes_the_mean_colour() -> None:
    flat, reference = torch.full((3, 8, 8), 0.3), noise(20, 20, seed=11)
    mean = reference.mean((1, 2), keepdim=True).expand(3, 8, 8)
    torch.testing.assert_close(monge_kantorovich(flat, reference), mean, rtol=0, atol=1e-5)
    torch.testing.assert_close(reinhard(flat, reference), mean, rtol=0, atol=0.01)


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_a_grey_source_is_not_spoilt_by_rounding(transfer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """No contrast is made up along the axes that a grey photo lacks."""
    levels = (golden_square("caps").mean(0) * 255).round().long().flatten()
    grey = (levels / 255).reshape(1, 64, 64).expand(3, -1, -1)
    transferred = transfer(grey, golden_square("plane"))
    for level in levels.unique():
        assert transferred.flatten(1)[:, levels == level].std(1, correction=0).max() < 0.02


@pytest.mark.parametrize("transfer", [*TRANSFERS, color_matcher])
@pytest.mark.parametrize("bad", [torch.zeros(1, 3, 8, 8), torch.zeros(8, 8, 3), torch.full((3, 8, 8), torch.inf)])
def test_transfer_refuses_wrong_images(transfer: Callable[[Tensor, Tensor], Tensor], bad: Tensor) -> None:
    with pytest.raises(InputError, match="give"):
        transfer(golden_square(), bad)
    with pytest.raises(InputError, match="give"):
        transfer(bad, golden_square())


def test_color_matcher_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "color_matcher.top_level", None)
    with pytest.raises(InputError, match=r"dequant\[color-matcher\]"):
        color_matcher(golden_square(), golden_square("plane"))


@pytest.mark.parametrize("method", LIBRARY_METHODS)
def test_color_matcher_runs(method: str) -> None:
    pytest.importorskip("color_matcher")
    source, reference = golden_square("caps"), golden_square("plane", 48)
    before = source.clone()
    transferred = color_matcher(source, reference, method)
    assert transferred.shape == source.shape
    assert transferred.dtype == torch.float32
    assert 0 <= transferred.min() <= transferred.max() <= 1
    assert torch.equal(source, before)


def test_color_matcher_agrees_with_ours() -> None:
    pytest.importorskip("color_matcher")
    source, reference = golden_photo("caps"), golden_square("plane")
    torch.testing.assert_close(
        color_matcher(source, reference, "mkl"), monge_kantorovich(source, reference), rtol=0, atol=1e-4
    )
    matched = color_matcher(source, reference, "hm") - histogram_match(source, reference)
    assert matched.abs().mean() < 0.01


def test_color_matcher_has_no_such_method() -> None:
    with pytest.raises(InputError, match="hm-mkl-hm"):
        color_matcher(golden_square(), golden_square(), "magic")
