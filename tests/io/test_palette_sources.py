"""Palettes by their names: files that people bring, images whose pixels are the palette, lists, colour maps."""

import random
from pathlib import Path

import pytest
import torch
from PIL import Image

from dequant.color.palette import quantize
from dequant.errors import InputError
from dequant.io.images import read_photo
from dequant.io.palettes import count_colors, load_palette, photo_palette, read_palette
from tests.support.paths import CASES

THREE = ["#000000", "#ff8000", "#14c8ff"]

STRIP = load_palette(CASES / "strip32.gpl")


def names(palette: torch.Tensor) -> list[str]:
    return ["#{:02x}{:02x}{:02x}".format(*color) for color in (palette * 255).round().int().tolist()]


@pytest.mark.parametrize(
    ("source", "colors"),
    [
        ("js_fraction.json", ["#000000", "#ff0000", "#00ff00", "#14c8ff"]),
        ("lospec.hex", THREE),
        ("jasc.pal", THREE),
        ("swatch.aco", THREE),
        ("hex8.json", None),
        ("strip32.png", names(STRIP)),
        ("pass/tab.gpl", THREE),
        ("pass/bom.gpl", THREE),
        ("pass/latin1.gpl", THREE),
        ("pass/noname.gpl", THREE),
        ("pass/lospecapi.json", THREE),
        ("pass/grp.ase", THREE[:2]),
        ("pass/noname.ase", THREE[:2]),
        ("pass/cmyk.ase", THREE[:2]),
        ("pass/lab.ase", ["#808080", "#ff8000"]),
        ("pass/white.png", ["#ffffff"]),
    ],
)
def test_files_that_people_bring(source: str, colors: list[str] | None) -> None:
    found, counts = read_palette(CASES / source, 16)
    assert names(found) == colors if colors else len(found) > 1
    assert len(counts) == len(found)
    assert torch.equal(found, read_palette(str(CASES / source), 16)[0])


def test_clipped_repeated_and_foreign_files() -> None:
    assert len(load_palette(CASES / "pass" / "dup.json")) == 5
    assert load_palette(CASES / "pass" / "laboog.ase").max() <= 1
    with pytest.raises(InputError, match="ase"):
        load_palette(CASES / "pass" / "aseprite.ase")


@pytest.mark.parametrize("name", ["overflow.gpl", "deep.json"])
def test_huge_numbers_and_deep_nesting_are_one_sentence(name: str) -> None:
    with pytest.raises(InputError, match=name) as error:
        load_palette(CASES / "faults" / name)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_lists_and_color_maps() -> None:
    assert names(read_palette("1b2a49,e8c07d", 4)[0]) == ["#1b2a49", "#e8c07d"]
    assert names(read_palette("#fff navy rgb(1, 2, 3)", 4)[0]) == ["#ffffff", "#000080", "#010203"]
    assert len(read_palette("colormap:viridis", 7)[0]) == 7


def test_what_is_no_palette_is_one_sentence(tmp_path: Path) -> None:
    for source in ("nowhere.gpl", "nowhere.jpg", "folder/nowhere", "nowhere.xyz", Path("nowhere")):
        with pytest.raises(InputError, match=r"nowhere.*give"):
            read_palette(source, 4)
    with pytest.raises(InputError, match="'pink-ish' is not a colour"):
        read_palette("pink-ish", 4)
    (tmp_path / "a.doc").write_bytes(b"PK\3\4 and so on")
    with pytest.raises(InputError, match="is a zip archive"):
        read_palette(tmp_path / "a.doc", 4)


@pytest.mark.parametrize("scale", [1, 8])
def test_images_whose_pixels_are_the_palette_are_exact(scale: int) -> None:
    with Image.open(CASES / "strip32.png") as strip:
        large = strip.resize((32 * scale, scale), Image.Resampling.NEAREST)
    for image in (large, large.transpose(Image.Transpose.ROTATE_90), large.convert("RGBA")):
        assert set(names(photo_palette(read_photo(image), 8)[0])) == set(names(STRIP))
    assert names(photo_palette(read_photo(large), 8)[0]) == names(STRIP)


def test_palettes_of_photos_leave_out_hidden_pixels() -> None:
    photo = read_photo(CASES / "photo.png")
    alpha = torch.zeros(photo.rgb.shape[1:])
    alpha[20:60, 30:90] = 1
    half = photo._replace(alpha=alpha)
    expected = quantize(photo.rgb[:, 20:60, 30:90], 8)
    palette, counts = photo_palette(half, 8)
    assert torch.equal(palette, expected.palette)
    assert torch.equal(counts, expected.counts)
    assert count_colors(half, None) == 16 and count_colors(half, 5) == 5


KINDS = [
    "pass/tab.gpl",
    "jasc.pal",
    "lospec.hex",
    "swatch.aco",
    "js_fraction.json",
    "pass/lospecapi.json",
    "pass/grp.ase",
]


@pytest.mark.parametrize("name", KINDS)
def test_mutations_are_colors_or_one_sentence(name: str, tmp_path: Path) -> None:
    original, rng = (CASES / name).read_bytes(), random.Random(0)
    path = tmp_path / Path(name).name
    for _ in range(150):
        data = bytearray(original)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data) or 1)
            match rng.randrange(4):
                case 0:
                    data[at : at + 1] = bytes([rng.randrange(256)])
                case 1:
                    del data[at : at + rng.randrange(8)]
                case 2:
                    data[at:at] = rng.choice([b"9" * 30, b"[" * 50, b"\xff\xfe", b"\0", b"-1", b"1e999", b"#", b"\n"])
                case _:
                    data[at:at] = data[: rng.randrange(20)]
        path.write_bytes(data)
        try:
            palette = load_palette(path)
            assert palette.ndim == 2 and palette.min() >= 0 and palette.max() <= 1
        except InputError as error:
            assert path.name in str(error)
