"""How an offset fades out around a mask."""

import numpy as np
import pytest

from dequant.color.levels import difference
from dequant.edit.fading import Border, Fading, choose_fading, faded


def border(offset: float, count: int = 20_000, longest: float = 60) -> Border:
    """Grey pixels evenly spread from 1 to `longest` pixels, with one offset."""
    distance = np.linspace(1, longest, count, dtype=np.float32)
    base = np.full((count, 3), 0.5, np.float32)
    return Border(distance, base, base * 0 + np.float32(offset), base * 0, 1.0)


def test_an_offset_is_whole_at_the_mask_and_gone_after_the_feather() -> None:
    fading = Fading(4, 20, 0.3)
    weights = fading.offset(np.float32([0, 1, 5, 21, 100]))
    assert weights[:2].tolist() == [1, 1] and weights[3:].tolist() == [0, 0]
    assert 0.2 < weights[2] < 0.3
    assert fading.detail(np.float32([1, 2, 3])).tolist() == pytest.approx([1, 0.5, 0])
    assert (np.diff(fading.offset(np.linspace(1, 25, 100, dtype=np.float32))) <= 0).all()


def test_a_small_offset_fades_slowly_all_of_it() -> None:
    fading = choose_fading(border(0.01), 400_000, 60)
    assert fading.rest == 1 and fading.slow == 48
    assert fading.slope == 0


@pytest.mark.parametrize("offset", [0.03, 0.06, 0.15])
@pytest.mark.parametrize("outside", [50_000, 400_000])
def test_the_choice_keeps_to_its_budget(offset: float, outside: int) -> None:
    around = border(offset)
    fading = choose_fading(around, outside, 60, spent=0.001)
    cost = difference(faded(around, fading), around.base)
    assert cost.sum() / outside <= 0.5
    assert (cost > 2).sum() / outside <= 0.01 or fading.fast == 1
    assert fading.fast <= fading.slow and fading.rest < 1


def test_more_room_makes_it_slower() -> None:
    narrow, wide = (choose_fading(border(0.06), outside, 60) for outside in (50_000, 1_000_000))
    assert wide.fast > narrow.fast
    assert wide.slope < narrow.slope
    assert narrow.size == pytest.approx(wide.size) and 5 < narrow.size < 8


def test_without_a_border_there_is_nothing_to_fade() -> None:
    nothing = Border(*(np.zeros(shape, np.float32) for shape in (0, (0, 3), (0, 3), (0, 3))), 1.0)
    assert choose_fading(nothing, 10, 60) == Fading(1, 1, 1)
