"""The colour that a network drew for a photo: at a scale, or as colourful as asked for, and at the photo's size."""

from typing import NamedTuple

from torch import Tensor

from dequant.color import spaces
from dequant.color.details import Details
from dequant.color.luminance import grayscale, with_lightness
from dequant.colorization.checks import MOST_SCALE
from dequant.colorization.pictures import Align, decoded, tint
from dequant.models.latent import LatentBase

TRIES, ROUNDS = 12, 3
"""Bisections of the scale, and how often it is solved for at most."""

NEAR = 0.5
"""Colourfulness by which a target may be missed."""


class Colored(NamedTuple):
    """A small coloured copy of a photo.

    Attributes:
        rgb: the copy, (3, h, w) in [0, 1].
        scale: of its colour.
        details: that carry the colour to the photo.
        relit: whether the photo's lightness takes the place of the copy's.
    """

    rgb: Tensor
    scale: float
    details: Details
    relit: bool = True

    def apply(self, photo: Tensor, top: int, height: int, levels: int | None = None) -> Tensor:
        """Some rows of the coloured photo, whose lightness L* is the photo's if it is `relit`.

        Args:
            photo: these rows of the photo, (3, H', W) in [0, 1].
            top: the number of the first of them.
            height: of the whole photo.
            levels: as in `luminance.with_lightness`.
        """
        gray = grayscale(photo)
        carried = self.details.apply(gray, top, height)
        return with_lightness(carried, gray, levels) if self.relit else carried.clamp(0, 1)


class Drawn(NamedTuple):
    """The colour of one grey photo.

    Attributes:
        base: whose decoder makes pictures.
        z_gray: latents of the photo, (1, C, h, w).
        delta: their colour.
        gray: the photo (1, 3, H, W) in [0, 1].
        align: puts the colour onto the photo.
        relit: see `Colored`.
    """

    base: LatentBase
    z_gray: Tensor
    delta: Tensor
    gray: Tensor
    align: Align = decoded
    relit: bool = True

    def at(self, scale: float) -> Colored:
        """The picture at a scale."""
        picture = self.align(self.base, self.z_gray, scale * self.delta, self.gray)[0].cpu()
        return Colored(picture, scale, Details.of(self.gray[0].cpu(), picture), self.relit)

    def reaching(self, target: float, rgb: Tensor) -> Colored:
        """The picture that is as colourful as a number at the size of the photo (3, H, W), or as near as it gets.

        The scale is solved for on the copy. Enlarging makes fine colours paler, so it is solved again for more.
        """
        wanted = float(target)
        for _ in range(ROUNDS):
            colored = self.at(_reaching(wanted, *self[:4]))
            found = float(spaces.colorfulness(colored.apply(rgb, 0, rgb.shape[1])))
            wanted *= target / max(found, 1e-3)
            if abs(found - target) < NEAR or colored.scale > MOST_SCALE - NEAR:
                break
        return colored


def _reaching(target: float, base: LatentBase, z_gray: Tensor, delta: Tensor, gray: Tensor) -> float:
    """The scale from 0 to `MOST_SCALE` whose picture is as colourful as `target`, or as near as it gets."""
    low, high, neutral = 0.0, MOST_SCALE, tint(base, z_gray, gray)
    for _ in range(TRIES):
        middle = (low + high) / 2
        found = float(spaces.colorfulness(decoded(base, z_gray, middle * delta, gray, neutral)[0]))
        low, high = (middle, high) if found < target else (low, middle)
    return (low + high) / 2
