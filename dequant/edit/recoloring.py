"""Regions of a photo in other colours."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dequant.color.shifts import Shifts
from dequant.color.spaces import rgb_to_lab
from dequant.edit.painting import STRIPE, Layer, as_levels, as_rgb

ROUNDS = 4
"""Of moving the colour until the mean of a region is the one asked for."""


SAMPLE = 2**16
"""Pixels of a region that its mean is taken of, at most."""


def recolored(levels: NDArray[Any], masks: Sequence[NDArray[np.float32]], colors: Sequence[Tensor]) -> NDArray[Any]:
    """A photo whose regions have other mean colours and the shading that they had.

    Args:
        levels: the photo, (H, W, 3) of 8 or 16 bits.
        masks: of each region, (H, W) in [0, 1]; a later one lies on top.
        colors: (3,) in [0, 1] of each.

    Returns:
        The same; where a mask is 0, to the bit.
    """
    result, rows = levels.copy(), max(1, STRIPE // levels.shape[1])
    for mask, color in zip(masks, colors, strict=True):
        shift = _towards(levels, mask, color)
        for top in range(0, len(levels), rows):
            part = slice(top, top + rows)
            share = torch.from_numpy(mask[part])
            if share.any():
                moved = shift.apply(as_rgb(levels[part]), torch.ones(1, *share.shape))
                laid = torch.lerp(as_rgb(result[part]), moved, share)
                result[part] = np.where(mask[part, :, None] > 0, as_levels(laid, levels.dtype), result[part])
    return result


def patch(copy: Tensor, mask: NDArray[np.float32], color: Tensor) -> Layer:
    """A region of one colour without texture, for a network to fill: all pixels of the copy that the mask reaches."""
    shares = torch.nn.functional.interpolate(torch.from_numpy(mask)[None, None], copy.shape[1:], mode="area")[0, 0]
    inside = shares > 0
    return Layer(torch.where(inside, color[:, None, None], copy), 1, True, False, inside, mask)


def _towards(levels: NDArray[Any], mask: NDArray[np.float32], color: Tensor) -> Shifts:
    """The shift with which the mean of a region becomes a colour, as far as its shading lets it."""
    rows, columns = np.nonzero(mask > min(0.5, float(mask.max()) / 2))
    some = slice(None, None, max(1, len(rows) // SAMPLE))
    pixels = as_rgb(levels[rows[some], columns[some]][None])
    wanted = rgb_to_lab(color[:, None, None])[:, 0, 0]
    shift = Shifts(rgb_to_lab(pixels).mean((1, 2))[None], wanted[None])
    for _ in range(ROUNDS):
        found = rgb_to_lab(shift.apply(pixels, torch.ones(1, *pixels.shape[1:]))).mean((1, 2))
        shift = shift._replace(after=shift.after + wanted - found)
    return shift
