"""Words for colours: reference colours of each word, and colours between them."""

import pytest
import torch

from dequant.color.names import FOCAL, WORDS, _focal, named
from dequant.color.rgb import check_rgb
from dequant.color.spaces import rgb_to_lab
from dequant.errors import InputError


def pixels(*codes: str) -> torch.Tensor:
    """Colours as a picture of one row."""
    return torch.tensor([[[int(code[at : at + 2], 16) / 255 for code in codes]] for at in (1, 3, 5)])


@pytest.mark.parametrize("word", WORDS)
def test_focal_colours_have_their_word(word: str) -> None:
    rgb = pixels(*FOCAL[word])
    check_rgb(rgb)
    assert [WORDS[at] for at in named(rgb).flatten()] == [word] * len(FOCAL[word])


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("#ff0000", "red"),
        ("#ff8c00", "orange"),
        ("#ffd700", "yellow"),
        ("#008000", "green"),
        ("#40e0d0", "turquoise"),
        ("#0000ff", "blue"),
        ("#87ceeb", "blue"),
        ("#800080", "purple"),
        ("#ffc0cb", "pink"),
        ("#8b4513", "brown"),
        ("#f5deb3", "beige"),
        ("#000000", "black"),
        ("#ffffff", "white"),
        ("#7f7f7f", "gray"),
    ],
)
def test_colours_that_everyone_knows(code: str, word: str) -> None:
    assert WORDS[named(pixels(code)).item()] == word


def test_pixels_are_named_where_they_are() -> None:
    rgb = torch.stack([pixels("#ff0000", "#0000ff")[:, 0], pixels("#ffffff", "#008000")[:, 0]], dim=1)
    assert [[WORDS[at] for at in row] for row in named(rgb)] == [["red", "blue"], ["white", "green"]]


def test_bytes_are_refused() -> None:
    with pytest.raises(InputError):
        named(torch.zeros(3, 2, 2, dtype=torch.uint8))


def test_colours_of_words_are_those_of_their_codes() -> None:
    colors, owners = _focal()
    codes = [code for codes in FOCAL.values() for code in codes]
    torch.testing.assert_close(colors, rgb_to_lab(pixels(*codes))[:, 0].T)
    assert [WORDS[owner] for owner in owners] == [word for word, codes in FOCAL.items() for _ in codes]
