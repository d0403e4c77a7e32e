"""Drawn scenes of one thing on a ground, whose lightness says nothing of their colours: only a caption can."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dequant.color.luminance import in_gamut
from dequant.color.spaces import lab_to_rgb

HUES = {"red": 30, "orange": 62, "yellow": 95, "green": 142, "turquoise": 195, "blue": 270, "purple": 310, "pink": 352}
"""Hue angles in CIE Lab, in degrees, of the words in captions."""

SHAPES = ("disc", "square", "triangle", "ring", "diamond")

CHROMA = 60.0
"""In CIE Lab, reduced where sRGB holds less at the lightness of a pixel."""

LIGHT = (40.0, 75.0)
"""Range of the lightness L*, for all words alike."""


class Scene(NamedTuple):
    """A drawn scene.

    Attributes:
        rgb: (3, size, size) in [0, 1].
        caption: such as "a red disc on blue".
        inside: the pixels of the thing, (size, size) bool.
        word: the colour of the thing.
        ground: the word of the ground's colour.
    """

    rgb: Tensor
    caption: str
    inside: Tensor
    word: str
    ground: str

    def part(self, thing: bool) -> tuple[Tensor, str]:
        """The pixels of the thing or of the ground, and what they show: "a red disc", "blue"."""
        return (self.inside, self.caption.partition(" on ")[0]) if thing else (~self.inside, self.ground)


def random_scene(size: int, rng: np.random.Generator) -> Scene:
    """Draw a scene with a shape of one colour on a ground of another, both with a random lightness and texture."""
    word, ground = (str(one) for one in rng.choice(list(HUES), 2, replace=False))
    shape = str(rng.choice(SHAPES))
    inside = _inside(shape, size, rng)
    light = torch.where(inside, _texture(size, rng), _texture(size, rng))
    caption = f"{'an' if word[0] in 'aeiou' else 'a'} {word} {shape} on {ground}"
    return Scene(colored(light, inside, word, ground), caption, inside, word, ground)


def colored(light: Tensor, inside: Tensor, word: str, ground: str) -> Tensor:
    """A picture of lightness L* `light` (H, W) with the hue of one word inside and that of another outside."""
    angle = torch.where(inside, HUES[word], HUES[ground]).to(light) * (np.pi / 180)
    return lab_to_rgb(in_gamut(torch.stack((light, CHROMA * angle.cos(), CHROMA * angle.sin()))))


def _texture(size: int, rng: np.random.Generator) -> Tensor:
    """Smooth lightness about a random mean, (size, size)."""
    low, high = LIGHT
    waves = sum(
        rng.uniform(1, 4) * F.interpolate(_noise(side, rng), (size, size), mode="bicubic")[0, 0] for side in (3, 6, 12)
    )
    return (float(rng.uniform(low + 5, high - 5)) + torch.as_tensor(waves)).clamp(low, high)


def _noise(side: int, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.standard_normal((1, 1, side, side))).float()


def _inside(shape: str, size: int, rng: np.random.Generator) -> Tensor:
    """Pixels of a shape of a random place, size and turn."""
    steps = torch.linspace(-1, 1, size)
    centre, radius, turn = rng.uniform(-0.35, 0.35, 2), float(rng.uniform(0.35, 0.6)), float(rng.uniform(0, 2 * np.pi))
    y, x = steps[:, None] - float(centre[0]), steps[None] - float(centre[1])
    u, v = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    distance = (x**2 + y**2).sqrt()
    return {
        "disc": distance < radius,
        "ring": (distance < radius) & (distance > radius / 2),
        "square": torch.maximum(u.abs(), v.abs()) < 0.85 * radius,
        "diamond": u.abs() + 1.8 * v.abs() < 1.2 * radius,
        "triangle": (v > -radius / 2) & (v + 1.7 * u.abs() < radius),
    }[shape]
