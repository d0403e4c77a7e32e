"""Regions with texts of their own: disjoint masks, the background once, and the first steps alone."""

import pytest
import torch

from dequant.diffusion.regional import MOST, disjoint, guided_steps, merged
from dequant.errors import InputError


def box(top: int, bottom: int, left: int, right: int) -> torch.Tensor:
    mask = torch.zeros(32, 32)
    mask[top:bottom, left:right] = 1
    return mask


def test_smaller_masks_lie_on_larger_ones() -> None:
    kept, masks = disjoint([box(8, 16, 8, 16), box(0, 24, 0, 24)], (8, 8))
    assert kept == [0, 1] and masks.shape == (2, 8, 8)
    assert masks.sum(0).max() == 1 and masks[0].sum() == 4 and masks[1].sum() == 32
    swapped, other = disjoint([box(0, 24, 0, 24), box(8, 16, 8, 16)], (8, 8))
    assert swapped == [0, 1] and torch.equal(other, masks.flip(0))


def test_masks_of_which_nothing_is_left_are_dropped() -> None:
    assert disjoint([], (8, 8))[0] == [] and disjoint([], (8, 8))[1].shape == (0, 8, 8)
    kept, masks = disjoint([box(0, 1, 0, 1), box(0, 8, 0, 8), box(0, 8, 0, 8)], (8, 8))
    assert kept == [2] and len(masks) == 1
    many = [box(i, 32, 0, 32) for i in range(0, 24, 2)]
    assert len(disjoint(many, (32, 32))[0]) == MOST


def test_the_background_is_counted_once() -> None:
    """The form that is printed in the document counts it once for each region."""
    torch.manual_seed(0)
    z, parts = torch.randn(1, 4, 8, 8), torch.randn(3, 4, 8, 8)
    _, masks = disjoint([box(0, 8, 0, 8), box(0, 8, 16, 24), box(16, 24, 0, 32)], (8, 8))
    found = merged(z, parts, masks)
    outside = masks.sum(0) == 0
    assert torch.equal(found[..., outside], z[..., outside])
    for part, mask in zip(parts, masks, strict=True):
        assert torch.equal(found[0, :, mask.bool()], part[:, mask.bool()])
    own = masks[:, None]
    printed = (z * (1 - own) + parts * own).sum(0, keepdim=True)
    torch.testing.assert_close(printed[..., outside], 3 * z[..., outside])


def test_one_region_that_covers_all_takes_its_place() -> None:
    z, parts = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    assert torch.equal(merged(z, parts, torch.ones(1, 8, 8)), parts)


def test_the_first_steps_follow_regions() -> None:
    assert [guided_steps(strength, 50) for strength in (0, 0.3, 1)] == [0, 15, 50]
    assert [guided_steps(strength, 1) for strength in (0, 0.3)] == [0, 1]
    for strength in (-0.1, 1.1):
        with pytest.raises(InputError, match="a strength of regions from 0 to 1"):
            guided_steps(strength, 50)
    with pytest.raises(InputError, match=r"Expected a mask \(H, W\)"):
        disjoint([torch.ones(1, 4, 4)], (4, 4))
