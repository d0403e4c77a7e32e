"""Moving the colours of a photo so that chosen ones become what was asked for, and shading stays.

A colour that moves takes its likes along: lighter, darker, duller ones of the same hue. Where several move, weights
interpolate between them (radial basis functions, as in Chang et al., "Palette-based Photo Recoloring", SIGGRAPH 2015),
so that each arrives exactly. Pixels are moved, not colours of a palette: no bands can show.
"""

from typing import NamedTuple, Self

import torch
from torch import Tensor

from dequant.color.luminance import in_gamut
from dequant.color.spaces import lab_to_rgb, rgb_to_lab

REACH, LEAST = 13.0, 0.25
"""Width of the bell of features over which a colour follows another, for a spread of 1, and the height of the bell
where it ends: what is less alike stays. Chosen with `GREY_LIGHTNESS` on validation photos."""


LIGHTNESS, GREY_LIGHTNESS, CHROMA, KNEE = 0.3, 0.25, 40.0, 15.0
"""Of features: how much lightness counts, and how much more for a grey, which has no hue to tell it from others; the
chroma that they saturate towards, half of it at the knee."""


MOST, GREY = 1.5, 5.0
"""A colour moves by at most so many times the shift of its model; a model of less chroma than the second is grey."""


STRETCH = 1.25
"""By how much the contrast of lightness may grow: what is dark has much noise."""


LEAST_REACH, RIDGE = 0.5, 1e-4


class Shifts(NamedTuple):
    """Colours and what they become.

    Attributes:
        before: (P, 3) in Lab.
        after: (P, 3) in Lab.
        spread: how far their likes follow.
    """

    before: Tensor
    after: Tensor
    spread: float = 1.0

    @classmethod
    def of(cls, before: Tensor, after: Tensor, spread: float = 1.0) -> Self:
        """Of rgb (P, 3) in [0, 1]."""
        return cls(_lab(before), _lab(after), spread)

    def weights(self, lab: Tensor) -> Tensor:
        """How far colours (3, n) follow each of the P, (P, n) in [0, 1]: at the p-th itself 1 for it, else 0.

        What is like none of them follows none.
        """
        reach = max(LEAST_REACH, REACH * self.spread)
        centers = _features(self.before.T).T
        near = torch.exp(-torch.cdist(centers, centers).square() / (2 * reach**2))
        to_them = torch.exp(-torch.cdist(centers, _features(lab).T).square() / (2 * reach**2))
        found = torch.linalg.solve(near + RIDGE * torch.eye(len(near)).to(near), to_them).clamp(0, 1)
        return found * ((1 - LEAST / found.sum(0).clamp(min=LEAST)) / (1 - LEAST)).clamp(max=1)

    def apply(self, rgb: Tensor, shares: Tensor | None = None) -> Tensor:
        """Move the colours of rgb (3, H, W) in [0, 1].

        Args:
            rgb: the photo.
            shares: in place of `weights`, (P, H, W): how far each pixel follows.

        Returns:
            (3, H, W) in [0, 1].
        """
        lab = rgb_to_lab(rgb).flatten(1)
        weights = self.weights(lab) if shares is None else shares.flatten(1)
        moved = lab.clone()
        for before, after, weight in zip(self.before, self.after, weights, strict=True):
            moved += weight * (_moved(lab, before.to(lab), after.to(lab)) - lab)
        still = (weights < 1e-3).all(0).view(rgb.shape[1:])
        return torch.where(still, rgb, lab_to_rgb(in_gamut(moved.view_as(rgb))))


def contradicts(first: Tensor, second: Tensor) -> Tensor:
    """Whether two colours, rgb (3,) each, are too alike to move apart."""
    features = _features(torch.stack((_lab(first[None])[0], _lab(second[None])[0]), dim=1))
    return (features[:, 0] - features[:, 1]).norm() < REACH / 3


def _moved(lab: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Colours (3, n) moved as one like them is: lightness so that black and white stay, chroma in proportion."""
    gains = [after[0] / before[0].clamp(min=1), (100 - after[0]) / (100 - before[0]).clamp(min=1)]
    below, above = (gain.clamp(max=STRETCH) for gain in gains)
    apart = lab[0] - before[0]
    light = after[0] + apart * torch.where(apart < 0, below, above)
    model = before[1:].norm()
    share = (lab[1:].norm(dim=0) / model).clamp(max=MOST) if model > GREY else torch.ones_like(light)
    shift = (after[1:] - before[1:])[:, None] * share
    return torch.cat((light[None].clamp(0, 100), lab[1:] + shift))


def _features(lab: Tensor) -> Tensor:
    """What makes colours alike, (3, n): mostly hue, then chroma, least lightness, though more of greys."""
    chroma = lab[1:].norm(dim=0)
    lightness = (LIGHTNESS + GREY_LIGHTNESS * KNEE / (chroma + KNEE)) * (lab[:1] - 50)
    return torch.cat((lightness, CHROMA * lab[1:] / (chroma + KNEE)))


def _lab(colors: Tensor) -> Tensor:
    """Lab (P, 3) of rgb (P, 3)."""
    return rgb_to_lab(colors.float().T[:, None])[:, 0].T
