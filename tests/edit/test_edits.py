from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dequant.color.spaces import ciede2000, rgb_to_lab
from dequant.edit.edits import apply_colormap, dequantize, recolor, transfer
from dequant.edit.painting import Settings, as_rgb
from dequant.edit.regions import Region
from dequant.errors import InputError
from dequant.io.originals import Original, read_original
from tests.support.paths import GOLDEN

RED, BLUE = "#c81e1e", "#2040c0"


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.open(GOLDEN / "caps.png").convert("RGB").resize((96, 64), Image.Resampling.BOX)


def _levels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


def test_a_dequantized_photo_is_nearer_to_it_than_its_palette(photo: Image.Image) -> None:
    edited = dequantize(photo, 4)
    assert len(edited.report.entries) == 4
    assert edited.report.edges_kept > 0.9 and edited.report.false_edges < 0.1
    assert edited.image.size == photo.size


def test_a_transfer_delivers_the_palette(photo: Image.Image) -> None:
    edited = transfer(photo, ["#102040", "#f0e0c0", "#806040", "#c05030"], 4)
    assert sorted(entry.asked for entry in edited.report.entries) == ["#102040", "#806040", "#c05030", "#f0e0c0"]
    assert edited.report.in_cell is not None and edited.report.in_cell > 0.5
    assert edited.report.drift is None
    assert "delivered" in str(edited.report)


def test_an_exact_palette_has_every_pixel_in_its_cell(photo: Image.Image) -> None:
    edited = transfer(photo, [RED, BLUE, "#202020", "#e0e0e0"], 4, settings=Settings(keep_palette="exact"))
    assert edited.report.in_cell is not None and edited.report.in_cell > 0.99


def test_a_colour_map_keeps_dark_dark(photo: Image.Image) -> None:
    edited = apply_colormap(photo, "gray", 8)
    levels = _levels(edited.image).astype(int)
    assert np.abs(levels[..., 0] - levels[..., 2]).mean() < 12
    assert np.corrcoef(levels.mean(2).ravel(), _levels(photo).mean(2).ravel())[0, 1] > 0.9


def test_pins_are_met_and_what_is_unlike_stays(photo: Image.Image) -> None:
    edited = transfer(photo, pins=[((10, 10), RED)])
    (pin,) = edited.report.entries
    assert pin.off is not None and pin.off < 1
    assert edited.report.drift is not None and edited.report.drift < 1
    assert edited.recipe.weights == {}
    before, after = (rgb_to_lab(as_rgb(one)) for one in (_levels(photo), edited.levels))
    unlike = ciede2000(before, before[:, 10, 10, None, None].expand_as(before)) > 30
    assert ciede2000(before, after)[unlike].mean() < 0.5


def test_pins_that_contradict_each_other_become_local() -> None:
    image = Image.new("RGB", (80, 40), "#80a040")
    image.paste("#202020", (38, 0, 42, 40))
    edited = transfer(image, pins=[((10, 20), RED), ((70, 20), BLUE)])
    assert [round(entry.off or 0) for entry in edited.report.entries] == [0, 0]
    assert any("contradicts" in note for note in edited.report.notes)
    levels = _levels(edited.image)
    assert tuple(levels[5, 5]) == (0xC8, 0x1E, 0x1E) and tuple(levels[35, 75]) == (0x20, 0x40, 0xC0)


def test_a_swap_moves_the_colour_everywhere_and_with_its_shades() -> None:
    image = Image.fromarray(np.linspace((60, 40, 0), (240, 200, 0), 64).round().astype(np.uint8)[None].repeat(8, 0))
    edited = transfer(image, swaps={"#b08c00": "#0060c0"})
    levels = _levels(edited.image).astype(int)
    assert (levels[:, 16:, 2] > levels[:, 16:, 0]).all()
    assert np.corrcoef(levels[0].sum(1), np.arange(64))[0, 1] > 0.95


def test_regions_change_and_nothing_else_does(photo: Image.Image) -> None:
    mask = np.zeros((64, 96), np.float32)
    mask[8:24, 8:40] = 1
    edited = recolor(photo, [Region(RED, mask=mask), Region(BLUE, box=(50, 30, 90, 60))])
    levels, before = _levels(edited.image), _levels(photo)
    outside = mask == 0
    outside[30:60, 50:90] = False
    assert (levels[outside] == before[outside]).all() and (levels[~outside] != before[~outside]).any()
    assert all(entry.off is not None and entry.off < 3 for entry in edited.report.entries)
    assert edited.report.drift == edited.report.drift_p99 == 0


def test_points_find_a_thing() -> None:
    image = Image.new("RGB", (90, 60), "#a0a0a0")
    image.paste("#305020", (20, 15, 60, 45))
    levels = _levels(recolor(image, [Region(RED, points=[(40, 30)])]).image)
    assert tuple(levels[30, 40]) == (0xC8, 0x1E, 0x1E)
    assert tuple(levels[5, 5]) == (0xA0, 0xA0, 0xA0)


