"""Captions of the colours of a photo, and the thing that they name."""

import math

import pytest
import torch

from dequant.color.names import WORDS
from dequant.colorization.priors import THINGS
from dequant.condition.captions import SIDE, _middle, caption, thing_of

RGB = {"red": (0.8, 0.1, 0.1), "blue": (0.1, 0.3, 0.8), "white": (0.97, 0.97, 0.97), "orange": (0.94, 0.52, 0.08)}


def halves(inside: str, outside: str, size: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """A square of one colour in the middle of another, and where it is."""
    place = torch.zeros(size, size)
    place[size // 4 : -size // 4, size // 4 : -size // 4] = 1
    first, second = (torch.tensor(RGB[word]).view(3, 1, 1) for word in (inside, outside))
    return torch.where(place.bool(), first, second), place


def test_the_thing_has_the_colour_of_its_place() -> None:
    rgb, place = halves("red", "blue")
    assert caption(rgb, "car", place) == "a red car on blue"
    assert caption(rgb, "sky", 1 - place) == "a blue sky on red"
    assert caption(rgb, "car") == "a red car on blue"
    assert caption(halves("orange", "white")[0], "fish") == "an orange fish on white"


def test_without_a_thing_the_colours_are_listed_by_their_share() -> None:
    rgb, _ = halves("red", "blue")
    assert caption(rgb) == "blue and red"
    rgb[:, :14] = torch.tensor(RGB["white"]).view(3, 1, 1)
    assert caption(rgb) == "blue, white and red"
    assert caption(torch.zeros(3, 5, 5)) == "black"


def test_two_other_colours_and_three_without_a_thing_are_named() -> None:
    words, shares = ("blue", "white", "orange", "red"), (16, 12, 7, 5)
    rows = torch.cat([torch.tensor(RGB[word]).repeat(share, 1) for word, share in zip(words, shares, strict=True)])
    rgb = rows.T[:, :, None].expand(3, 40, 40)
    assert caption(rgb) == "blue, white and orange"
    inside = torch.zeros(40, 40)
    inside[35:] = 1
    assert caption(rgb, "car", inside) == "a red car on blue and white"
    assert caption(rgb[:, 3:], "car", torch.ones(37, 40)) == "a blue car"
    assert caption(rgb, "", inside) == "red"


@pytest.mark.parametrize(("rows", "words"), [(12, "blue and red"), (11, "blue")])
def test_colours_of_an_eighth_or_so_are_named(rows: int, words: str) -> None:
    rgb = torch.tensor(RGB["blue"]).view(3, 1, 1).expand(3, 100, 10).clone()
    rgb[:, 30 : 30 + rows] = torch.tensor(RGB["red"]).view(3, 1, 1)
    assert (
        caption(torch.nn.functional.interpolate(rgb[None], (50, 5), mode="area")[0] if rows % 2 == 0 else rgb) == words
    )


def test_the_middle_counts_most() -> None:
    weight = _middle([3, 5])
    wanted = [[math.exp(-3 * (y**2 + x**2)) for x in (-1, -0.5, 0, 0.5, 1)] for y in (-1, 0, 1)]
    torch.testing.assert_close(weight, torch.tensor(wanted))
    assert _middle([1, 1]).tolist() == [[1.0]]


def test_rare_colours_are_left_out() -> None:
    rgb, _ = halves("blue", "blue")
    rgb[:, :2] = torch.tensor(RGB["red"]).view(3, 1, 1)
    assert caption(rgb) == "blue" and caption(rgb, "lake") == "a blue lake"


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (300, 20), (3 * SIDE, SIDE)])
def test_photos_of_any_size_have_captions(size: tuple[int, int]) -> None:
    rgb = torch.tensor(RGB["red"]).view(3, 1, 1).expand(3, *size)
    assert caption(rgb) == "red" and caption(rgb, "wall", torch.ones(2, 3)) == "a red wall"


@pytest.mark.parametrize("thing", [*THINGS, "old car on a street", "orange"])
def test_the_thing_is_found_again(thing: str) -> None:
    for inside, outside in (("red", "blue"), ("orange", "white"), ("white", "white")):
        assert thing_of(caption(halves(inside, outside, 16)[0], thing)) == thing


@pytest.mark.parametrize("text", ["", "blue, green and white", "orange", *WORDS, "a photo of a car", "a red"])
def test_other_texts_name_no_thing(text: str) -> None:
    assert thing_of(text) == ""
