"""Dull photos: what is left of their colours."""

import torch

from dequant.color.luminance import grayscale
from dequant.color.spaces import rgb_to_lab
from dequant.condition.dull import BROWN, DULL, brownish, faded

RGB = 0.35 + 0.3 * torch.rand(3, 6, 7, generator=torch.Generator().manual_seed(0))


def test_faded_photos_have_a_quarter_of_the_chroma() -> None:
    quarter = torch.tensor([1, 0.25, 0.25])[:, None, None]
    torch.testing.assert_close(rgb_to_lab(faded(RGB)), rgb_to_lab(RGB) * quarter, atol=0.02, rtol=0)


def test_brownish_photos_are_of_one_brown() -> None:
    light, a, b = rgb_to_lab(brownish(RGB))
    torch.testing.assert_close(light, rgb_to_lab(RGB)[0], atol=0.02, rtol=0)
    for channel, value in zip((a, b), BROWN, strict=True):
        torch.testing.assert_close(channel, torch.full_like(channel, value), atol=0.02, rtol=0)
    assert BROWN == (9, 22)


def test_texts_say_what_is_made() -> None:
    made = {text.split()[-1]: change for text, change in DULL.items()}
    assert made == {"photograph": grayscale, "picture": faded, "colors": brownish}
