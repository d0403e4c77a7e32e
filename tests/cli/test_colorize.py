"""`dequant colorize`: photos are coloured, and wrong usage is one sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from dequant.cli.main import main
from dequant.color.spaces import colorfulness, rgb_to_lab
from dequant.edit.painting import as_rgb
from dequant.io.originals import read_original
from tests.support import latents
from tests.support.paths import GOLDEN


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved pipeline without a ranker."""
    return latents.saved(tmp_path_factory.mktemp("colorizer"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    image = Image.open(GOLDEN / "caps.png").convert("L").resize((48, 32), Image.Resampling.BOX)
    image.save(tmp_path / "old.png")
    return tmp_path / "old.png"


def status(*arguments: object) -> int:
    try:
        main([str(one) for one in arguments])
    except SystemExit as error:
        return int(error.code or 0)
    return 0


def test_a_grey_photo_is_coloured_and_a_replay_repeats_it(photo: Path, weights: Path) -> None:
    assert status("colorize", photo, "--weights", weights, "--prompt", "a red car", "--jobs", "0") == 0
    made = photo.with_name("old.colorize.png")
    before, after = (as_rgb(read_original(path).levels) for path in (photo, made))
    assert (rgb_to_lab(after)[0] - rgb_to_lab(before)[0]).abs().max() <= 0.25 and colorfulness(after) > 5
    again = photo.with_name("again.png")
    assert status("replay", made, photo, "-o", again, "--jobs", "0") == 0
    assert again.read_bytes() == made.read_bytes()


def test_a_folder_is_coloured(photo: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photo.parent / "album").mkdir()
    for name in ("one.png", "two.jpg"):
        Image.open(photo).save(photo.parent / "album" / name)
    (photo.parent / "album" / "broken.jpg").write_bytes(b"no photo")
    out = photo.parent / "out"
    options = ("--weights", weights, "--steps", 1, "--scale", "0.5", "--jobs", "0", "--json")
    assert status("colorize", photo.parent / "album", "-o", f"{out}/", *options) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(line["status"] for line in lines) == ["failed", "written", "written"]
    assert {path.name for path in out.iterdir() if path.suffix in (".png", ".jpg")} == {"one.png", "two.jpg"}


def test_as_colourful_as_another_photo(photo: Path, weights: Path, tmp_path: Path) -> None:
    pixels = np.full((8, 8, 3), 120, np.uint8)
    pixels[:4, :, 0] += 30
    Image.fromarray(pixels).save(tmp_path / "holiday.png")
    wanted = float(colorfulness(as_rgb(pixels)))
    for option, name in ((tmp_path / "holiday.png", "photo.png"), (wanted, "number.png")):
        out = tmp_path / name
        assert status("colorize", photo, "--weights", weights, "--colorfulness", option, "-o", out, "--jobs", "0") == 0
        assert float(colorfulness(as_rgb(read_original(out).levels))) == pytest.approx(wanted, abs=2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--scale", "much"], "Expected a number or auto for --scale, got 'much'"),
        (["--colorfulness", "no.png"], "Expected a number or the path of a photo for --colorfulness"),
        (["--guidance", "21"], "--guidance"),
        (["--steps", "0"], "--steps"),
    ],
)
def test_wrong_usage_is_one_sentence_and_2(
    photo: Path, options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status("colorize", photo, *options) == 2
    printed = capsys.readouterr().err
    assert sentence in printed and len(printed.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--scale", "9"], "Expected a number from 0 to 4 or 'auto' for scale"),
        (["--scale", "auto"], "This pipeline has no ranker"),
        (["--colorfulness", "200"], "Expected a number from 0 to 150"),
        (["--weights", "no weights"], "is none of these"),
    ],
)
def test_what_a_pipeline_refuses_is_said_for_the_photo(
    photo: Path, weights: Path, options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status("colorize", photo, "--weights", weights, *options, "--jobs", "0") == 1
    printed = capsys.readouterr().err
    assert sentence in printed and "Traceback" not in printed
    assert not photo.with_name("old.colorize.png").exists()


def test_what_is_read_stands_in_the_recipe_and_regions_are_told(photo: Path, tmp_path: Path) -> None:
    own = ("--weights", latents.saved(tmp_path / "semantic", method="semantic"), "--jobs", "0")
    read, told, again = (photo.with_name(f"{name}.png") for name in ("read", "told", "again"))
    assert status("colorize", photo, *own, "-o", read) == 0
    edit = yaml.safe_load(read.with_name("read.png.yaml").read_text())["edit"]
    assert {"prompt", "category", "regions"} <= set(edit)
    assert status("colorize", photo, *own, "-o", told, "--region", "0,0,8,8=a blue coat", "--strength", "1") == 0
    edit = yaml.safe_load(told.with_name("told.png.yaml").read_text())["edit"]
    assert [one["text"] for one in edit["regions"]] == ["a blue coat"]
    assert status("replay", told.with_name("told.png.yaml"), photo, "-o", again, "--jobs", "0") == 0
    assert again.read_bytes() == told.read_bytes() != read.read_bytes()


def test_seeds_and_wrong_regions(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = ("--weights", latents.saved(tmp_path / "semantic", method="semantic"), "--jobs", "0", "--prompt", "a car")
    made = [photo.with_name(f"{seed}.png") for seed in (1, 2)]
    for seed, path in enumerate(made, 1):
        assert status("colorize", photo, *own, "--seed", seed, "-o", path) == 0
    assert made[0].read_bytes() != made[1].read_bytes()
    capsys.readouterr()
    assert status("colorize", photo, *own, "--region", "nowhere=a car") == 2
    assert "'nowhere' is no place" in capsys.readouterr().err
    assert status("colorize", photo, *own, "--region", "0,0,9000,9=a car") == 1
    assert "is not in the photo" in capsys.readouterr().err
