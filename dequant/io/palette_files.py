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
from dequant.io.colors import FUNCTION, Color, check_notation, parse_color

UNREAD = re.compile(r"\b(?:(?:ok)?(?:lab|lch)|color|color-mix|hwb)\([^)]*\)?", re.IGNORECASE)

LEVELS = re.compile(r"\s*(\d{1,9})[ \t]+(\d{1,9})[ \t]+(\d{1,9})(?=\s|$)", re.ASCII)

BARE_HSL = re.compile(r"[\d.]+(deg)?\s+[\d.]+%\s+[\d.]+%")
"""A value of a CSS variable that is put into hsl() where it is used."""


NEAR = 2 / 255
"""How far rounding in another notation moves a colour."""


OTHER_MODELS = {"hsl", "hsv", "hsb", "hwb", "lab", "lch", "oklab", "oklch", "xyz", "cmyk"}


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
    found = LEVELS.match(line)
    if found is None or max(map(int, found.groups())) > 255:
        raise ValueError(f"expected three whole numbers from 0 to 255, got {line.strip()[:40]!r}")
    red, green, blue = map(int, found.groups())
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
    """A colour per line, comments after ";", "//" or "# "."""
    lines = [re.split(r";|//|#\s", line)[0].strip() for line in _text(content).splitlines()]
    lines = [line for line in lines if line]
    check_notation(lines)
    for line in lines:
        yield _levels(line) if LEVELS.fullmatch(line) else parse_color(line)


def _read_txt(content: bytes) -> Iterator[Color]:
    """Likewise, where eight digits begin with alpha, as paint.net writes them."""
    text = _text(content)
    eights = re.findall(r"(?m)^\s*([0-9a-fA-F]{8})\b", text)
    starts, ends = ([digits.lower()[place] == "ff" for digits in eights] for place in (slice(2), slice(6, 8)))
    if eights and "paint.net" not in text.lower() and (not all(starts) or all(ends)):
        raise ValueError("eight digits may be AARRGGBB or RRGGBBAA: write six, or # and eight")
    return _read_lines(re.sub(r"(?m)^(\s*)[0-9a-fA-F]{2}([0-9a-fA-F]{6})\b", r"\1\2", text).encode())


def _read_css(content: bytes) -> Iterable[Color]:
    text = re.sub(r"/\*.*?\*/|(?m:^\s*//[^\n]*)", "", _text(content), flags=re.DOTALL)
    text = re.sub(r""""[^"]*"|'[^']*'""", "", text)
    found, variables = list[Color](), list[tuple[str, Color]]()
    for name, value in re.findall(r"([-$@\w]+)\s*:\s*([^;{}]+)", text):
        _check_space(value)
        colors = [parse_color(color) for color in _css_colors(name, value.replace("!important", "").strip())]
        found += colors
        if name.startswith(("--", "$", "@")) and len(colors) == 1:
            variables.append((name.lstrip("-$@"), colors[0]))
    kept = list[tuple[str, Color]]()
    for name, color in variables:  # a file may say the same in hex, then rounded in HSL
        same = (old for known, old in kept if known == name)
        if not any(max(abs(a - b) for a, b in zip(color, old, strict=True)) < NEAR for old in same):
            kept.append((name, color))
    return [color for _, color in kept] or found


def _css_colors(name: str, value: str) -> list[str]:
    """The colours in the value of a property or a variable."""
    if BARE_HSL.fullmatch(value):
        return [f"hsl({value})"]
    items = re.findall(r"#[0-9a-fA-F]{3,8}\b|[a-zA-Z-]+\([^()]*\)|[a-zA-Z-]+", value)
    named = re.search(r"color|background|border|outline|fill|stroke|shadow|^(--|\$|@)", name) is not None
    return [
        item
        for item in items
        if item.startswith("#") or FUNCTION.fullmatch(item) or (named and item.lower() in ImageColor.colormap)
    ]


def _check_space(text: str) -> None:
    if found := UNREAD.search(text):
        raise ValueError(f"{found.group()[:40]!r} is of a colour space that is not read: write it as hex")


def _read_json(content: bytes) -> Iterator[Color]:
    """Colours in the order of the file, its numbers on one scale."""
    root = json.loads(_text(content))
    if not isinstance(root, list | dict):
        raise ValueError("it holds neither a list nor an object")
    found = list(_leaves(root))
    check_notation([color for color in found if isinstance(color, str)])
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
    if "components" in lower:
        if lower.get("colorspace", "srgb") != "srgb":
            raise ValueError(f"a colour of the space {lower['colorspace']!r} is not read: write it as hex")
        yield from _leaves(lower["components"])
        return
    key = next((key for key in ("hex", "$value", "value", "rgb", "color") if key in lower), None)
    others = [value for name, value in lower.items() if name != key and isinstance(value, str) and value[:1] == "#"]
    if key is not None and isinstance(lower[key], str | list | dict) and not others:
        yield from _leaves(lower[key])
        return
    if models := OTHER_MODELS & lower.keys():
        raise ValueError(f"colours under {min(models)!r} are not read: add them as hex")
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
