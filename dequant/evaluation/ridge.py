"""Chroma by ridge regression on a classifier's features: a plain method that knows what a photo shows."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from dequant.color.luminance import grayscale, in_gamut
from dequant.color.spaces import lab_to_rgb, rgb_to_lab

SHRINKAGE = 30.0
"""Weight of the squared coefficients, for each place that is learned from; chosen on validation photos."""

PLAIN = 6
"""Numbers beside the features: lightness, height, their squares and product, and 1."""

See = Callable[[Tensor], Tensor]
"""A grey photo (3, H, W) in [0, 1] -> features (C, h, w)."""


class Ridge:
    """The chroma of photos as a linear function of features of their grey copies, of lightness and of height.

    Args:
        photos: to learn from, (3, H, W) in [0, 1].
        see: makes the features.
    """

    def __init__(self, photos: Sequence[Tensor], see: See) -> None:
        self.see, count = see, 0
        square, wanted = torch.zeros(1, 1, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)
        for rgb in photos:
            known = self._known(grayscale(rgb))
            chroma = F.adaptive_avg_pool2d(rgb_to_lab(rgb)[1:], (known.shape[1], known.shape[2])).flatten(1).T
            rows = known.flatten(1).T
            square, wanted = square + (rows.T @ rows).double(), wanted + (rows.T @ chroma).double()
            count += len(rows)
        weights = torch.full((len(square),), SHRINKAGE * count, dtype=torch.float64)
        weights[-PLAIN:] = 1e-2
        self.coefficients = torch.linalg.solve(square + torch.diag(weights), wanted).float()

    def paint(self, rgb: Tensor) -> Tensor:
        """A photo (3, H, W) in [0, 1], whose colours are not looked at, with the chroma that its features tell."""
        gray = grayscale(rgb)
        chroma = torch.einsum("chw,cd->dhw", self._known(gray), self.coefficients)
        large = F.interpolate(chroma[None], rgb.shape[1:], mode="bilinear")[0]
        return lab_to_rgb(in_gamut(torch.cat([rgb_to_lab(gray)[:1], large])))

    def _known(self, gray: Tensor) -> Tensor:
        """Features and the plain numbers behind them, (C, h, w)."""
        found = self.see(gray)
        light = F.adaptive_avg_pool2d(gray[:1], (found.shape[1], found.shape[2]))
        height = torch.linspace(-1, 1, found.shape[1])[None, :, None].expand_as(light)
        return torch.cat([found, light, light**2, height, height**2, height * light, torch.ones_like(light)])
