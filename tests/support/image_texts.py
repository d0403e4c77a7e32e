"""An image-text model, small enough for tests."""

import torch

from dequant.models.image_text import ImageText, new_image_text

WORDS = (
    "a",
    "red",
    "blue",
    "car",
    "on",
    "grayscale",
    "photograph",
    "faded",
    "picture",
    "brownish",
    "average",
    "colors",
)


def judge() -> ImageText:
    """An untrained one."""
    torch.manual_seed(5)
    return new_image_text(WORDS, side=16, patch=8, width=32, layers=1, length=8).eval()
