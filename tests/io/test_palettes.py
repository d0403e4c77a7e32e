"""Palettes as text and files: every kind, damaged ones."""

import json
import struct
from pathlib import Path

import pytest
import torch

from dequant.errors import InputError
from dequant.io.palettes import load_palette

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


def riff(*colors: tuple[int, int, int]) -> bytes:
    """A palette of Windows."""
    body = struct.pack("<HH", 0x300, len(colors)) + b"".join(bytes((*color, 0)) for color in colors)
    chunk = b"data" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"PAL " + chunk


def aco(*colors: tuple[int, int, int, int, int], version: int = 1) -> bytes:
    """Swatches of Photoshop: a space and four numbers each, and a name in version 2."""
    name = struct.pack(">I", 2) + "a\0".encode("utf-16-be") if version == 2 else b""
    return struct.pack(">HH", version, len(colors)) + b"".join(struct.pack(">5H", *color) + name for color in colors)


RGB_SWATCHES = [(b"RGB ", tuple(row)) for row in EXPECTED.tolist()]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.gpl", GPL.encode()),
        ("b.GPL", ("\ufeff" + GPL.replace("\n", "\r\n")).encode()),
        ("a.ase", ase(*RGB_SWATCHES)),
        ("a.json", json.dumps(["#ff8000", "#000", "3366cc"]).encode()),
        ("c.gpl", ("\ufeff" + GPL).encode("utf-16-le")),
        ("d.gpl", GPL.replace("Dusk", "Dämmerung").encode("cp1252")),
        ("a.hex", b"ff8000\n000000\r\n; comment\n3366CC\n"),
        ("b.hex", b"#ff8000ff\n#000\n#3366cc80"),
        ("a.txt", b"; paint.net Palette File\n; name\nFFFF8000\nFF000000\n803366CC\n"),
        ("b.txt", b"ff8000\n\nblack\nrgb(51, 102, 204)\n"),
        (
            "a.css",
            b":root { --one: #ff8000; --two: rgb(0 0 0 / 50%); /* --x: #fff; */\n --three: hsl(220, 60%, 50%); }",
        ),
        ("b.css", b"a { color: #ff8000; background: black }\n.b { border: 1px solid rgba(51, 102, 204, 0.5); }"),
        ("a.scss", b"// CSS\n$a: #ff8000ff;\n$b: #000000ff;\n$c: #3366ccff;\n$g: linear-gradient(0deg, #fff, #111);"),
        ("a.pal", b"JASC-PAL\r\n0100\r\n3\r\n255 128 0\r\n0 0 0\r\n51 102 204\r\n"),
        ("b.pal", riff((255, 128, 0), (0, 0, 0), (51, 102, 204))),
        ("a.act", bytes((255, 128, 0, 0, 0, 0, 51, 102, 204)).ljust(768, b"\0") + struct.pack(">HH", 3, 0xFFFF)),
        ("a.aco", aco((0, 65535, 32896, 0, 0), (0, 0, 0, 0, 0), (0, 13107, 26214, 52428, 0))),
        ("b.aco", aco((1, 5483, 65535, 65535, 0), (8, 10000, 0, 0, 0), (2, 16384, 32768, 65535, 52429), version=2)),
        (
            "d.json",
            b'{"special": {"background": "#fff"}, "colors": {"color0": "#ff8000", "c1": "#000", "c2": "#3366cc"}}',
        ),
        ("e.json", b'{"name": "Tan", "id": "abc", "x": {"50": "#ff8000", "90": "rgb(0,0,0)"}, "y": {"z": "#3366cc"}}'),
        (
            "f.json",
            b'{"a": {"$value": "#ff8000", "x": 1}, "b": {"r": 0, "g": 0, "b": 0}, "c": {"rgb": [51, 102, 204]}}',
        ),
        ("c.css", b"--a: #ff8000; --b: #000000; --c: #3366cc; --a: hsla(30, 99%, 50%, 1); $a: #ff8000ff;"),
        ("d.css", b":root { --a: #ff8000 !important } .dark { --a: #000 } p { --b: 220 60% 50%; content: '#fff' }"),
        ("e.css", b"a { border: 1px solid #ff8000 } b { background: black } c { fill: hsl(220 60% 50%) }"),
        ("c.txt", b"# levels\n255 128 0\n0 0 0\n51 102 204\n"),
        ("d.txt", b"FFFF8000\nff000000\nff3366cc\n"),
        ("i.json", b'{"bg": "#ff8000", "color": "#000000", "accent": "#3366cc"}'),
        (
            "j.json",
            b'[{"hex": "#ff8000", "hsl": [30, 100, 50]}, {"hex": "#000"}, {"hex": "#3366cc", "lab": [1, 2, 3]}]',
        ),
        (
            "k.json",
            b'{"a": {"$value": {"colorSpace": "srgb", "components": [1, 0.5, 0]}}, "b": "#000", "c": "#3366cc"}',
        ),
        ("g.json", b"[[255, 127.5, 0], [0, 0, 0], [51, 102, 204]]"),
        ("h.json", b'{"one": "ff8000", "two": "000000", "three": "3366cc"}'),
        (
            "b.json",
            json.dumps({"palette": [[255, 128, 0], [0, 0, 0], [51, 102, 204]]}).encode(),
        ),
        ("c.json", json.dumps({"colors": [{"hex": "ff8000"}, [0.0, 0, 0], [0.2, 0.4, 0.8]]}).encode()),
    ],
)
def test_kinds(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    torch.testing.assert_close(load_palette(tmp_path / name), EXPECTED, rtol=0, atol=0.51 / 255)
    assert torch.equal(load_palette(str(tmp_path / name)), load_palette(tmp_path / name))


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
        ("a.xyz", b"#ff8000"),
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
        ("a.json", b'["#ff800"]'),
        ("a.json", b"\xff\xfe"),
        ("a.json", b"[[0, 0, 0], [1, 0, 1]]"),
        ("a.json", b"[[0.5, 0, 0], [255, 0, 0]]"),
        ("a.json", b"[[1e400, 0, 0]]"),
        ("a.json", b"[[NaN, 0, 0]]"),
        ("a.json", b"[[true, false, true]]"),
        ("a.json", b"[255, 128, 0, 0, 0, 0]"),
        ("a.json", b'{"a": "oklch(70% 0.1 20)"}'),
        ("a.json", b'{"name": "tan"}'),
        ("a.css", b":root { --a: oklch(70% 0.1 20); }"),
        ("a.css", b"p { margin: 0 }"),
        ("a.css", b":root { --a: #fff; --b: oklch(from var(--a) l c h) }"),
        ("a.json", b'[{"name": "Orange", "hsl": [30, 100, 50]}]'),
        ("a.json", b'[{"name": "Orange", "cmyk": [0, 0.5, 1, 0]}]'),
        ("a.json", b'{"a": {"$value": {"colorSpace": "oklch", "components": [0.7, 0.2, 50]}}}'),
        ("a.json", b'["255", "128", "100"]'),
        ("a.txt", b"255\n128\n100\n"),
        ("a.txt", b"ff0000ff\nff8000ff\n"),
        ("a.gpl", b"GIMP Palette\n2_5 1_0 0\n"),
        ("a.gpl", b"GIMP Palette\n255, 128, 0\n"),
        ("a.txt", b"102030ff\n405060ff\n"),
        ("a.hex", b"ff8000\nnothing\n"),
        ("a.pal", b"JASC-PAL\n0100\n3\n255 128 0\n"),
        ("a.pal", b"RIFF\4\0\0\0PAL "),
        ("a.pal", bytes(768)),
        ("a.act", bytes(700)),
        ("a.aco", b"\0\1\0\5\0\0"),
        ("a.aco", aco((3, 0, 0, 0, 0))),
        ("a.gpl", b"GIMP Palette\n-1 0 0\n"),
        ("a.gpl", b"GIMP Palette\nsome words\n1 2 3\n"),
        ("a.gpl", b"GIMP Palette\n" + b"1 2 3\n" * 200_000),
    ],
)
def test_refuses_damaged_and_unknown_files(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError):
        load_palette(tmp_path / name)


def test_refuses_missing_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give an existing palette file"):
        load_palette(tmp_path / "none.gpl")
