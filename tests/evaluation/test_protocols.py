"""Protocols: pure, and each condition, target and label as the paper and the released evaluation have them."""

import random
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dequant.color.palette import colormap_palette, quantize
from dequant.condition.channels import for_palette, mean_color
from dequant.condition.texture_maps import luminance_map, thresholded_gradient_map
from dequant.errors import InputError
from dequant.evaluation.cases import LABELS, Case
from dequant.evaluation.protocols import colormap_transfer, dequantization, inpainting, palette_transfer, robustness
from tests.support.photos import golden_photo

T = thresholded_gradient_map
BOUND: dict[str, Callable[..., list[Case]]] = {
    "dequantization": partial(dequantization, texture_map=T, n_colors=[4, 16]),
    "palette_transfer": partial(palette_transfer, texture_map=T, methods=["color", "negative_color"], n_colors=[8, 32]),
    "inpainting": partial(inpainting, texture_map=T, methods=["mean", "random"]),
    "robustness": partial(robustness, texture_map=T, n_colors=[4, 16], strengths=[0.0, 0.25, 0.5]),
    "colormap_transfer": partial(colormap_transfer, texture_map=T, colormaps=["viridis", "magma"], n_colors=[4, 8]),
}


def photo(name: str) -> Tensor:
    return golden_photo(name)[:, :64, :64]


def cases(name: str, seed: int = 0, source: str = "womanhat", **options: Any) -> list[Case]:
    reference = {"reference": photo("caps")} if name == "palette_transfer" else {}
    return BOUND[name](photo(source), np.random.default_rng(seed), **reference, **options)


def colors(rgb: Tensor) -> set[tuple[int, ...]]:
    return {tuple(color) for color in (rgb * 255).round().int().flatten(1).T.tolist()}


@pytest.mark.parametrize("name", BOUND)
def test_protocols_are_pure(name: str) -> None:
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    first = cases(name)
    torch.manual_seed(2)
    random.seed(2)
    np.random.seed(2)
    for one, other in zip(first, cases(name), strict=True):
        assert one.digest == other.digest
        assert torch.equal(one.condition, other.condition)


@pytest.mark.parametrize("name", BOUND)
def test_cells_are_all_combinations_and_the_same_for_every_photo(name: str) -> None:
    found = cases(name)
    labels = [tuple(case.labels.items()) for case in found]
    values = {label: dict.fromkeys(case.labels[label] for case in found) for label in found[0].labels}
    assert set(values) <= set(LABELS)
    assert len(set(labels)) == len(labels)
    assert set(labels) == set(product(*([(label, value) for value in values[label]] for label in values)))
    assert [case.labels for case in cases(name, seed=9, source="plane")] == [case.labels for case in found]


@pytest.mark.parametrize("name", BOUND)
def test_conditions_follow_the_conventions(name: str) -> None:
    for case in cases(name):
        assert case.condition.shape == (7, 64, 64)
        assert case.condition.dtype == torch.float32
        assert case.condition.min() >= 0
        assert case.condition.max() <= 1
        assert torch.equal(case.source, photo("womanhat"))
        texture, indicator = case.condition[3:5], case.condition[6]
        assert torch.equal(texture, T(case.source) * indicator)
        if name != "inpainting":
            assert (indicator == (case.labels["texture"] == "on")).all()
            assert case.palette_colors == case.labels["n_colors"]
            assert (case.condition[5] == case.palette_colors / 256).all()
            assert len(colors(case.asked)) <= case.palette_colors


def test_the_digest_ignores_the_texture_map_and_nothing_else() -> None:
    of_t, of_l = cases("dequantization"), cases("dequantization", texture_map=luminance_map)
    assert [case.digest for case in of_t] == [case.digest for case in of_l]
    assert not torch.equal(of_t[0].condition, of_l[0].condition)
    found = [case for name in BOUND for source in ("womanhat", "plane") for case in cases(name, source=source)]
    assert len({case.digest for case in found}) == len(found)


