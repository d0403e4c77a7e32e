"""Palettes as text and files: every kind, damaged ones."""

import json
import struct
from pathlib import Path

import pytest
import torch

from dequant.errors import InputError
from dequant.io.palettes import load_palette, parse_hex


@pytest.mark.parametrize("colors", ["#ff8000, #000 fff", ["ff8000", "#000000", " #FFFFFF "], ("f80000", "000", "fff")])
def test_hex(colors: str | list[str] | tuple[str, ...]) -> None:
    orange = 0 if colors[0] == "f80000" else 128 / 255
    red = 248 / 255 if colors[0] == "f80000" else 1
    expected = torch.tensor([[red, orange, 0], [0, 0, 0], [1, 1, 1]])
    torch.testing.assert_close(parse_hex(colors), expected)


@pytest.mark.parametrize("colors", ["", [], "#ff80", "#gggggg", ["#ff8000", "red"], "0xff8000"])
def test_hex_refuses_other_strings(colors: str | list[str] | tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="give"):
        parse_hex(colors)


EXPECTED = torch.tensor([[255.0, 128, 0], [0, 0, 0], [51, 102, 204]]) / 255
GPL = "GIMP Palette\nName: Dusk\nColumns: 3\n# comment\n255 128   0\tOrange\n  0   0   0\n 51 102 204\tSky 7\n"


def ase(*swatches: tuple[bytes, tuple[float, ...]]) -> bytes:
    """An Adobe Swatch Exchange file with a group around its swatches."""
    name = "näme\0"
    text = struct.pack(">H", len(name)) + name.encode("utf-16-be")
    blocks = [struct.pack(">HI", 0xC001, len(text)) + text]
    for model, numbers in swatches:
        body = text + model + struct.pack(f">{len(numbers)}fH", *numbers, 2)
        blocks.append(struct.pack(">HI", 1, len(body)) + body)
    blocks.append(struct.pack(">HI", 0xC002, 0))
    return struct.pack(">4sHHI", b"ASEF", 1, 0, len(blocks)) + b"".join(blocks)


RGB_SWATCHES = [(b"RGB ", tuple(row)) for row in EXPECTED.tolist()]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.gpl", GPL.encode()),
        ("b.GPL", ("\ufeff" + GPL.replace("\n", "\r\n")).encode()),
        ("a.ase", ase(*RGB_SWATCHES)),
        ("a.json", json.dumps(["#ff8000", "#000", "3366cc"]).encode()),
        (
            "b.json",
            json.dumps({"palette": [[255, 128, 0], [0, 0, 0], [51, 102, 204]]}).encode(),
        ),
        ("c.json", json.dumps({"colors": [{"hex": "ff8000"}, [0.0, 0, 0], [0.2, 0.4, 0.8]]}).encode()),
    ],
)
def test_kinds(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    torch.testing.assert_close(load_palette(tmp_path / name), EXPECTED)
    torch.testing.assert_close(load_palette(str(tmp_path / name)), EXPECTED)


def test_color_models_of_adobe(tmp_path: Path) -> None:
    swatches = [
        (b"Gray", (0.25,)),
        (b"CMYK", (0.0, 0.5, 1.0, 0.2)),
        (b"LAB ", (1.0, 0.0, 0.0)),
        RGB_SWATCHES[0],
    ]
    (tmp_path / "models.ase").write_bytes(ase(*swatches))
    expected = torch.tensor([[0.25, 0.25, 0.25], [0.8, 0.4, 0], [1, 1, 1], [1, 128 / 255, 0]])
    torch.testing.assert_close(load_palette(tmp_path / "models.ase"), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b"#ff8000"),
        ("a.gpl", b""),
        ("a.gpl", b"JASC-PAL\n0100\n1\n255 128 0\n"),
        ("a.gpl", b"GIMP Palette\n"),
        ("a.gpl", b"GIMP Palette\n255 128\n"),
        ("a.gpl", b"GIMP Palette\n256 0 0\n"),
        ("a.ase", b""),
        ("a.ase", b"ASEX" + ase(*RGB_SWATCHES)[4:]),
        ("a.ase", ase(*RGB_SWATCHES)[:60]),
        ("a.ase", ase((b"HSB ", (0.0, 0.0, 0.0)))),
        ("a.ase", ase((b"RGB ", (0.0, float("nan"), 0.0)))),
        ("a.ase", ase()),
        ("a.json", b"{"),
        ("a.json", b"[]"),
        ("a.json", b"7"),
        ("a.json", b'{"swatches": []}'),
        ("a.json", b"[[0, 1]]"),
        ("a.json", b"[[0, 1, 300]]"),
        ("a.json", b'["#ff80"]'),
        ("a.json", b"\xff\xfe"),
    ],
)
def test_refuses_damaged_and_unknown_files(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError):
        load_palette(tmp_path / name)


def test_refuses_missing_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give an existing palette file"):
        load_palette(tmp_path / "none.gpl")
