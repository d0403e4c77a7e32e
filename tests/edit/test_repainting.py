"""A photo's own palette, pixels and regions in one edit: what it does, what stays, and that a replay repeats it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from dequant.color.spaces import rgb_to_lab
from dequant.edit.edited import Edited
from dequant.edit.edits import recolor, transfer
from dequant.edit.painting import Settings, small_copy
from dequant.edit.recipe import Recipe, read_recipe
from dequant.edit.regions import Region, share
from dequant.edit.repainting import repaint
from dequant.edit.replay import replay
from dequant.errors import InputError
from dequant.io.originals import Original, read_original
from tests.support.paths import GOLDEN

RED, BLUE, GOLD = "#c81e1e", "#2040c0", "#ffd700"
PALETTE = ["#b79367", "#d86039", "#cc3613", "#9f3315", "#a42d10", "#782810"]
"""Of the photo, in six colours."""

SWAP = {PALETTE[3]: BLUE}


@pytest.fixture(scope="module")
def photo() -> Original:
    image = Image.open(GOLDEN / "caps.png").convert("RGB").resize((72, 48), Image.Resampling.BOX)
    return Original(np.array(image))


@pytest.fixture(scope="module")
def painted(photo: Original) -> Edited:
    return repaint(photo, 6, swaps=SWAP, way="anew")


def _area(size: tuple[int, int] = (24, 36), share: float = 1.0) -> np.ndarray:
    """A part of a view of so many rows and columns, in the lower right."""
    area = np.zeros(size, np.float32)
    area[size[0] // 2 : -3, size[1] // 2 : -4] = share
    return area


def _resized(photo: Original, *size: int) -> Original:
    return Original(np.array(Image.fromarray(photo.levels).resize(size, Image.Resampling.BICUBIC)))


def test_the_network_paints_the_own_palette_with_the_swapped_colour(photo: Original, painted: Edited) -> None:
    """To the bit what a transfer onto the own palette with the same swap paints."""
    assert (painted.levels == transfer(photo, PALETTE, 6, swaps=SWAP).levels).all()
    asked = [BLUE if color == PALETTE[3] else color for color in PALETTE]
    assert [entry.source for entry in painted.report.entries] == PALETTE
    assert [entry.asked for entry in painted.report.entries] == asked
    assert [one["to"] for one in painted.recipe.result["mapping"]] == asked
    assert painted.report.in_cell is not None and painted.report.drift is None
    assert painted.recipe.weights["name"] == "edit_G"


def test_a_swapped_colour_is_delivered_exactly(photo: Original) -> None:
    edited = repaint(photo, 6, swaps=SWAP, way="anew", settings=Settings(keep_palette="strict"))
    swapped = edited.report.entries[3]
    assert swapped.in_cell is not None and swapped.in_cell > 0.99
    assert edited.report.in_cell is not None and edited.report.in_cell > 0.99


def test_a_change_is_what_differs_between_two_paintings(photo: Original, painted: Edited) -> None:
    """Of the photo in its own palette and in the changed one; what differs in neither stays, to the bit."""
    edited = repaint(photo, 6, swaps=SWAP)
    own = transfer(photo, PALETTE, 6, swaps={PALETTE[3]: PALETTE[3]}).levels.astype(int)
    assert (edited.levels == (photo.levels + (painted.levels - own)).clip(0, 255)).all()
    assert (repaint(photo, 6, swaps={PALETTE[3]: PALETTE[3]}).levels == photo.levels).all()
    assert [(one.name, one.source, one.asked) for one in edited.report.entries] == [("colour 4", PALETTE[3], BLUE)]
    assert edited.report.in_cell is None and edited.report.drift is not None
    deep = Original(photo.levels.astype(np.uint16) * 257)
    assert repaint(deep, 6, swaps=SWAP).levels == pytest.approx(edited.levels * 257.0, abs=400)


def test_without_the_network_colours_only_move(photo: Original) -> None:
    pins = [((10, 10), RED)]
    edited = repaint(photo, swaps=SWAP, pins=pins, way="move")
    expected = transfer(photo, swaps=SWAP, pins=pins)
    assert (edited.levels == expected.levels).all() and edited.report == expected.report
    assert edited.recipe.weights == {} and edited.recipe.result == {}


@pytest.mark.parametrize("luminance", ["texture", "keep"])
def test_regions_alone_are_recoloured(photo: Original, luminance: str) -> None:
    regions = [Region(GOLD, area=_area()), Region(BLUE, box=(3, 3, 30, 30)), Region(RED, points=[(60, 40)])]
    settings = Settings(luminance=luminance)
    edited, expected = repaint(photo, regions=regions, settings=settings), recolor(photo, regions, settings=settings)
    assert (edited.levels == expected.levels).all() and edited.report == expected.report


@pytest.mark.parametrize("deep", [False, True])
def test_outside_of_regions_every_bit_stays(photo: Original, deep: bool) -> None:
    levels = photo.levels.astype(np.uint16) * 257 - 100 if deep else photo.levels
    alpha = np.full((48, 72), 40_000 if deep else 90, levels.dtype)
    regions = [Region(GOLD, area=_area()), Region(BLUE, box=(3, 3, 30, 20))]
    edited = repaint(Original(levels, alpha), regions=regions, way="move")
    masks = [share(region, (48, 72), small_copy(levels)) for region in regions]
    outside = (masks[0] == 0) & (masks[1] == 0)
    assert (edited.levels[outside] == levels[outside]).all()
    assert all((edited.levels[mask == 1] != levels[mask == 1]).any(1).mean() > 0.95 for mask in masks)
    assert edited.levels.dtype == levels.dtype and edited.report.drift == edited.report.drift_p99 == 0
    assert edited.original.alpha is not None and (edited.original.alpha == alpha).all()


def test_pins_move_what_was_painted_and_regions_lie_on_top(photo: Original, painted: Edited) -> None:
    """Each step is what the edit of its own makes of the step before."""
    pins, regions = [((65, 5), RED)], [Region(GOLD, box=(5, 20, 40, 45))]
    edited = repaint(photo, 6, swaps=SWAP, pins=pins, regions=regions, way="anew")
    pinned = transfer(Original(painted.levels), pins=pins)
    assert (edited.levels == recolor(Original(pinned.levels), regions).levels).all()
    names = [entry.name for entry in edited.report.entries]
    assert names == [*(f"colour {i}" for i in range(1, 7)), "region 1", "pin 1"]
    region, pin = edited.report.entries[6:]
    assert pin.asked == RED and pin.off is not None and pin.off < 1
    assert region.asked == GOLD and region.off is not None and region.off < 8 and region.in_cell is None
    assert region.share == pytest.approx(35 * 25 / (48 * 72))
    assert sum(entry.share for entry in edited.report.entries[:7]) == pytest.approx(1)


def test_pins_that_contradict_each_other_on_a_painted_photo_become_local() -> None:
    image = Image.new("RGB", (80, 40), "#80a040")
    image.paste("#202020", (38, 0, 42, 40))
    edited = repaint(image, 2, swaps={"#202020": "#303030"}, pins=[((10, 20), RED), ((70, 20), BLUE)])
    assert [round(entry.off or 0) for entry in edited.report.entries[1:]] == [0, 0]
    assert any("contradicts" in note for note in edited.report.notes)


def test_kept_lightness_stays_under_all_that_moves(photo: Original) -> None:
    what: dict[str, Any] = {"pins": [((65, 5), BLUE)], "regions": [Region(GOLD, area=_area())]}
    edited = repaint(photo, 6, swaps=SWAP, **what, settings=Settings(luminance="keep"))
    tensors = [torch.from_numpy(one.copy()).movedim(-1, 0).double() / 255 for one in (edited.levels, photo.levels)]
    light = [rgb_to_lab(one)[0] for one in tensors]
    assert (light[0] - light[1]).abs().max() < 0.26


def test_swaps_of_one_colour_of_the_palette_are_noted(photo: Original) -> None:
    near = "#9f3415"
    edited = repaint(photo, 6, swaps={near: RED, PALETTE[3]: BLUE})
    assert edited.report.notes == [f"several colours to swap are {PALETTE[3]} in the palette: the last one holds"]
    assert [entry.asked for entry in edited.report.entries] == [BLUE]
    assert repaint(photo, 6, swaps={near: BLUE, PALETTE[3]: BLUE}).report.notes == []
    with pytest.raises(InputError, match="too much alike"):
        repaint(photo, 6, swaps={near: RED, PALETTE[3]: BLUE}, way="move")


@pytest.mark.parametrize("kind", ["all", "keep", "unpainted", "soft", "between"])
def test_a_replay_has_the_same_bytes(photo: Original, kind: str, tmp_path: Path) -> None:
    """Soft areas and colours between the levels of 8 bits, too."""
    soft = _area(share=0.8)
    soft[14:18, 20:30] = 0.6
    some: dict[str, Any] = {"swaps": SWAP, "pins": [((65, 5), RED)], "regions": [Region(GOLD, area=_area())]}
    mask = np.zeros((48, 72), np.float32)
    mask[4:20, 5:30] = 0.7
    more = [Region(RED, mask=mask), Region(BLUE, box=(50, 2, 70, 20)), Region(RED, points=[(50, 30)])]
    third = (0.2, 1 / 3, 0.777)
    what: dict[str, Any] = {
        "all": some | {"regions": [*some["regions"], *more]},
        "keep": some | {"settings": Settings(luminance="keep", num_inference_steps=2, seed=3, spread=0.5)},
        "unpainted": some | {"way": "move"},
        "soft": {"regions": [Region(GOLD, area=soft)]},
        "between": {"swaps": {PALETTE[3]: third}, "pins": [((65, 5), third)], "regions": [Region(third, area=soft)]},
    }[kind]
    made = repaint(photo, 6, **what)
    made.save(tmp_path / "made.png")
    again = replay(photo, tmp_path / "made.png.yaml")
    again.save(tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "made.png").read_bytes()
    assert again.report == made.report
    assert read_recipe(tmp_path / "made.png") == read_recipe(tmp_path / "made.png.yaml") == again.recipe


def test_a_photo_of_twice_the_size_is_edited_alike(photo: Original) -> None:
    what: dict[str, Any] = {"pins": [((65, 5), BLUE)], "regions": [Region(GOLD, area=_area())]}
    made, large = repaint(photo, 6, swaps=SWAP, **what), _resized(photo, 144, 96)
    again = replay(large, made.recipe)
    assert again.levels.shape == (96, 144, 3)
    assert again.report.notes[-3:] == [
        "another photo than the recipe's",
        "its palette was matched anew",
        "places were taken at the same share of its sides",
    ]
    assert again.recipe.edit["pins"] == [{"at": [130, 10], "color": BLUE}]
    assert again.recipe.edit["regions"] == made.recipe.edit["regions"]
    assert again.report.entries[-1].off is not None and again.report.entries[-1].off < 1
    first, second = (
        share(Region(GOLD, area=_area()), one.levels.shape[:2], small_copy(one.levels)) > 0.5 for one in (photo, large)
    )
    first = first.repeat(2, 0).repeat(2, 1)
    assert (first & second).sum() / (first | second).sum() > 0.9


@pytest.mark.parametrize("side", [1, 10, 98, 147])
def test_places_at_the_border_stay_at_the_border(side: int) -> None:
    """Though 49 times 1/49 is less than 1 in floats."""
    made = repaint(Image.new("RGB", (49, 49), "#508040"), regions=[Region(RED, box=(0, 0, 49, 49))])
    again = replay(Image.new("RGB", (side, side), "#508040"), made.recipe)
    assert again.recipe.edit["regions"][0]["box"] == [0, 0, side, side]


@pytest.mark.parametrize("size", [(3, 39), (19, 300), (2, 30)])
def test_places_in_a_tall_photo_carry_over(size: tuple[int, int]) -> None:
    """A rounded width changes the ratio of the sides by many pixels of the height."""
    tall = Image.linear_gradient("L").resize((20, 300)).convert("RGB")
    made = repaint(tall, pins=[((19, 299), RED)], regions=[Region(BLUE, box=(0, 100, 20, 300))])
    again = replay(tall.resize(size), made.recipe)
    assert again.recipe.edit["regions"][0]["box"][2:] == list(size)
    assert again.recipe.edit["pins"][0]["at"] == [19 * size[0] // 20, 299 * size[1] // 300]


def test_a_watch_sees_each_step_and_its_picture(photo: Original) -> None:
    seen: list[tuple[int, int, torch.Tensor]] = []
    settings = Settings(num_inference_steps=3)
    edited = repaint(photo, 6, swaps=SWAP, settings=settings, watch=lambda *step: seen.append(step))
    assert [step[:2] for step in seen] == [(1, 3), (2, 3), (3, 3)]
    for _, _, picture in seen:
        assert picture.shape == (3, 48, 72) and picture.device.type == "cpu"
        assert picture.min() >= 0 and picture.max() <= 1
    drawn = torch.from_numpy(edited.levels.copy()).movedim(-1, 0) / 255
    assert (seen[-1][2] - drawn).abs().mean() < 2 / 255
    assert (edited.levels == repaint(photo, 6, swaps=SWAP, settings=settings).levels).all()


class Stopped(Exception):
    """What a watch raises."""


def test_what_a_watch_raises_ends_the_edit_and_leaves_no_trace(photo: Original, painted: Edited) -> None:
    steps: list[int] = []

    def stop(step: int, of: int, rgb: torch.Tensor) -> None:
        steps.append(step)
        raise Stopped

    with pytest.raises(Stopped):
        repaint(photo, 6, swaps=SWAP, settings=Settings(num_inference_steps=3), watch=stop)
    assert steps == [1]
    assert (repaint(photo, 6, swaps=SWAP, way="anew").levels == painted.levels).all()
    repaint(photo, pins=[((1, 1), RED)], regions=[Region(RED, box=(0, 0, 9, 9))], watch=stop)
    assert steps == [1]


@pytest.mark.parametrize(
    "what",
    [
        {"swaps": {"#b04030": BLUE}},
        {"swaps": {"#b04030": BLUE}, "way": "move"},
        {"pins": [((0, 0), BLUE)]},
        {"regions": [Region(BLUE, box=(0, 0, 1, 1))]},
        {"regions": [Region(BLUE, points=[(0, 0)])]},
        {"regions": [Region(BLUE, area=np.ones((1, 1), np.float32))]},
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (1, 9)])
def test_the_smallest_photos_are_edited(size: tuple[int, int], what: dict[str, Any]) -> None:
    edited = repaint(Image.new("RGB", size, "#b04030"), **what)
    assert edited.image.size == size
    if "swaps" not in what:
        assert tuple(edited.levels[0, 0]) == (0x20, 0x40, 0xC0)


def test_an_indexed_image_has_its_own_palette(photo: Original, tmp_path: Path) -> None:
    Image.fromarray(photo.levels).quantize(8, dither=Image.Dither.FLOYDSTEINBERG).save(tmp_path / "dithered.gif")
    own = np.unique(read_original(tmp_path / "dithered.gif").levels.reshape(-1, 3), axis=0)
    swap = {"#{:02x}{:02x}{:02x}".format(*own[0]): BLUE}
    edited = repaint(tmp_path / "dithered.gif", swaps=swap, way="anew")
    assert len(edited.report.entries) == 8 and BLUE in [entry.asked for entry in edited.report.entries]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "Nothing is asked for"),
        ({"swaps": {}, "pins": (), "regions": []}, "Nothing is asked for"),
        ({"swaps": SWAP, "n_colors": 0}, "n_colors"),
        ({"swaps": SWAP, "way": "otherwise"}, "no way 'otherwise': choose change, anew, move"),
        ({"swaps": SWAP, "settings": Settings(keep_palette="exact")}, "give way='anew'"),
        ({"swaps": {"no colour": RED}}, "not a colour"),
        ({"swaps": {RED: "no colour"}}, "not a colour"),
        ({"swaps": SWAP, "pins": [((500, 1), RED)]}, "not on the photo"),
        ({"swaps": SWAP, "pins": [(1, 1)]}, "not a pin|not a point"),
        ({"pins": [((1, 1), RED), ((1, 1), BLUE)]}, "share the pixel"),
        ({"swaps": SWAP, "regions": [Region(RED, box=(0, 0, 500, 2))]}, "box"),
        ({"swaps": SWAP, "regions": [Region("no colour", box=(0, 0, 5, 2))]}, "not a colour"),
        ({"swaps": SWAP, "regions": [Region(RED, area=np.zeros((24, 36)))]}, "empty"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_painted(
    photo: Original, arguments: dict[str, Any], sentence: str
) -> None:
    def never(*step: Any) -> None:
        raise AssertionError

    with pytest.raises(InputError, match=sentence):
        repaint(photo, **arguments, watch=never)


@pytest.mark.parametrize(
    ("place", "key"),
    [("edit", "n_colors"), ("edit", "way"), ("pin", "at"), ("swap", "to"), ("region", "color"), ("region", "area")],
)
def test_damaged_recipes_are_refused_in_one_sentence(photo: Original, place: str, key: str) -> None:
    what: dict[str, Any] = {"swaps": SWAP, "pins": [((65, 5), RED)], "regions": [Region(GOLD, area=_area())]}
    content = yaml.safe_load(str(repaint(photo, **what, way="move").recipe))
    edit = content["edit"]
    del {"edit": edit, "pin": edit["pins"][0], "swap": edit["swaps"][0], "region": edit["regions"][0]}[place][key]
    with pytest.raises(InputError, match="The recipe is damaged"):
        replay(photo, Recipe.parse(yaml.safe_dump(content)))


def test_a_recipe_of_a_photo_without_width_is_damaged(photo: Original) -> None:
    content = yaml.safe_load(str(repaint(photo, pins=[((65, 5), RED)]).recipe))
    content["source"]["width"] = 0
    with pytest.raises(InputError, match="The recipe is damaged"):
        replay(_resized(photo, 36, 24), Recipe.parse(yaml.safe_dump(content)))
