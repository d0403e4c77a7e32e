"""Training examples of colorization: a photo and a caption that names its colours."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import cos, pi, sin
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dequant.color.luminance import in_gamut
from dequant.color.spaces import colorfulness, lab_to_rgb, rgb_to_lab
from dequant.condition.captions import caption as describe
from dequant.condition.captions import thing_of
from dequant.condition.channels import check_photo
from dequant.condition.scenes import random_scene
from dequant.errors import InputError

Example = dict[str, Any]


@dataclass(frozen=True)
class RandomColoring:
    """Draw a training example of colorization from a photo and its caption.

    Attributes:
        dropout: share of the photos whose caption is left out, so that colours can be drawn without one.
        hue_share: share of the photos whose hue is turned, at their lightness; their caption says the new colours.
        scene_share: share of the examples that are drawn scenes, whose colours only the caption tells.
        min_colorfulness: a photo that is less colourful gives way to a scene; 15 is "slightly colourful" (Hasler and
            Suesstrunk, 2003).
        old_share: share of the photos made to look old: blurred, noisy and pale in contrast.
    """

    dropout: float = 0.1
    hue_share: float = 0.0
    scene_share: float = 0.0
    min_colorfulness: float = 0.0
    old_share: float = 0.0

    def __post_init__(self) -> None:
        """Refuse impossible settings with an `InputError`."""
        for name in ("dropout", "hue_share", "scene_share", "old_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} = {getattr(self, name)} is not a probability: give a number from 0 to 1.")

    def about(self, caption: str, training: bool) -> Callable[..., Example]:
        """What makes examples of a photo with this caption: at random for training, or else the two as they are."""
        return partial(self, caption=caption) if training else partial(_plain, caption=caption)

    def __call__(self, rgb: Tensor, rng: np.random.Generator, segment: Any = None, caption: str = "") -> Example:
        """Draw one example.

        Args:
            rgb: (3, H, H) in [0, 1].
            rng: source of randomness.
            segment: is not used.
            caption: of the photo.

        Returns:
            "target" (3, H, H) in [0, 1] and "caption".
        """
        check_photo(rgb)
        draws = rng.random(4)
        if draws[0] < self.scene_share or colorfulness(rgb) < self.min_colorfulness:
            scene = random_scene(rgb.shape[-1], rng)
            return {"target": scene.rgb, "caption": scene.caption}
        if draws[1] < self.hue_share:
            rgb = turned(rgb, float(rng.uniform(40, 320)))
            caption = describe(rgb, thing_of(caption))
        elif draws[2] < self.dropout:
            caption = ""
        return {"target": old(rgb, rng) if draws[3] < self.old_share else rgb, "caption": caption}


def turned(rgb: Tensor, degrees: float) -> Tensor:
    """A photo (3, H, W) with its hue turned in CIE Lab, at the same lightness."""
    light, a, b = rgb_to_lab(rgb)
    turn = degrees * pi / 180
    lab = torch.stack((light, cos(turn) * a - sin(turn) * b, sin(turn) * a + cos(turn) * b))
    return lab_to_rgb(in_gamut(lab))


def old(rgb: Tensor, rng: np.random.Generator) -> Tensor:
    """A photo (3, H, W) as an old print shows it: less sharp, less contrast, grain of one colour."""
    size, factor = list(rgb.shape[1:]), float(rng.uniform(1, 2.5))
    small = F.interpolate(rgb[None], [max(1, round(side / factor)) for side in size], mode="area")
    soft = F.interpolate(small, size, mode="bilinear")[0]
    grain = torch.from_numpy(rng.standard_normal((1, *size))).to(rgb) * float(rng.uniform(0, 0.05))
    contrast, base = float(rng.uniform(0.6, 1)), float(rng.uniform(0, 0.25))
    return (base + contrast * (1 - base) * soft + grain).clamp(0, 1)


def _plain(rgb: Tensor, rng: np.random.Generator, caption: str) -> Example:
    check_photo(rgb)
    return {"target": rgb, "caption": caption}