def test_dequantization_asks_for_the_photo() -> None:
    for case in cases("dequantization"):
        n = int(case.labels["n_colors"])
        on = case.labels["texture"] == "on"
        expected = for_palette(quantize(case.source, n).rgb, n, T(case.source) if on else None)
        assert torch.equal(case.condition, expected)
        assert case.target is case.source
        assert case.paper_item == ("Figure 4" if on else "Figure 3")


def test_palette_transfer_uses_the_colors_of_the_reference() -> None:
    found = cases("palette_transfer")
    for case in found:
        n = int(case.labels["n_colors"])
        assert case.target is None
        assert colors(case.asked) <= colors(quantize(photo("caps"), n).rgb)
        assert case.paper_item == {"color": "Table 1", "negative_color": "Table 2"}[str(case.labels["method"])]
    similar, dissimilar = found[0], next(c for c in found if c.labels["method"] == "negative_color")
    assert (similar.asked - similar.source).square().mean() < (dissimilar.asked - similar.source).square().mean()


def test_inpainting_fills_one_patch() -> None:
    found = cases("inpainting")
    mask = found[0].condition[5] < 1
    assert 0 < mask.sum() < mask.numel()
    for case in found:
        on, mean = case.labels["texture"] == "on", case.labels["method"] == "mean"
        level, indicator = case.condition[5], case.condition[6]
        assert torch.equal(level, torch.where(mask, 1 / 256, 1.0))
        assert torch.equal(indicator, torch.ones(64, 64) if on else (~mask).float())
        assert torch.equal(case.asked[:, ~mask], case.source[:, ~mask])
        assert len(colors(case.asked[:, mask][:, None])) == 1
        assert case.palette_colors == 16
        assert (case.target is case.source) if mean else (case.target is None)
        if mean:
            color = mean_color(case.source, mask)
            assert torch.equal(case.asked[:, mask], color[:, None].expand(-1, int(mask.sum())))
        assert case.paper_item == ("Table 3" if mean else "Table 4")
    assert not torch.equal(found[0].condition[5], cases("inpainting", seed=1)[0].condition[5])


def test_robustness_shifts_palette_and_photo_alike() -> None:
    found = cases("robustness", texture="off", n_colors=256)
    for case in found:
        assert case.target is not None
        assert case.paper_item == "Figure 9"
        quantization = (quantize(case.source, 256).rgb - case.source).abs().mean()
        assert (case.asked - case.target).abs().mean() < 4 * quantization
    changes = [(case.target - case.source).abs().mean() for case in found if case.target is not None]
    assert changes[0] < 0.01
    assert changes[0] < changes[1] < changes[2]


def test_colormap_transfer_uses_the_colors_of_the_map() -> None:
    for case in cases("colormap_transfer"):
        palette = colormap_palette(str(case.labels["method"]), int(case.labels["n_colors"]))
        assert colors(case.asked) <= {tuple(color) for color in (palette * 255).int().tolist()}
        assert case.target is None


def test_one_value_is_a_list_of_one() -> None:
    assert len(cases("dequantization", n_colors=8, texture="off")) == 1
    assert len(cases("inpainting", methods="random", texture=["on"])) == 1


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("dequantization", {"n_colors": [4, 257]}, "2 to 256 colours, got 257"),
        ("dequantization", {"n_colors": 1}, "2 to 256 colours, got 1"),
        ("robustness", {"n_colors": 0}, "got 0"),
        ("palette_transfer", {"texture": "maybe"}, "on or off, or both, got 'maybe'"),
        ("palette_transfer", {"methods": "opposite"}, "'opposite'"),
        ("inpainting", {"methods": "median"}, "mean or random, got 'median'"),
        ("robustness", {"strengths": 2.0}, "2.0"),
        ("colormap_transfer", {"colormaps": "nocolors"}, "'nocolors'"),
    ],
)
def test_impossible_settings_are_one_sentence(name: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        cases(name, **options)
