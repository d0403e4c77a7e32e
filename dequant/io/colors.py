"""Colours as people write them: hexadecimal, CSS functions, names."""

import colorsys
import re
from collections.abc import Iterable, Sequence

import torch
from PIL import ImageColor
from torch import Tensor

from dequant.errors import InputError

Color = tuple[float, float, float]


HEX = re.compile(r"#?([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})", re.IGNORECASE)

FUNCTION = re.compile(r"(rgb|hsl|hsv)a?\(([^()]*)\)", re.IGNORECASE)

NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:%|deg)?")

ITEM = re.compile(r"[a-zA-Z]+\([^()]*\)|[^\s,;]+")


def parse_color(text: str) -> Color:
    """Read one colour; its alpha, where it has one, is left out.

    Args:
        text: 3, 4, 6 or 8 hexadecimal digits, with or without "#"; rgb(255, 128, 0), rgb(100% 50% 0%), hsl() or hsv(),
            with commas or blanks; or a name of CSS, such as "orange".

    Returns:
        Red, green and blue in [0, 1].

    Raises:
        InputError: it is none of these.
    """
    text = text.strip()
    if digits := HEX.fullmatch(text):
        found = digits[1] if len(digits[1]) > 4 else "".join(2 * digit for digit in digits[1])
        red, green, blue = bytes.fromhex(found[:6])
        return red / 255, green / 255, blue / 255
    try:
        if function := FUNCTION.fullmatch(text):
            return _of_function(function[1].lower(), function[2])
        if text.lower() in ImageColor.colormap:
            red, green, blue = ImageColor.getrgb(text.lower())[:3]
            return red / 255, green / 255, blue / 255
    except ValueError:
        pass
    shown = text if len(text) <= 40 else f"{text[:40]}..."
    raise InputError(f"{shown!r} is not a colour: give one such as #ff8000, rgb(255, 128, 0) or orange.")


def parse_colors(colors: str | Iterable[str]) -> Tensor:
    """Read several colours.

    Args:
        colors: strings that `parse_color` reads, or one string with several of them separated by commas or blanks.

    Returns:
        (n, 3) float32 in [0, 1].

    Raises:
        InputError: there is no colour, or one cannot be read.
    """
    names = [name for name in (ITEM.findall(colors) if isinstance(colors, str) else colors) if name]
    check_notation(names)
    found = [parse_color(name) for name in names]
    if not found:
        raise InputError("The list of colours is empty: give at least one, such as #ff8000.")
    return torch.tensor(found)


def check_notation(names: Sequence[str]) -> None:
    """Raise `InputError` where names may be levels from 0 to 255 or hexadecimal digits, as in 255, 128, 100."""
    if len(names) >= 3 and all(re.fullmatch(r"\d{1,3}", name.strip()) and int(name) <= 255 for name in names):
        raise InputError(f"{', '.join(names[:3])} may be levels or hexadecimal digits: give rgb(...) or #...")


def _of_function(name: str, arguments: str) -> Color:
    """Colour of a CSS function.

    Raises:
        ValueError: a number is missing, or out of range.
    """
    parts = re.split(r"[\s,/]+", arguments.strip())
    if len(parts) not in (3, 4) or not all(
        NUMBER.fullmatch(part.removesuffix("%").removesuffix("deg")) for part in parts
    ):
        raise ValueError
    if name == "rgb":
        if any("." in part and 0 < float(part) <= 1 for part in parts[:3] if not part.endswith(("%", "deg"))):
            raise ValueError  # fractions of 1 are not CSS
        red, green, blue = (float(p[:-1]) / 100 if p.endswith("%") else float(p) / 255 for p in parts[:3])
        if not (min(red, green, blue) >= 0 and max(red, green, blue) <= 1):
            raise ValueError
        return red, green, blue
    hue, (share, light) = float(parts[0].removesuffix("deg")) % 360 / 360, map(_share, parts[1:3])
    return colorsys.hls_to_rgb(hue, light, share) if name == "hsl" else colorsys.hsv_to_rgb(hue, share, light)


def _share(part: str) -> float:
    """A percentage in [0, 1]; its sign may be left out, but not where it could be a fraction."""
    share = float(part.removesuffix("%")) / 100
    if not 0 <= share <= 1 or (0 < share <= 0.01 and not part.endswith("%")):
        raise ValueError
    return share


def to_hex(color: Tensor) -> str:
    """A colour (3,) in [0, 1] as "#rrggbb"."""
    return "#{:02x}{:02x}{:02x}".format(*(color * 255).round().int().tolist())
