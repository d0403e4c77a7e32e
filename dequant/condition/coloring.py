"""Training examples of colorization: a photo and a caption that names its colours."""

from collections.abc import Callable
from dataclasses import dataclass, fields
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
from dequant.condition.captions import of_category, thing_of
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
        mask_share: share of the examples whose caption describes a part of the picture.
        category_share: share of the captions of photos that name the thing alone: "a photo of a car".
        unseen_share: share of the photos that no classifier looks at, so that the network has to read the caption.
    """

    dropout: float = 0.1
    hue_share: float = 0.0
    scene_share: float = 0.0
    min_colorfulness: float = 0.0
    old_share: float = 0.0
    mask_share: float = 0.0
    category_share: float = 0.0
    unseen_share: float = 0.0

    def __post_init__(self) -> None:
        """Refuse impossible settings with an `InputError`."""
        for name in (field.name for field in fields(self) if field.name != "min_colorfulness"):
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
            "target" (3, H, H) in [0, 1] and "caption"; with a `mask_share` also "mask" (1, H, H) of 0 and 1, where the
            caption holds, and with an `unseen_share` "seen" (), whether a classifier looks at it.
        """
        check_photo(rgb)
        draws = rng.random(4)
        inside = self._inside(rgb.shape[-1], rng)
        if draws[0] < self.scene_share or colorfulness(rgb) < self.min_colorfulness:
            scene = random_scene(rgb.shape[-1], rng)
            example = {"target": scene.rgb, "caption": scene.caption}
            if inside is not None:
                inside, example["caption"] = scene.part(rng.random() < 0.5)
        else:
            example = self._photo(rgb, rng, draws[1:], caption, inside)
        if self.mask_share:
            example["mask"] = _mask(inside, rgb)
        if self.unseen_share:
            example["seen"] = torch.tensor(rng.random() >= self.unseen_share)
        return example

    def _photo(self, rgb: Tensor, rng: np.random.Generator, draws: Any, caption: str, inside: Tensor | None) -> Example:
        hue, dropout, age = draws < (self.hue_share, self.dropout, self.old_share)
        if hue:
            rgb = turned(rgb, float(rng.uniform(40, 320)))
            caption = describe(rgb, thing_of(caption))
        if inside is not None:
            caption = describe(rgb, "", inside)
        elif self.category_share and not hue and rng.random() < self.category_share:
            caption = of_category(thing_of(caption))
        if dropout and not hue:
            caption = ""
        return {"target": old(rgb, rng) if age else rgb, "caption": caption}

    def _inside(self, size: int, rng: np.random.Generator) -> Tensor | None:
        """A rectangle of which a caption may tell, (size, size) of 0 and 1, with sides of an eighth at least."""
        if not self.mask_share or rng.random() >= self.mask_share:
            return None
        inside, least = torch.zeros(size, size), max(1, size // 8)
        (top, left), sides = rng.integers(0, size - least + 1, 2), rng.integers(least, size + 1, 2)
        inside[top : top + sides[0], left : left + sides[1]] = 1
        return inside


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


def _mask(inside: Tensor | None, rgb: Tensor) -> Tensor:
    return torch.ones_like(rgb[:1]) if inside is None else inside[None].to(rgb)


def _plain(rgb: Tensor, rng: np.random.Generator, caption: str) -> Example:
    check_photo(rgb)
    return {"target": rgb, "caption": caption}
