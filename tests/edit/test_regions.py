"""Regions that are drawn at any size, and what of a photo they are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dequant.edit.painting import small_copy
from dequant.edit.recipe import mask_of
from dequant.edit.regions import Region, asked_color, described, in_proportion, share
from dequant.errors import InputError
from tests.support.paths import GOLDEN

RED = "#c81e1e"
SIZE = (600, 900)
"""Height and width of a photo that is larger than its copy."""


@pytest.fixture(scope="module")
def thing() -> Image.Image:
    """A mask of a thing with a straight and a curved side."""
    mask = Image.new("L", (SIZE[1], SIZE[0]))
    draw = ImageDraw.Draw(mask)
    draw.ellipse((200, 100, 520, 420), fill=255)
    draw.rectangle((360, 100, 700, 419), fill=255)
    return mask


@pytest.fixture(scope="module")
def copy(thing: Image.Image) -> torch.Tensor:
    """Of the photo of the thing, which is red on a ground that becomes lighter."""
    ground = Image.linear_gradient("L").resize(thing.size).convert("RGB").point(lambda level: 60 + level // 2)
    ground.paste((200, 40, 30), (0, 0), thing)
    return small_copy(np.array(ground))


def _overlap(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float((first & second).sum() / (first | second).sum())


def _as(kind: str, area: Image.Image, folder: Path) -> object:
    grey = np.asarray(area)
    clear = np.dstack((np.full((*grey.shape, 3), 90, np.uint8), grey))
    if kind in ("grey.png", "clear.png"):
        Image.fromarray(grey if kind == "grey.png" else clear).save(folder / kind)
        return folder / kind
    return {"image": area, "bytes": grey, "floats": grey / 255, "bool": grey > 127, "rgb": area.convert("RGB")}[kind]


@pytest.mark.parametrize("size", [(90, 60), (300, 200), (627, 418), (900, 600), (1800, 1200)])
def test_an_area_is_the_mask_that_it_was_reduced_from(
    thing: Image.Image, copy: torch.Tensor, size: tuple[int, int]
) -> None:
    area = thing.resize(size, Image.Resampling.BOX)
    found, expected = share(Region(RED, area=area), SIZE, copy), np.asarray(thing) > 127
    assert found.shape == SIZE and found.dtype == np.float32 and found.min() >= 0 and found.max() == 1
    assert _overlap(found > 0.5, expected) > 0.97
    assert ((found > 0) & (found < 1)).mean() < 0.02


def test_borders_of_an_area_follow_the_photo(thing: Image.Image, copy: torch.Tensor) -> None:
    """They come nearer to the thing than those of the area, which are a row or a column of a small view away."""
    area = thing.resize((60, 40), Image.Resampling.BOX)
    shifted = Image.new("L", area.size)
    shifted.paste(area.point(lambda level: 255 * (level > 127)), (0, 0))
    expected = np.asarray(thing) > 127
    coarse = np.asarray(shifted.resize(thing.size, Image.Resampling.NEAREST)) > 127
    found = share(Region(RED, area=shifted), SIZE, copy) > 0.5
    assert _overlap(found, expected) > _overlap(coarse, expected)


def test_an_area_of_a_photo_with_detail_stays_where_it_is() -> None:
    levels = np.array(Image.open(GOLDEN / "caps.png").convert("RGB"))
    height, width = levels.shape[:2]
    expected = np.zeros((height, width), bool)
    expected[height // 4 : height // 2, width // 5 : width // 2] = True
    area = Image.fromarray(expected).resize((width // 3, height // 3), Image.Resampling.BOX)
    found = share(Region(RED, area=area), (height, width), small_copy(levels))
    assert _overlap(found > 0.5, expected) > 0.9


@pytest.mark.parametrize("kind", ["bytes", "floats", "bool", "rgb", "grey.png", "clear.png"])
def test_an_area_comes_in_the_forms_of_masks(thing: Image.Image, copy: torch.Tensor, kind: str, tmp_path: Path) -> None:
    area = thing.resize((90, 60), Image.Resampling.NEAREST)
    found, expected = (share(Region(RED, area=_as(one, area, tmp_path)), SIZE, copy) for one in (kind, "image"))
    assert (found == expected).all()


def test_a_recipe_holds_an_area_as_it_was_drawn(thing: Image.Image, copy: torch.Tensor) -> None:
    """At its own size, and read again it is the same region, though soft values may look like labels."""
    area = np.asarray(thing.resize((90, 60), Image.Resampling.NEAREST)) / 255 * 0.8
    area[30:32] *= 0.7
    region = Region(RED, area=area)
    told = described(region, share(region, SIZE, copy))
    assert set(told) == {"color", "area"} and mask_of(told["area"]).size == (90, 60)
    again = Region(RED, area=np.asarray(mask_of(told["area"]), np.float32) / 255)
    assert (share(again, SIZE, copy) == share(region, SIZE, copy)).all()
    assert described(again, share(again, SIZE, copy)) == told


@pytest.mark.parametrize(
    ("area", "sentence"),
    [
        (np.zeros((60, 90)), "empty"),
        (np.full((60, 90), 0.04), "empty"),
        (np.full((60, 90), 0.4), "too small"),
        (np.ones((60, 100)), r"proportions of the photo, 900 x 600, got 100 x 60\."),
        (np.ones((90, 60)), "proportions"),
        (np.arange(5400).reshape(60, 90) % 5, "labels"),
        (np.full((60, 90), 1.5), "outside"),
        (np.ones((60, 90, 2)), "not possible"),
        ("missing.png", "missing.png"),
        (3, "not a mask"),
    ],
)
def test_what_is_no_area_is_refused(copy: torch.Tensor, area: object, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        share(Region(RED, area=area), SIZE, copy)


@pytest.mark.parametrize("side", [1, 2])
def test_an_area_of_which_nothing_is_left_is_refused(copy: torch.Tensor, side: int) -> None:
    area = np.zeros(SIZE)
    area[300 : 300 + side, 50 : 50 + side] = 1
    with pytest.raises(InputError, match="too small for the photo: mark more"):
        share(Region(RED, area=area), SIZE, copy)


def test_a_region_has_one_place() -> None:
    for places in ({}, {"area": np.ones((2, 2)), "box": (0, 0, 1, 1)}):
        with pytest.raises(InputError, match="one place: give a mask, points, a box, labels or an area"):
            Region(RED, **places)


@pytest.mark.parametrize(
    ("size", "other", "expected"),
    [
        ((60, 90), (600, 900), True),
        ((192, 13), (1500, 100), True),
        ((13, 192), (100, 1500), True),
        ((192, 14), (1500, 100), False),
        ((14, 192), (100, 1500), False),
        ((61, 90), (600, 900), True),
        ((62, 90), (600, 900), False),
        ((2000, 3029), (4000, 6000), True),
        ((2000, 3031), (4000, 6000), False),
        ((48, 72), (72, 48), False),
    ],
)
def test_proportions_agree_to_a_pixel_or_a_hundredth(
    size: tuple[int, int], other: tuple[int, int], expected: bool
) -> None:
    assert in_proportion(size, other) is expected and in_proportion(other, size) is expected


def test_colours_are_those_of_a_recipe() -> None:
    assert (asked_color((0.2, 1 / 3, 0.777)) * 255).tolist() == [51, 85, 198]
    assert (asked_color(RED) * 255).tolist() == [0xC8, 0x1E, 0x1E]
    with pytest.raises(InputError, match="not a colour"):
        asked_color("no colour")
