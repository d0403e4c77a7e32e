"""Pins are met, wherever they are and however many contradict each other."""

import numpy as np
import pytest
import torch
from PIL import Image

from dequant.color.spaces import ciede2000, rgb_to_lab
from dequant.edit.edits import transfer
from dequant.edit.painting import Settings, as_rgb, small_copy
from dequant.edit.pinning import SAME, pinned
from dequant.io.originals import read_original
from tests.support.paths import GOLDEN
from tests.support.photos import NAMES


def _levels(name: str, side: int = 160) -> np.ndarray:
    image = Image.open(GOLDEN / f"{name}.png").convert("RGB")
    image.thumbnail((side, side), Image.Resampling.BOX)
    return np.asarray(image)


def _random(shape: tuple[int, ...], seed: int, count: int) -> list[tuple[tuple[int, int], str]]:
    rng = np.random.default_rng(seed)
    places = rng.choice(shape[0] * shape[1], count, replace=False)
    return [((int(at % shape[1]), int(at // shape[1])), f"#{rng.integers(2**24):06x}") for at in places]


def _off(levels: np.ndarray, at: tuple[int, int], color: torch.Tensor) -> float:
    found = as_rgb(levels[at[1] : at[1] + 1, at[0] : at[0] + 1])
    return ciede2000(rgb_to_lab(found), rgb_to_lab(color[:, None, None])).item()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("count", "spread", "seeds"), [(4, 1.0, 12), (9, 1.0, 3), (4, 0.0, 3), (4, 3.0, 3)])
def test_random_pins_are_met_at_their_pixels(name: str, count: int, spread: float, seeds: int) -> None:
    levels = _levels(name)
    copy, local = small_copy(levels), 0
    for seed in range(seeds):
        moves = pinned(levels, copy, _random(levels.shape, seed, count), {}, spread)
        local += len(moves.local)
        after = moves.apply(levels)
        assert max(_off(after, at, color) for at, color in moves.asked) <= SAME
    assert local  # some contradict each other


@pytest.mark.parametrize("apart", [1, 2, 9])
def test_neighbours_of_one_colour_become_different_ones(apart: int) -> None:
    """The second one is local; its mask is whole at its pixel and nothing at the other's."""
    levels = np.full((60, 80, 3), 120, np.uint8)
    moves = pinned(levels, small_copy(levels), [((30, 20), "#c81e1e"), ((30 + apart, 20), "#2040c0")], {}, 1.0)
    ((number, _, mask),) = moves.local
    assert number == 1 and mask[20, 30 + apart] == 1 and mask[20, 30] == 0
    after = moves.apply(levels)
    assert tuple(after[20, 30]) == (0xC8, 0x1E, 0x1E) and tuple(after[20, 30 + apart]) == (0x20, 0x40, 0xC0)


def test_the_place_of_a_local_pin_fades_out() -> None:
    """Around the other's pixel, too: no hard dot shows."""
    levels = np.full((400, 600, 3), 120, np.uint8)
    moves = pinned(levels, small_copy(levels), [((150, 200), "#c81e1e"), ((450, 200), "#2040c0")], {}, 1.0)
    mask = moves.local[0][2]
    assert mask[200, 450] == 1 and mask[200, 150] == 0 and 0.2 < mask.mean() < 0.8
    assert max(np.abs(np.diff(mask, axis=axis)).max() for axis in (0, 1)) < 0.3


def test_a_pin_beside_swaps_is_met() -> None:
    levels = _levels("caps")
    at = (80, 50)
    swaps = {"#{:02x}{:02x}{:02x}".format(*levels[at[1], at[0]]): "#00aa88"}
    moves = pinned(levels, small_copy(levels), [(at, "#c81e1e")], swaps, 1.0)
    assert len(moves.local) == 1 and _off(moves.apply(levels), *moves.asked[0]) <= SAME


def test_16_bits_are_met_too() -> None:
    levels = _levels("plane").astype(np.uint16) * 257
    moves = pinned(levels, small_copy(levels), _random(levels.shape, 5, 6), {}, 1.0)
    after = moves.apply(levels)
    assert after.dtype == np.uint16 and max(_off(after, *one) for one in moves.asked) <= SAME


def test_colours_that_no_pixel_has_are_noted() -> None:
    photo = read_original(Image.fromarray(_levels("plane")))
    notes = transfer(photo, swaps={"#00ff40": "#c81e1e", "#{:02x}{:02x}{:02x}".format(*photo.levels[9, 9]): "navy"})
    assert notes.report.notes == ["no pixel has the colour #00ff40 or one much like it"]


def test_a_colour_that_only_a_pixel_of_a_large_photo_has_is_found() -> None:
    levels = np.full((1500, 1100, 3), 120, np.uint8)
    levels[1400, 1000] = 0, 255, 64
    assert not pinned(levels, small_copy(levels), (), {"#00ff40": "#c81e1e"}, 1.0).notes


def test_what_moved_although_unlike_counts_as_elsewhere() -> None:
    """A spread beyond the usual takes along what is unlike a pin, and the report says how far."""
    photo = Image.fromarray(_levels("caps"))
    near, far = (
        transfer(photo, pins=[((10, 10), "#2040c0")], settings=Settings(spread=spread)).report for spread in (1.0, 4.0)
    )
    assert near.drift is not None and far.drift is not None and far.drift > 4 * near.drift
