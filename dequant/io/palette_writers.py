"""Palette files that are written, one function for each suffix; `dequant.io.palette_files` reads them all."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from dequant.color.rgb import to_uint8
from dequant.errors import InputError
from dequant.io.colors import to_hex
from dequant.io.files import whole_path

Levels = list[list[int]]


def save_palette(palette: Tensor, path: str | Path) -> None:
    """Write a palette (K, 3) in [0, 1] into a file, whole or not at all; the suffix says which kind.

    Raises:
        InputError: the suffix is not one of `WRITERS`, or the folder is missing.
    """
    path = Path(path)
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        raise InputError(f"'{path}' is no palette file that is written: use one of {', '.join(WRITERS)}.")
    if not path.parent.is_dir():
        raise InputError(f"The folder '{path.parent}' does not exist: create it first.")
    data = write(to_uint8(palette).tolist(), [to_hex(color) for color in palette], path.stem)
    with whole_path(path) as partial:
        partial.write_bytes(data)


def _gpl(levels: Levels, names: list[str], title: str) -> bytes:
    lines = [f"{r:>3} {g:>3} {b:>3}\t{name}" for (r, g, b), name in zip(levels, names, strict=True)]
    return "\n".join(["GIMP Palette", f"Name: {title}", "#", *lines, ""]).encode()


def _jasc(levels: Levels, names: list[str], title: str) -> bytes:
    lines = [" ".join(map(str, color)) for color in levels]
    return "\r\n".join(["JASC-PAL", "0100", str(len(levels)), *lines, ""]).encode()


def _hex(levels: Levels, names: list[str], title: str) -> bytes:
    return "\n".join([*(name[1:] for name in names), ""]).encode()


def _css(levels: Levels, names: list[str], title: str) -> bytes:
    return "\n".join([":root {", *(f"  --color-{i}: {name};" for i, name in enumerate(names, 1)), "}", ""]).encode()


def _json(levels: Levels, names: list[str], title: str) -> bytes:
    return (json.dumps({"name": title, "colors": names}, indent=2) + "\n").encode()


def _act(levels: Levels, names: list[str], title: str) -> bytes:
    colors = bytes(level for color in levels for level in color).ljust(768, b"\0")
    return colors + struct.pack(">HH", len(levels), 0xFFFF)


def _aco(levels: Levels, names: list[str], title: str) -> bytes:
    colors = b"".join(struct.pack(">HHHHH", 0, *(257 * level for level in color), 0) for color in levels)
    return struct.pack(">HH", 1, len(levels)) + colors


def _ase(levels: Levels, names: list[str], title: str) -> bytes:
    blocks = []
    for color, name in zip(levels, names, strict=True):
        text = (name + "\0").encode("utf-16-be")
        body = struct.pack(">H", len(name) + 1) + text + b"RGB " + struct.pack(">fff", *(x / 255 for x in color))
        blocks.append(struct.pack(">HI", 1, len(body) + 2) + body + struct.pack(">H", 2))
    return b"ASEF" + struct.pack(">HHI", 1, 0, len(blocks)) + b"".join(blocks)


WRITERS: dict[str, Callable[[Levels, list[str], str], bytes]] = {
    ".gpl": _gpl,
    ".pal": _jasc,
    ".hex": _hex,
    ".txt": _hex,
    ".css": _css,
    ".json": _json,
    ".act": _act,
    ".aco": _aco,
    ".ase": _ase,
}
"""By suffix."""
