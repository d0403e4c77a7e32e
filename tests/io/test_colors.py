"""Colours as people write them."""

import pytest
import torch

from dequant.errors import InputError
from dequant.io.colors import parse_color, parse_colors


@pytest.mark.parametrize("colors", ["#ff8000, #000 fff", ["ff8000", "#000000", " #FFFFFF "], ("f80000", "000", "fff")])
def test_hex(colors: str | list[str] | tuple[str, ...]) -> None:
    orange = 0 if colors[0] == "f80000" else 128 / 255
    red = 248 / 255 if colors[0] == "f80000" else 1
    expected = torch.tensor([[red, orange, 0], [0, 0, 0], [1, 1, 1]])
    torch.testing.assert_close(parse_colors(colors), expected)


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("1b2a49", (27, 42, 73)),
        ("#f808", (255, 136, 0)),
        ("#ff800080", (255, 128, 0)),
        ("FF8000FF", (255, 128, 0)),
        ("rgb(255, 128, 0)", (255, 128, 0)),
        ("rgb(255 128 0 / 50%)", (255, 128, 0)),
        ("RGBA(255,128,0,.5)", (255, 128, 0)),
        ("rgb(100%, 50%, 0%)", (255, 127.5, 0)),
        ("hsl(120, 100%, 25%)", (0, 127.5, 0)),
        ("hsla(480deg 100% 25% / 1)", (0, 127.5, 0)),
        ("orange", (255, 165, 0)),
        (" RebeccaPurple ", (102, 51, 153)),
    ],
)
def test_one_color(text: str, levels: tuple[float, ...]) -> None:
    assert [255 * channel for channel in parse_color(text)] == pytest.approx(levels)


def test_lists_keep_functions_whole() -> None:
    found = parse_colors("rgb(255, 128, 0), navy;#fff 000")
    assert (found * 255).round().int().tolist() == [[255, 128, 0], [0, 0, 128], [255, 255, 255], [0, 0, 0]]


@pytest.mark.parametrize(
    "colors",
    ["", [], "#ff800", "#gggggg", ["#ff8000", "read"], "0xff8000", "rgb(256,0,0)", "rgb(1,2)", "rgb(a,b,c)",
     "rgb(-1,0,0)", "oklch(70% 0.1 20)", "#", "hsl(0, 200%, 50%)", "hsl(30, 1, 0.5)", "rgb(0.5, 0.2, 0.1)",
      "255,128,100",      "transparent", "9" * 10**5],
)  # fmt: skip
def test_others_are_refused(colors: str | list[str]) -> None:
    with pytest.raises(InputError, match="give") as error:
        parse_colors(colors)
    assert len(str(error.value)) < 200
