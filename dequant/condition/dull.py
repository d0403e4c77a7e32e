"""Photos without their colours, and the texts that say so: what DiffColor pushes away from (arXiv:2308.01655)."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from dequant.color.luminance import grayscale, in_gamut
from dequant.color.spaces import lab_to_rgb, rgb_to_lab

BROWN = (9.0, 22.0)
"""a* and b* of the colour that timid colorizers give to everything."""


def faded(rgb: Tensor) -> Tensor:
    """A photo (3, H, W) in [0, 1] with a quarter of its chroma."""
    light, a, b = rgb_to_lab(rgb)
    return lab_to_rgb(in_gamut(torch.stack((light, a / 4, b / 4))))


def brownish(rgb: Tensor) -> Tensor:
    """A photo (3, H, W) in [0, 1] in one brown."""
    light = rgb_to_lab(rgb)[0]
    return lab_to_rgb(in_gamut(torch.stack((light, *(torch.full_like(light, value) for value in BROWN)))))


DULL: Mapping[str, Callable[[Tensor], Tensor]] = {
    "a grayscale photograph": grayscale,
    "a faded picture": faded,
    "brownish average colors": brownish,
}
"""Anti-colour texts, and what makes of a photo what they say."""
