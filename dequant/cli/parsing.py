"""What is typed of pins, places and colours."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dequant.errors import InputError

if TYPE_CHECKING:
    from dequant.io.colors import Color

DIGITS = re.compile(r"[0-9]{1,9}")


def pixel_pins(texts: Sequence[str] | None) -> list[tuple[list[int], str]]:
    """Pixels and the colours that they become, of texts such as "120,80=#c81e1e".

    Raises:
        InputError: a text is something else, or a pixel has two colours.
    """
    pins = [(numbers(place, 2, "--pin 120,80=#c81e1e"), color) for place, color in map(pair, texts or [])]
    check_colors([color for _, color in pins])
    places = [tuple(place) for place, _ in pins]
    if twice := [place for place in places if places.count(place) > 1]:
        x, y = twice[0]
        raise InputError(f"Two pins share the pixel {x},{y}: give one colour for each pixel.")
    return pins


def swapped(texts: Sequence[str] | None) -> dict[str, str]:
    """Colours and what they become, of texts such as "#aa0000=#00aa88"."""
    pairs = [pair(text) for text in texts or []]
    known = set[Any]()
    for (old, new), (color, _) in zip(pairs, map(check_colors, pairs), strict=True):
        if color in known:
            raise InputError(f"The colour {old} is to become {new} and something else: give each colour once.")
        known.add(color)
    return dict(pairs)


def placed(text: str) -> dict[str, Any]:
    """The place of a region, of "X,Y", "LEFT,TOP,RIGHT,BOTTOM" or the path of a mask."""
    values = _whole(text)
    if len(values) in (2, 4):
        return {"points": [values]} if len(values) == 2 else {"box": values}
    if not Path(text).is_file():
        raise InputError(f"'{text}' is no place: give X,Y or LEFT,TOP,RIGHT,BOTTOM or the file of a mask.")
    return {"mask": str(Path(text).resolve())}


def pair(text: str) -> tuple[str, str]:
    """What stands before and after the last "="."""
    before, equals, after = text.rpartition("=")
    if not (before and equals and after):
        raise InputError(f"Expected something such as #aa0000=#00aa88, got {text!r}.")
    return before.strip(), after.strip()


def numbers(text: str, count: int, example: str) -> list[int]:
    """So many whole numbers between commas.

    Raises:
        InputError: the text is something else, and not as in the example.
    """
    found = _whole(text)
    if len(found) != count:
        raise InputError(f"Expected {count} whole numbers as in {example}, got {text!r}.")
    return found


def _whole(text: str) -> list[int]:
    """Numbers of decimal digits between commas; none where something else is there."""
    parts = [part.strip() for part in text.split(",")]
    return [int(part) for part in parts] if all(DIGITS.fullmatch(part) for part in parts) else []


def check_colors(colors: Sequence[str]) -> "list[Color]":
    """Colours as they are typed.

    Raises:
        InputError: one is no colour.
    """
    from dequant.io.colors import parse_color

    return [parse_color(one) for one in colors]
