"""Palettes that people keep: hex strings, GIMP (.gpl), Adobe Swatch Exchange (.ase) and JSON files."""

import json
import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from dequant.color.spaces import lab_to_rgb
from dequant.errors import InputError

Color = tuple[float, float, float]


def parse_hex(colors: str | Iterable[str]) -> Tensor:
    """Read colours such as "#ff8000" or "f80".

    Args:
        colors: strings of 3 or 6 hexadecimal digits, with or without "#", or one string with several of them
            separated by commas or blanks.

    Returns:
        (n, 3) float32 in [0, 1].

    Raises:
        InputError: there is no colour, or one is not of that form.
    """
    names = re.split(r"[,;\s]+", colors.strip()) if isinstance(colors, str) else list(colors)
    return _palette([_hex_color(name) for name in names if name], "The list of hex colours")


def load_palette(path: str | Path) -> Tensor:
    """Read a palette file.

    Args:
        path: a GIMP palette (.gpl), an Adobe Swatch Exchange file (.ase) or a JSON file (.json) holding a
            list, or an object with the list under "palette" or "colors". Its entries are hex strings, [r, g,
            b] with integers from 0 to 255 or fractions from 0 to 1, or objects with the hex string under
            "hex".

    Returns:
        (n, 3) float32 in [0, 1].

    Raises:
        InputError: the file does not exist, is of another kind, is damaged or holds no colour.
    """
    path = Path(path)
    readers = {".gpl": _read_gpl, ".ase": _read_ase, ".json": _read_json}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path.name} is not a palette file: give one that ends in {', '.join(readers)}.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give an existing palette file.") from error
    try:
        colors = list(readers[path.suffix.lower()](content))
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path.name} is damaged or not a {path.suffix[1:]} palette: {error}.") from error
    return _palette(colors, path.name)


def _palette(colors: list[Color], name: str) -> Tensor:
    if not colors:
        raise InputError(f"{name} holds no colour: give at least one.")
    palette = torch.tensor(colors, dtype=torch.float64)
    if not (palette.min() >= 0 and palette.max() <= 1):
        raise InputError(f"{name} holds a colour outside the displayable range: give 0 to 255, or fractions 0 to 1.")
    return palette.float()


def _hex_color(name: str) -> Color:
    digits = name.strip().removeprefix("#")
    if not re.fullmatch(r"[0-9a-fA-F]{3}|[0-9a-fA-F]{6}", digits):
        raise InputError(f"{name!r} is not a colour: give 3 or 6 hexadecimal digits such as #ff8000.")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    red, green, blue = bytes.fromhex(digits)
    return red / 255, green / 255, blue / 255


def _read_gpl(content: bytes) -> Iterator[Color]:
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    if not lines or lines[0].strip() != "GIMP Palette":
        raise ValueError("the first line is not 'GIMP Palette'")
    for line in lines[1:]:
        if re.match(r"\s*\d", line):
            red, green, blue = (int(level) for level in line.split()[:3])
            yield red / 255, green / 255, blue / 255


def _read_json(content: bytes) -> Iterator[Color]:
    colors = json.loads(content)
    if isinstance(colors, dict):
        colors = colors["palette"] if "palette" in colors else colors["colors"]
    for color in colors:
        if isinstance(color, dict):
            color = color["hex"]
        if isinstance(color, str):
            yield _hex_color(color)
        else:
            red, green, blue = color
            scale = 255 if all(isinstance(level, int) for level in color) else 1
            yield red / scale, green / scale, blue / scale


def _read_ase(content: bytes) -> Iterator[Color]:
    """Big-endian blocks of type, length and, for colours (type 1), a UTF-16 name, a model and its numbers."""
    signature, _, _, n_blocks = struct.unpack_from(">4sHHI", content)
    if signature != b"ASEF":
        raise ValueError("the signature is not 'ASEF'")
    position = 12
    for _ in range(n_blocks):
        kind, length = struct.unpack_from(">HI", content, position)
        if kind == 1:
            (name_length,) = struct.unpack_from(">H", content, position + 6)
            model_at = position + 8 + 2 * name_length
            yield _ase_color(content[model_at : model_at + 4], content, model_at + 4)
        position += 6 + length


def _ase_color(model: bytes, content: bytes, position: int) -> Color:
    match model:
        case b"RGB ":
            return struct.unpack_from(">3f", content, position)
        case b"Gray":
            return struct.unpack_from(">f", content, position) * 3
        case b"CMYK":
            cyan, magenta, yellow, black = struct.unpack_from(">4f", content, position)
            return (1 - cyan) * (1 - black), (1 - magenta) * (1 - black), (1 - yellow) * (1 - black)
        case b"LAB ":
            light, a, b = struct.unpack_from(">3f", content, position)
            red, green, blue = lab_to_rgb(torch.tensor((100 * light, a, b)).view(3, 1, 1)).flatten().tolist()
            return red, green, blue
        case _:
            raise ValueError(f"the colour model {model!r} is none of RGB, Gray, CMYK and LAB")
