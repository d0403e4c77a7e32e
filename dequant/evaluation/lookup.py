"""The mean colours of photos, the plainest way to colour others."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dequant.color.luminance import in_gamut
from dequant.color.spaces import lab_to_rgb, rgb_to_lab

BINS = (12, 8)
"""Of lightness and height."""


class Lookup(NamedTuple):
    """The mean chroma of photos, over all and by lightness and height.

    Attributes:
        mean: (2,).
        table: (2, rows, columns), sizes `BINS`.
    """

    mean: Tensor
    table: Tensor

    @classmethod
    def of(cls, photos: Sequence[Tensor]) -> "Lookup":
        """Of photos (3, H, W) in [0, 1]; a bin that none has takes the mean of all."""
        total, count = torch.zeros(2, BINS[0] * BINS[1]), torch.zeros(BINS[0] * BINS[1])
        for rgb in photos:
            lab = rgb_to_lab(rgb)
            place = _place(lab[0]).flatten()
            count += torch.bincount(place, minlength=len(count))
            for channel in range(2):
                total[channel] += torch.bincount(place, lab[1 + channel].flatten(), minlength=len(count))
        mean = total.sum(1) / count.sum()
        table = torch.where(count > 0, total / count.clamp(min=1), mean[:, None])
        return cls(mean, table.view(2, *BINS))

    def paint(self, rgb: Tensor, whole: bool) -> Tensor:
        """A photo with the mean chroma of all, or with that of its lightness and height."""
        light = rgb_to_lab(rgb)[0]
        own = self.table.flatten(1)[:, _place(light)]
        chroma = self.mean[:, None, None].expand_as(own) if whole else own
        return lab_to_rgb(in_gamut(torch.cat([light[None], chroma])))


def _place(light: Tensor) -> Tensor:
    """The bin of each pixel of a lightness (H, W)."""
    height = torch.linspace(0, BINS[1] - 1e-3, light.shape[0]).floor().long()
    return (light / 100 * (BINS[0] - 1e-3)).clamp(min=0).long() * BINS[1] + height[:, None]
