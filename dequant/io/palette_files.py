"""The kinds of palette files, as readers from bytes to colours in [0, 1].

A reader raises InputError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError or struct.error
where the file is damaged, and its text is part of the sentence that the user reads.
"""

import json
import re
import struct
from collections.abc import Callable, Iterable, Iterator

import torch
from PIL import ImageColor

from dequant.color.spaces import lab_to_rgb
from dequant.io.colors import FUNCTION, Color, parse_color

UNREAD = re.compile(r"(ok)?(lab|lch)\(|color\(|hwb\(", re.IGNORECASE)


def _text(content: bytes) -> str:
    """The text of a file: Unicode with or without a byte order mark, else Windows' Latin."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    if b"\0" in content:
        raise ValueError("it is not a text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _levels(line: str) -> Color:
    """The three numbers from 0 to 255 at the start of a line."""
    red, green, blue = (int(level) for level in line.split()[:3])
    if not 0 <= min(red, green, blue) <= max(red, green, blue) <= 255:
        raise ValueError("a number is not from 0 to 255")
    return red / 255, green / 255, blue / 255


def _read_gpl(content: bytes) -> Iterator[Color]:
    lines = _text(content).splitlines()
    if not lines or lines[0].strip() != "GIMP Palette":
        raise ValueError("the first line is not 'GIMP Palette'")
    for line in lines[1:]:
        if re.match(r"\s*[-+]?\d", line):
            yield _levels(line)
        elif line.strip() and not re.match(r"\s*#|\s*\w+\s*:", line):
            raise ValueError(f"the line {line.strip()[:40]!r} begins with no number")


def _read_pal(content: bytes) -> Iterator[Color]:
    if content.startswith(b"RIFF"):
        return _read_riff(content)
    lines = _text(content).split("\n")
    if lines[0].strip() != "JASC-PAL":
        raise ValueError("it begins with neither 'JASC-PAL' nor 'RIFF'")
    rows = [line for line in lines[3:] if line.strip()]
    if len(rows) != int(lines[2]):
        raise ValueError(f"it says {int(lines[2])} colours and holds {len(rows)}")
    return (_levels(row) for row in rows)


def _read_riff(content: bytes) -> Iterator[Color]:
    """A chunk "data" of a version, a number of colours, and red, green, blue and flags of each, little-endian."""
    kind, at = content[8:12], content.find(b"data", 12)
    if kind != b"PAL " or at < 0:
        raise ValueError("it has no table of colours")
    (count,) = struct.unpack_from("<H", content, at + 10)
    for i in range(count):
        red, green, blue = struct.unpack_from("3B", content, at + 12 + 4 * i)
        yield red / 255, green / 255, blue / 255


def _read_act(content: bytes) -> Iterator[Color]:
    """256 colours of three bytes, and perhaps how many of them count."""
    if len(content) not in (768, 772):
        raise ValueError(f"it has {len(content)} bytes in place of 768 or 772")
    count = struct.unpack_from(">H", content, 768)[0] if len(content) == 772 else 256
    for i in range(count if 0 < count <= 256 else 256):
        red, green, blue = content[3 * i : 3 * i + 3]
        yield red / 255, green / 255, blue / 255


def _read_aco(content: bytes) -> Iterator[Color]:
    """Big-endian: a version, a number of colours, and the space and four numbers of each."""
    version, count = struct.unpack_from(">HH", content)
    if version not in (1, 2):
        raise ValueError(f"its version is {version} in place of 1 or 2")
    position = 4
    for _ in range(count):
        space, *numbers = struct.unpack_from(">H4H", content, position)
        position += 10
        if version == 2:
            (length,) = struct.unpack_from(">I", content, position)
            position += 4 + 2 * length
        yield _aco_color(space, numbers)


def _aco_color(space: int, numbers: list[int]) -> Color:
    first, second, third, fourth = (number / 65535 for number in numbers)
    match space:
        case 0:
            return first, second, third
        case 1:
            return parse_color(f"hsv({360 * first:.6f}, {100 * second:.6f}%, {100 * third:.6f}%)")
        case 2:
            return first * fourth, second * fourth, third * fourth  # 0 is full ink
        case 7:
            a, b = struct.unpack(">2h", struct.pack(">2H", *numbers[1:3]))
            return _of_lab(numbers[0] / 100, a / 100, b / 100)
        case 8:
            grey = 1 - numbers[0] / 10000  # 10000 is black
            return grey, grey, grey
        case _:
            raise ValueError(f"the colour space {space} is none of RGB, HSB, CMYK, Lab and grey")


def _of_lab(light: float, a: float, b: float) -> Color:
    red, green, blue = lab_to_rgb(torch.tensor((light, a, b)).view(3, 1, 1)).flatten().tolist()
    return red, green, blue


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
            return _of_lab(100 * light, a, b)
        case _:
            raise ValueError(f"the colour model {model!r} is none of RGB, Gray, CMYK and LAB")


def _read_lines(content: bytes) -> Iterator[Color]:
    """A colour per line, comments after ";" or "//"."""
    for line in _text(content).splitlines():
        text = re.split(r";|//", line)[0].strip()
        if text:
            yield parse_color(text)


def _read_txt(content: bytes) -> Iterator[Color]:
    """Likewise, where eight digits begin with alpha, as paint.net writes them."""
    text = _text(content)
    eights = re.findall(r"(?m)^\s*([0-9a-fA-F]{8})\b", text)
    if "paint.net" not in text.lower() and not all(digits.lower().startswith("ff") for digits in eights):
        raise ValueError("eight digits may be AARRGGBB or RRGGBBAA: write six, or # and eight")
    return _read_lines(re.sub(r"(?m)^(\s*)[0-9a-fA-F]{2}([0-9a-fA-F]{6})\b", r"\1\2", text).encode())


def _read_css(content: bytes) -> Iterable[Color]:
    text = re.sub(r"/\*.*?\*/|(?m:^\s*//[^\n]*)", "", _text(content), flags=re.DOTALL)
    found, variables = [], {}
    for name, value in re.findall(r"([-$@\w]+)\s*:\s*([^;{}]+)", text):
        colors = re.findall(r"#[0-9a-fA-F]{3,8}\b|[a-zA-Z]+\([^()]*\)|[a-zA-Z]+", value)
        for color in colors:
            _check_space(color)
        of_value = [color for color in colors if color.startswith("#") or FUNCTION.fullmatch(color)]
        of_value = of_value or [value.strip()] * (value.strip().lower() in ImageColor.colormap)
        found += of_value
        if name.startswith(("--", "$", "@")) and len(of_value) == 1:
            variables[name] = of_value[0]
    return [parse_color(color) for color in (variables.values() or found)]


def _check_space(text: str) -> None:
    if UNREAD.match(text):
        raise ValueError(f"{text[:40]!r} is of a colour space that is not read: write it as hex")


def _read_json(content: bytes) -> Iterator[Color]:
    """Colours in the order of the file, its numbers on one scale."""
    root = json.loads(_text(content))
    if not isinstance(root, list | dict):
        raise ValueError("it holds neither a list nor an object")
    found = list(_leaves(root))
    triples = [color for color in found if not isinstance(color, str)]
    numbers = [number for triple in triples for number in triple]
    if not all(0 <= number <= 255 for number in numbers):
        raise ValueError("a number is not from 0 to 255")
    scale = 1 if max(numbers, default=0) <= 1 else 255
    if scale == 1 and any(numbers) and not any(isinstance(number, float) for number in numbers):
        raise ValueError("its numbers are 0 and 1 only, fractions or levels: write 255, or 1.0")
    if scale == 255 and any(max(triple) <= 1 and any(number % 1 for number in triple) for triple in triples):
        raise ValueError("some colours have fractions and others levels up to 255: use one scale")
    for color in found:
        if isinstance(color, str):
            yield parse_color(color)
        else:
            red, green, blue = color
            yield red / scale, green / scale, blue / scale


def _leaves(node: object, loose: bool = True) -> Iterator[str | list[float]]:
    """The colours below a node of JSON: strings, or three numbers; `loose` where any string must be one."""
    if isinstance(node, str):
        _check_space(node)
        if loose or node.startswith("#") or FUNCTION.fullmatch(node):
            yield node
    elif isinstance(node, list) and len(node) in (3, 4) and all(_is_number(number) for number in node):
        yield node[:3]
    elif isinstance(node, list):
        for item in node:
            if not isinstance(item, str | list | dict):
                raise ValueError(f"{item!r} is not a colour")
            yield from _leaves(item)
    elif isinstance(node, dict):
        yield from _of_object(node)


def _of_object(node: dict[str, object]) -> Iterator[str | list[float]]:
    lower = {key.lower(): value for key, value in node.items()}
    if all(_is_number(lower.get(channel)) for channel in "rgb"):
        yield [lower[channel] for channel in "rgb"]  # type: ignore[misc]
        return
    direct = next((lower[key] for key in ("hex", "$value", "value", "rgb", "color") if key in lower), None)
    if isinstance(direct, str | list | dict):
        yield from _leaves(direct)
        return
    listed = next((lower[key] for key in ("palette", "colors", "colours", "swatches") if key in lower), None)
    if isinstance(listed, list | dict):
        yield from _leaves(listed)
        return
    strings = [value for value in node.values() if isinstance(value, str)]
    bare = all(re.fullmatch(r"#?([0-9a-fA-F]{6}|[0-9a-fA-F]{8})", value) for value in strings)
    for value in node.values():
        yield from _leaves(value, loose=bare)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


READERS: dict[str, Callable[[bytes], Iterable[Color]]] = {
    ".gpl": _read_gpl,
    ".pal": _read_pal,
    ".ase": _read_ase,
    ".aco": _read_aco,
    ".act": _read_act,
    ".hex": _read_lines,
    ".txt": _read_txt,
    ".css": _read_css,
    ".scss": _read_css,
    ".json": _read_json,
}
"""How a palette file is read, by its suffix."""
