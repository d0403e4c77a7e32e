"""What people bring, through the commands."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dequant.cli.main import main
from tests.support.paths import CASES, ROOT

PHOTO = str(CASES / "photo.png")

THREE = ["#000000", "#ff8000", "#14c8ff"]


def palette_of(out: Path, *arguments: str) -> list[str]:
    """The palette that `dequant inspect` finds."""
    main(["inspect", *arguments, "--out", str(out)])
    return json.loads((out / "palette.json").read_text())["palette"]


def target_of(out: Path, reference: str, *more: str) -> list[str]:
    """The palette that `dequant match` reads."""
    main(["palette", "match", PHOTO, reference, "--out", str(out), *more])
    return json.loads((out / "match.json").read_text())["target_palette"]


@pytest.mark.parametrize(
    ("reference", "colors"),
    [
        (str(CASES / "js_fraction.json"), ["#000000", "#ff0000", "#00ff00", "#14c8ff"]),
        (str(CASES / "lospec.hex"), THREE),
        (str(CASES / "jasc.pal"), THREE),
        (str(CASES / "swatch.aco"), THREE),
        ("1b2a49,e8c07d", ["#1b2a49", "#e8c07d"]),
        ("#1b2a49,#e8c07d", ["#1b2a49", "#e8c07d"]),
        ("navy, rgb(1, 2, 3)", ["#000080", "#010203"]),
    ],
)
def test_match_reads_palettes(reference: str, colors: list[str], tmp_path: Path) -> None:
    assert target_of(tmp_path, reference, "-n", "4") == colors


def test_match_drops_alpha(tmp_path: Path) -> None:
    written = json.loads((CASES / "hex8.json").read_text())
    assert target_of(tmp_path, str(CASES / "hex8.json")) == [color[:7].lower() for color in written]


def test_match_takes_all_colors_of_a_strip(tmp_path: Path) -> None:
    strip = target_of(tmp_path / "image", str(CASES / "strip32.png"))
    assert strip == target_of(tmp_path / "file", str(CASES / "strip32.gpl")) and len(strip) == 32


@pytest.mark.parametrize("name", ["p3_photo.jpg", "p3_photo.png"])
def test_inspect_converts_display_p3(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = palette_of(tmp_path, str(CASES / name), "-n", "2")
    for color, expected in zip(sorted(found), ("#3c8c5a", "#c8503c"), strict=True):
        levels = zip(bytes.fromhex(color[1:]), bytes.fromhex(expected[1:]), strict=True)
        assert max(abs(a - b) for a, b in levels) <= 2
    assert "converted from Display P3 like to sRGB" in capsys.readouterr().out
    assert Image.open(tmp_path / "quantized.png").info["icc_profile"]


@pytest.mark.parametrize("quantizer", ["median_cut", "kmeans", "octree"])
def test_inspect_finds_the_colors_of_a_sprite(quantizer: str, tmp_path: Path) -> None:
    found = palette_of(tmp_path, str(CASES / "pass" / "sprite.png"), "-n", "4", "--quantizer", quantizer)
    assert set(found) == {"#faf01e", "#e6b48c", "#28783c", "#141414"}


@pytest.mark.parametrize(("name", "colors"), [("white.png", {"#ffffff"}), ("bw7525.png", {"#ffffff", "#000000"})])
def test_inspect_finds_few_colors(name: str, colors: set[str], tmp_path: Path) -> None:
    assert set(palette_of(tmp_path, str(CASES / "pass" / name), "-n", "2")) == colors


def test_hidden_pixels_are_no_colors_and_stay_hidden(tmp_path: Path) -> None:
    pixels = np.zeros((20, 20, 4), np.uint8)
    pixels[:10] = (200, 80, 60, 255)
    pixels[10:] = (0, 255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "cut.png")
    assert palette_of(tmp_path / "out", str(tmp_path / "cut.png"), "-n", "4") == ["#c8503c"]
    written = np.asarray(Image.open(tmp_path / "out" / "quantized.png"))
    assert np.array_equal(written[..., 3], pixels[..., 3])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["inspect", str(CASES / "faults" / "lie_13000.jpg")], "too many pixels"),
        (["palette", "match", PHOTO, str(CASES / "faults" / "overflow.gpl")], "overflow.gpl"),
        (["palette", "match", PHOTO, str(CASES / "faults" / "deep.json")], "deep.json"),
        (["palette", "match", PHOTO, str(CASES / "pass" / "aseprite.ase")], "aseprite.ase"),
        (["inspect", str(CASES / "lospec.hex")], "is not an image"),
    ],
)
def test_bad_files_are_one_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--out", str(tmp_path / "out")])
    (error,) = capsys.readouterr().err.splitlines()
    assert end.value.code == 1 and error.startswith("error: ") and sentence in error
    assert not (tmp_path / "out").exists()


def test_the_page_of_inputs_names_every_suffix() -> None:
    from dequant.io.formats import MAX_PIXELS, RAW, SUFFIXES
    from dequant.io.palette_files import READERS
    from dequant.io.palettes import MAX_BYTES

    page = (ROOT / "docs" / "inputs.md").read_text()
    named = set(re.findall(r"`(\.\w+)`", page))
    assert named == {*SUFFIXES, *READERS, *RAW, ".heic", ".heif", ".gif"}
    assert f"{MAX_PIXELS // 10**6} megapixels" in page and f"{MAX_BYTES // 2**20} MiB" in page