@pytest.mark.parametrize(("size", "bits"), [((96, 64), 8), ((900, 600), 8), ((96, 64), 16)])
def test_a_dark_thing_keeps_its_contrast_when_it_becomes_light(size: tuple[int, int], bits: int) -> None:
    """Its folds, a wave of 6 levels, do not become edges, whether the photo is its own copy or larger."""
    width, height = size
    wave = 40 + 3 * np.sin(np.arange(width) * 40 / width)
    levels = wave.round().astype(np.uint16)[None, :, None].repeat(height, 0).repeat(3, 2)
    photo = Original((257 * levels).astype(np.uint16) if bits == 16 else levels.astype(np.uint8))
    after = recolor(photo, [Region("#e0d8c0", box=(0, 0, width, height // 2))]).levels
    middle = after[height // 4].astype(float) / (257 if bits == 16 else 1)
    assert np.abs(middle.mean(0) - (0xE0, 0xD8, 0xC0)).max() < 1
    assert np.ptp(middle[:, 1]) < 8 and np.corrcoef(middle[:, 1], wave)[0, 1] > 0.9
    assert (after[height // 2 :] == photo.levels[height // 2 :]).all()


def test_labels_are_regions(photo: Image.Image) -> None:
    labels = np.zeros((64, 96), int)
    labels[:, 48:] = 7
    levels = _levels(recolor(photo, [Region(BLUE, labels=(labels, 7))]).image)
    assert (levels[:, :48] == _levels(photo)[:, :48]).all()


def test_kept_luminance_stays_within_a_quarter(photo: Image.Image) -> None:
    edited = transfer(photo, [RED, BLUE, "#f0e060"], 3, settings=Settings(luminance="keep"))
    tensors = [torch.from_numpy(one.copy()).movedim(-1, 0).double() / 255 for one in (edited.levels, _levels(photo))]
    light = [rgb_to_lab(one)[0] for one in tensors]
    assert (light[0] - light[1]).abs().max() < 0.26


def test_free_luminance_has_no_texture_of_the_photo(photo: Image.Image) -> None:
    edited = transfer(photo, [RED, BLUE, "#f0e060"], 3, settings=Settings(luminance="free"))
    kept = transfer(photo, [RED, BLUE, "#f0e060"], 3)
    assert edited.report.shading < kept.report.shading


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 2), (640, 420)])
def test_any_size_works(size: tuple[int, int]) -> None:
    image = Image.effect_noise(size, 40).convert("RGB") if min(size) > 1 else Image.new("RGB", size, "#408050")
    assert transfer(image, [RED, "#101010"], 2).image.size == size


def test_detail_of_a_large_photo_comes_back(photo: Image.Image) -> None:
    large = _levels(photo.resize((768, 512), Image.Resampling.BICUBIC)).copy()
    large[::2] = np.clip(large[::2].astype(int) + 12, 0, 255)
    levels = dequantize(Image.fromarray(large), 16).levels.astype(int)
    steps = np.diff(levels.sum(2), axis=0) - np.diff(large.astype(int).sum(2), axis=0)
    assert np.abs(steps).mean() < 3  # of the 36 that rows differ by, in three channels


def test_16_bits_and_transparency_are_kept(tmp_path: Path) -> None:
    import imagecodecs

    ramp = np.linspace(10_000, 40_000, 64 * 48).reshape(48, 64)
    pixels = np.stack([ramp, ramp * 0.8, ramp * 0.6, np.full_like(ramp, 50_000)], axis=2).astype(np.uint16)
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(pixels))
    edited = transfer(tmp_path / "deep.png", swaps={"#604c39": "#304c80"})
    assert edited.levels.dtype == np.uint16 and len(np.unique(edited.levels[..., 0])) > 256
    edited.save(tmp_path / "out.png")
    again = read_original(tmp_path / "out.png")
    assert (again.levels == edited.levels).all() and again.alpha is not None and (again.alpha == 50_000).all()
    assert (tmp_path / "out.png.yaml").is_file()


def test_an_indexed_image_keeps_its_own_palette(photo: Image.Image, tmp_path: Path) -> None:
    photo.quantize(8, dither=Image.Dither.FLOYDSTEINBERG).save(tmp_path / "dithered.gif")
    edited = dequantize(tmp_path / "dithered.gif")
    assert len(edited.report.entries) == 8
    assert len(np.unique(edited.levels.reshape(-1, 3), axis=0)) > 256


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "Nothing is asked for"),
        ({"pins": [((500, 1), RED)]}, "not on the photo"),
        ({"pins": [((1, 1), RED), ((1, 1), BLUE)]}, "share the pixel"),
        ({"pins": [(1, 1)]}, "not a pin|not a point"),
        ({"palette": [RED, BLUE], "n_colors": 2, "rank": 9}, "only 2 assignments"),
    ],
)
def test_wrong_arguments_are_refused(photo: Image.Image, arguments: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        transfer(photo, **arguments)


def test_wrong_settings_and_regions_are_refused(photo: Image.Image) -> None:
    with pytest.raises(InputError, match="luminance policy"):
        Settings(luminance="bright")
    with pytest.raises(InputError, match="spread"):
        Settings(spread=-1)
    with pytest.raises(InputError, match="one place"):
        Region(RED)
    with pytest.raises(InputError, match="box"):
        recolor(photo, [Region(RED, box=(0, 0, 500, 2))])
