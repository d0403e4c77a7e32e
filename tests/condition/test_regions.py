"""The hierarchy of regions: a tree of connected parts, cut at any level, and found by clicking."""

import numpy as np
import pytest
import torch
from skimage.measure import label

from dequant.condition.regions import Regions, regions
from dequant.condition.scenes import random_scene
from dequant.errors import InputError
from tests.support.photos import golden_photo


@pytest.fixture(scope="module")
def found() -> Regions:
    return regions(golden_photo("caps"))


def test_merges_are_a_tree(found: Regions) -> None:
    count = found.count
    assert count > 50 and found.pieces.unique().tolist() == list(range(count))
    assert sorted(found.merges.flatten().tolist()) == list(range(2 * count - 2))
    assert (found.parents[:-1] > np.arange(2 * count - 2)).all() and found.parents[-1] == 2 * count - 2
    assert found.mask(2 * count - 2).all()
    for number, (one, other) in enumerate(found.merges.tolist()):
        if number % 17 == 0:
            assert torch.equal(found.mask(count + number), found.mask(one) | found.mask(other))
            assert not (found.mask(one) & found.mask(other)).any()


@pytest.mark.parametrize("wanted", [1, 2, 7, 40])
def test_levels_have_connected_regions_inside_those_of_coarser_levels(found: Regions, wanted: int) -> None:
    labels = found.cut(wanted)
    assert labels.unique().tolist() == list(range(wanted))
    for number in range(wanted):
        assert label(labels.numpy() == number, connectivity=1).max() == 1
    finer = found.cut(wanted + 9)
    pairs = torch.stack((finer.flatten(), labels.flatten())).unique(dim=1)
    assert pairs.shape[1] == wanted + 9


def test_all_pieces_are_the_finest_level(found: Regions) -> None:
    assert torch.equal(found.cut(10**6), found.pieces) and torch.equal(found.cut(found.count), found.pieces)


@pytest.mark.parametrize("place", [(0.0, 0.0), (0.5, 0.4), (1.0, 1.0)])
def test_a_click_has_regions_each_inside_the_next(found: Regions, place: tuple[float, float]) -> None:
    path = found.around(*place)
    masks = [found.mask(region) for region in path]
    height, width = found.pieces.shape
    row, column = min(int(place[1] * height), height - 1), min(int(place[0] * width), width - 1)
    assert all(mask[row, column] for mask in masks) and masks[-1].all()
    assert all((small & ~large).sum() == 0 for small, large in zip(masks, masks[1:], strict=False))


def test_a_click_on_the_border_is_in_the_photo() -> None:
    tree = Regions(torch.tensor([[0, 1], [2, 3]]), torch.tensor([[2, 3], [0, 1], [4, 5]]))
    paths = {(0, 0): [0, 5, 6], (1, 0): [1, 5, 6], (0, 1): [2, 4, 6], (1, 1): [3, 4, 6], (0.49, 0.5): [2, 4, 6]}
    assert {place: tree.around(*place) for place in paths} == paths
    assert tree.cut(3).tolist() == [[0, 1], [2, 2]] and tree.cut(2).tolist() == [[1, 1], [0, 0]]


def test_drawn_things_are_found() -> None:
    """A thing of one colour on a ground of another is one of the regions around its middle."""
    rng, found = np.random.default_rng(3), []
    for _ in range(8):
        scene = random_scene(96, rng)
        tree = regions(scene.rgb)
        y, x = (places.float().median().item() / 96 for places in scene.inside.nonzero(as_tuple=True))
        masks = [tree.mask(region) for region in tree.around(x, y)]
        overlaps = [float((mask & scene.inside).sum() / (mask | scene.inside).sum()) for mask in masks]
        found.append(max(overlaps))
    assert np.median(found) > 0.9


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (40, 50)])
def test_photos_without_edges_are_one_region(size: tuple[int, int]) -> None:
    flat = regions(torch.full((3, *size), 0.5))
    assert flat.count == 1 and flat.around(0.5, 0.5) == [0] and flat.mask(0).all() and (flat.cut(5) == 0).all()


@pytest.mark.parametrize(("side", "expected"), [(40, (30, 40)), (128, (96, 128)), (5000, (96, 128))])
def test_a_larger_photo_is_segmented_at_a_smaller_side(side: int, expected: tuple[int, int]) -> None:
    assert tuple(regions(golden_photo("caps")[:, :96], side).pieces.shape) == expected


def test_the_same_photo_has_the_same_regions() -> None:
    first, again = (regions(golden_photo("caps")) for _ in range(2))
    assert torch.equal(first.pieces, again.pieces) and torch.equal(first.merges, again.merges)


def test_impossible_requests_are_one_sentence(found: Regions) -> None:
    for call, sentence in (
        (lambda: found.cut(0), "at least one region, got 0"),
        (lambda: found.mask(2 * found.count - 1), "There are regions 0 to"),
        (lambda: found.around(1.2, 0), "a place from 0 to 1"),
        (lambda: regions(torch.zeros(1, 4, 4)), "is not an image"),
        (lambda: regions(torch.zeros(3, 4, 4), 0), "at least 1 for the side of regions, got 0"),
    ):
        with pytest.raises(InputError, match=sentence):
            call()
