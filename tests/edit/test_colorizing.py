"""Colouring as an edit: every pixel keeps its lightness, and a recipe repeats it."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dequant.color.spaces import colorfulness, rgb_to_lab
from dequant.colorization.pipeline import ColorizePipeline
from dequant.edit import colorizing
from dequant.edit.colorizing import ColorSettings, colorize
from dequant.edit.painting import as_rgb
from dequant.edit.recipe import read_recipe
from dequant.edit.replay import replay
from dequant.errors import InputError
from dequant.io.originals import Original, read_original
from tests.support import latents
from tests.support.paths import GOLDEN


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved pipeline."""
    return latents.saved(tmp_path_factory.mktemp("colorizer"))


@pytest.fixture(scope="module")
def pipe(weights: Path) -> ColorizePipeline:
    return colorizing.colorizer(str(weights))


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.open(GOLDEN / "caps.png").convert("RGB").resize((72, 48), Image.Resampling.BOX)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lightness_is_kept_after_rounding(pipe: ColorizePipeline, dtype: type) -> None:
    rng = np.random.default_rng(0)
    levels = rng.integers(0, np.iinfo(dtype).max + 1, (40, 56, 3)).astype(dtype)
    alpha = rng.integers(0, np.iinfo(dtype).max + 1, (40, 56)).astype(dtype)
    original = Original(levels, alpha)
    edited = colorize(original, scale=0.5, pipe=pipe)
    assert edited.levels.dtype == dtype and edited.levels.shape == levels.shape
    before, after = (rgb_to_lab(as_rgb(one).double())[0] for one in (levels, edited.levels))
    assert (after - before).abs().max() <= 0.25
    assert edited.original.alpha is alpha


def test_16_bits_and_transparency_are_written(pipe: ColorizePipeline, tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 65536, (12, 16, 3)).astype(np.uint16)
    alpha = np.full((12, 16), 30_000, np.uint16)
    colorize(Original(levels, alpha), pipe=pipe).save(tmp_path / "made.png")
    again = read_original(tmp_path / "made.png")
    assert again.levels.dtype == np.uint16 and again.alpha is not None and (again.alpha == alpha).all()


def test_stripes_leave_no_trace(pipe: ColorizePipeline, photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = colorize(photo, pipe=pipe).levels
    monkeypatch.setattr(colorizing, "STRIPE", 72 * 5)
    assert (colorize(photo, pipe=pipe).levels == whole).all()


def test_report_and_recipe_say_what_was_done(pipe: ColorizePipeline, photo: Image.Image, weights: Path) -> None:
    settings = ColorSettings(str(weights), guidance_scale=2.0)
    small = photo.resize((48, 32), Image.Resampling.BOX)
    edited = colorize(small, "a red car", colorfulness=20, settings=settings, pipe=pipe)
    recipe, found = edited.recipe, float(colorfulness(as_rgb(edited.levels)))
    assert found == pytest.approx(20, abs=2)
    assert recipe.operation == "colorize"
    assert recipe.edit == {"prompt": "a red car", "scale": 1.0, "colorfulness": 20}
    assert recipe.settings == asdict(settings) and recipe.settings["guidance_scale"] == 2.0
    assert recipe.result["colorfulness"] == pytest.approx(found, abs=0.01) and 0 < recipe.result["scale"] < 4
    assert any(f"colourfulness {found:.0f}" in note and "no scale" not in note for note in edited.report.notes)
    far = colorize(photo, colorfulness=150, pipe=pipe)
    assert any("no scale comes nearer to 150" in note for note in far.report.notes)


@pytest.mark.parametrize("options", [{}, {"prompt": "a red car", "scale": 0.3}, {"colorfulness": 12}])
def test_a_replay_has_the_same_bytes(photo: Image.Image, weights: Path, tmp_path: Path, options: dict) -> None:
    made = colorize(photo, **options, settings=ColorSettings(str(weights), num_inference_steps=3))
    made.save(tmp_path / "made.png")
    again = replay(photo, tmp_path / "made.png.yaml")
    again.save(tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "made.png").read_bytes()
    assert read_recipe(tmp_path / "made.png") == again.recipe == made.recipe
    assert again.report.notes == made.report.notes
    assert any("another photo" in note for note in replay(photo.rotate(180), made.recipe).report.notes)


def test_a_colourless_scale_is_grey(pipe: ColorizePipeline, photo: Image.Image) -> None:
    levels = colorize(photo, scale=0, pipe=pipe).levels.astype(int)
    assert np.abs(levels - levels.mean(2, keepdims=True)).max() <= 1


def test_wrong_arguments_are_one_sentence(pipe: ColorizePipeline, photo: Image.Image) -> None:
    for options in ({"scale": "auto"}, {"scale": 9}, {"colorfulness": -1}, {"prompt": 3}):
        with pytest.raises(InputError):
            colorize(photo, **options, pipe=pipe)
    with pytest.raises(InputError, match="for num_inference_steps"):
        ColorSettings(num_inference_steps=0)
    with pytest.raises(InputError, match="is none of these"):
        colorize(photo, settings=ColorSettings("nothing here"))


def test_damaged_recipes_are_one_sentence(photo: Image.Image, weights: Path) -> None:
    recipe = colorize(photo, settings=ColorSettings(str(weights))).recipe
    for changes in ({"edit": {"prompt": 3}}, {"edit": {"colour": 1}}, {"settings": {"steps": 3}}, {"edit": []}):
        with pytest.raises(InputError) as raised:
            replay(photo, type(recipe)(**{**recipe.__dict__, **changes}))
        assert "\n" not in str(raised.value)


def test_weights_are_loaded_once(weights: Path) -> None:
    assert colorizing.colorizer(str(weights)) is colorizing.colorizer(str(weights))
    assert torch.is_tensor(next(colorizing.colorizer(str(weights)).unet.parameters()))
