"""Matching of palettes: against brute force, pins, rankings, bad input."""

from collections.abc import Sequence
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dequant.color.matching import match, match_k_best
from dequant.color.spaces import ciede2000, rgb_to_lab, rgb_to_oklab
from dequant.errors import InputError
from tests.support.colors import random_palette

MATCHINGS = ["color", "negative_color", "intensity"]


def gap(source: Tensor, target: Tensor, method: str) -> np.ndarray:
    if method == "intensity":
        return (source.double().sum(1)[:, None] - target.double().sum(1)).abs().numpy()
    return torch.cdist(source.double(), target.double()).numpy()


def total(source: Tensor, target: Tensor, method: str, assignment: Sequence[int]) -> float:
    affinity = np.exp((1 if method == "negative_color" else -1) * gap(source, target, method))
    return float(affinity[np.arange(len(source)), list(assignment)].sum())


def all_assignments(n_sources: int, n_targets: int, many_to_one: bool = False) -> list[tuple[int, ...]]:
    if many_to_one:
        return list(product(range(n_targets), repeat=n_sources))
    copies = [target for target in range(n_targets) for _ in range(-(-n_sources // n_targets))]
    return sorted(set(permutations(copies, n_sources)))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 64), st.integers(0, 10**6), st.sampled_from(MATCHINGS))
def test_palettes_of_one_size_are_permuted(n_colors: int, seed: int, method: str) -> None:
    assignment = match(random_palette(n_colors, seed), random_palette(n_colors, seed + 1), method)
    assert assignment.dtype == torch.int64
    assert sorted(assignment.tolist()) == list(range(n_colors))


def test_equal_palettes_stay() -> None:
    colors = random_palette(16)
    shuffled = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(shuffled[match(colors, colors[shuffled])], torch.arange(16))


@pytest.mark.parametrize("method", MATCHINGS)
@pytest.mark.parametrize(("n_sources", "n_targets"), [(5, 5), (4, 6), (5, 2), (6, 4), (3, 1), (1, 4)])
@pytest.mark.parametrize("many_to_one", [False, True])
def test_is_the_best_of_all(method: str, n_sources: int, n_targets: int, many_to_one: bool) -> None:
    source, target = random_palette(n_sources, 1), random_palette(n_targets, 2)
    assignment = match(source, target, method, many_to_one=many_to_one)
    best = max(total(source, target, method, a) for a in all_assignments(n_sources, n_targets, many_to_one))
    assert total(source, target, method, assignment.tolist()) == pytest.approx(best)


def test_small_targets_are_shared_evenly() -> None:
    counts = match(random_palette(10), random_palette(4, 1)).bincount(minlength=4)
    assert counts.max() <= 3


def test_many_to_one_takes_the_nearest() -> None:
    source, target = random_palette(9), random_palette(20, 1)
    assert torch.equal(match(source, target, many_to_one=True), torch.cdist(source, target).argmin(1))
    farthest = match(source, target, "negative_color", many_to_one=True)
    assert torch.equal(farthest, torch.cdist(source, target).argmax(1))


@pytest.mark.parametrize("n_targets", [2, 5, 8])
def test_pinned_pairs_are_kept(n_targets: int) -> None:
    source, target = random_palette(5), random_palette(n_targets, 1)
    pinned = {0: 1, 3: 0}
    assignment = match(source, target, pinned=pinned).tolist()
    assert (assignment[0], assignment[3]) == (1, 0)
    rest = [a for a in all_assignments(5, n_targets) if (a[0], a[3]) == (1, 0)]
    best = max(total(source, target, "color", a) for a in rest)
    assert total(source, target, "color", assignment) == pytest.approx(best)


def test_pins_may_share_a_target() -> None:
    assignment = match(random_palette(4), random_palette(4, 1), pinned={0: 2, 1: 2, 3: 2}).tolist()
    assert assignment[0] == assignment[1] == assignment[3] == 2 != assignment[2]
    everything = {index: 0 for index in range(4)}
    assert match(random_palette(4), random_palette(4, 1), pinned=everything).tolist() == [
        0,
        0,
        0,
        0,
    ]


def test_frequency_pairs_equal_shares() -> None:
    counts = torch.tensor([10, 70, 20])
    options = {"source_counts": counts, "target_counts": 5 * counts[[2, 0, 1]]}
    colors = match(random_palette(3), random_palette(3, 1), "frequency", **options)
    assert colors.tolist() == [1, 2, 0]


def test_intensity_pairs_equal_brightness() -> None:
    source = torch.tensor([[1.0, 0, 0], [0.2, 0.2, 0.1], [1, 1, 0]])
    target = torch.tensor([[0, 0.5, 0], [0, 1.0, 1.0], [0.3, 0.3, 0.4]])
    assert match(source, target, "intensity").tolist() == [2, 0, 1]


@pytest.mark.parametrize("distance", ["ciede2000", "oklab"])
def test_other_distances(distance: str) -> None:
    source, target = random_palette(6), random_palette(9, 1)
    columns = [palette_[:, :, None].transpose(0, 1) for palette_ in (source, target)]  # (3, n, 1)
    if distance == "oklab":
        first, second = (rgb_to_oklab(column)[:, :, 0].T for column in columns)
        nearest = torch.cdist(first, second).argmin(1)
    else:
        first, second = (rgb_to_lab(column) for column in columns)
        nearest = ciede2000(first, second.mT).argmin(1)
    assert torch.equal(match(source, target, distance=distance, many_to_one=True), nearest)


@pytest.mark.parametrize("method", MATCHINGS)
@pytest.mark.parametrize(("n_sources", "n_targets", "many_to_one"), [(4, 4, False), (5, 2, False), (3, 4, True)])
def test_k_best_ranks_all_assignments(method: str, n_sources: int, n_targets: int, many_to_one: bool) -> None:
    source, target = random_palette(n_sources, 1), random_palette(n_targets, 2)
    assignments = all_assignments(n_sources, n_targets, many_to_one)
    ranked = sorted((total(source, target, method, a) for a in assignments), reverse=True)
    found = match_k_best(source, target, 1000, method, many_to_one=many_to_one)
    assert sorted(map(tuple, found.tolist())) == assignments
    np.testing.assert_allclose([total(source, target, method, a) for a in found.tolist()], ranked)
    few = match_k_best(source, target, 7, method, many_to_one=many_to_one)
    np.testing.assert_allclose([total(source, target, method, a) for a in few.tolist()], ranked[:7])


def test_k_best_starts_with_the_match_and_keeps_pins() -> None:
    source, target = random_palette(12), random_palette(12, 1)
    found = match_k_best(source, target, 5, pinned={3: 7})
    assert torch.equal(found[0], match(source, target, pinned={3: 7}))
    assert (found[:, 3] == 7).all()
    assert len(found.unique(dim=0)) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "semantic"}, "choose one of color"),
        ({"distance": "cmyk"}, "choose one of rgb"),
        ({"method": "frequency"}, "source_counts with 3"),
        ({"method": "frequency", "source_counts": torch.ones(3)}, "target_counts with 4"),
        ({"method": "frequency", "source_counts": torch.zeros(3)}, "not all 0"),
        ({"pinned": {3: 0}}, "has 3 colours"),
        ({"pinned": {0: 4}}, "target palette 4"),
        ({"pinned": {-1: 0}}, "has 3 colours"),
    ],
)
def test_refuses_what_does_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        match(random_palette(3), random_palette(4), **options)
    with pytest.raises(InputError, match=message):
        match_k_best(random_palette(3), random_palette(4), 2, **options)


def test_refuses_what_is_no_palette() -> None:
    for bad in (torch.rand(0, 3), torch.rand(3), torch.rand(3, 4)):
        with pytest.raises(InputError, match=r"give \(n, 3\)"):
            match(bad, random_palette(3))
        with pytest.raises(InputError, match=r"give \(n, 3\)"):
            match(random_palette(3), bad)
    with pytest.raises(InputError, match="at least 1"):
        match_k_best(random_palette(3), random_palette(3), 0)


@pytest.mark.parametrize(("sources", "targets"), [(6, 6), (4, 9), (7, 3)])
def test_rank_keeps_the_order_of_lightness(sources: int, targets: int) -> None:
    source, target = random_palette(sources, 1), random_palette(targets, 2)
    chosen = target[match(source, target, "rank")]
    light = [rgb_to_lab(palette.T[:, None])[0, 0] for palette in (source, chosen)]
    assert (light[1][light[0].argsort()].diff() >= 0).all()
