from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dequant.edit.edits import Edited, dequantize, recolor, transfer
from dequant.edit.painting import Settings
from dequant.edit.recipe import Recipe, mask_of, mask_text, read_recipe
from dequant.edit.regions import Region
from dequant.edit.replay import replay
from dequant.errors import InputError
from tests.support.paths import GOLDEN

RED, BLUE = "#c81e1e", "#2040c0"


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.open(GOLDEN / "caps.png").convert("RGB").resize((72, 48), Image.Resampling.BOX)


@pytest.fixture(scope="module")
def edited(photo: Image.Image) -> Edited:
    return transfer(photo, swaps={"#b04030": BLUE}, pins=[((10, 10), RED)])


@pytest.mark.parametrize("kind", ["dequantize", "transfer", "frequency", "recolor", "moved"])
def test_a_replay_has_the_same_bytes(photo: Image.Image, kind: str, tmp_path: Path) -> None:
    mask = np.zeros((48, 72), np.float32)
    mask[4:20, 5:30] = 0.7
    made = {
        "dequantize": lambda: dequantize(photo, 5),
        "transfer": lambda: transfer(photo, [RED, BLUE, "#e0e0e0"], 3, pins=[((3, 3), "#40a040")], rank=2),
        "frequency": lambda: transfer(photo, photo.rotate(180), 3, method="frequency", blend=0.5),
        "recolor": lambda: recolor(photo, [Region(RED, mask=mask), Region(BLUE, points=[(50, 30)])]),
        "moved": lambda: transfer(photo, swaps={"#b04030": BLUE}, settings=Settings(spread=0.5)),
    }[kind]()
    made.save(tmp_path / "made.png")
    again = replay(photo, tmp_path / "made.png.yaml")
    again.save(tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "made.png").read_bytes()
    assert again.report.notes == made.report.notes
    assert read_recipe(tmp_path / "made.png") == read_recipe(tmp_path / "made.png.yaml") == again.recipe


def test_another_photo_is_edited_alike(photo: Image.Image, edited: Edited) -> None:
    other = replay(photo.resize((144, 96)), edited.recipe)
    assert other.levels.shape == (96, 144, 3)
    assert other.report.entries[-1].off is not None and other.report.entries[-1].off < 1
    assert any("another photo" in note for note in other.report.notes)


def test_places_do_not_carry_over_to_another_shape(photo: Image.Image, edited: Edited) -> None:
    with pytest.raises(InputError, match="do not carry over"):
        replay(photo.resize((48, 72)), edited.recipe)


def test_other_weights_and_versions_are_said(photo: Image.Image) -> None:
    recipe = dequantize(photo, 3).recipe
    changed = replace(recipe, weights={**recipe.weights, "sha256": "0"}, versions={**recipe.versions, "torch": "1.0"})
    notes = replay(photo, changed).report.notes
    assert any("weights" in note for note in notes) and any("torch" in note for note in notes)


def test_masks_go_through_text() -> None:
    mask = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    assert (np.asarray(mask_of(mask_text(mask))) == np.arange(256).reshape(16, 16)).all()
    with pytest.raises(InputError, match="mask"):
        mask_of("no mask")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "YAML"),
        ("- 1", "not a recipe"),
        ("dequant_recipe: 2", "format 2"),
        ("dequant_recipe: 1\noperation: remove", "operation"),
        ("dequant_recipe: 1\noperation: transfer", "'edit' is missing"),
        ("dequant_recipe: 1\noperation: !!python/object/apply:os.system ['true']", "YAML"),
    ],
)
def test_what_is_no_recipe_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Recipe.parse(text)


def test_a_photo_has_no_recipe(photo: Image.Image, tmp_path: Path) -> None:
    photo.save(tmp_path / "plain.png")
    with pytest.raises(InputError, match="no recipe in it"):
        read_recipe(tmp_path / "plain.png")
    with pytest.raises(InputError, match="There is no recipe"):
        read_recipe(tmp_path / "missing.yaml")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), value=VALUES)
def test_damaged_recipes_are_refused_in_one_sentence(
    edited: Edited, photo: Image.Image, data: st.DataObject, value: object
) -> None:
    content = yaml.safe_load(str(edited.recipe))
    place = data.draw(st.sampled_from(["top", "edit", "settings", "source", "pins", "swaps"]))
    target = {"top": content, "pins": content["edit"]["pins"][0], "swaps": content["edit"]["swaps"][0]}.get(place)
    target = content[place] if target is None else target
    target[data.draw(st.sampled_from(sorted(target)))] = value
    try:
        replay(photo, Recipe.parse(yaml.safe_dump(content)))
    except InputError as error:
        assert "\n" not in str(error)
