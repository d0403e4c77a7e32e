"""Regions of a photo in other colours.

All colours of a region move, by which the contrast of a dark thing that becomes light grows, and that of a light one
that becomes dark shrinks. So the differences of brightness between its pixels are then held to those of the photo, by
least squares; across its border they are free. That is solved for on a small copy and carried to the photo.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dequant.color import guided
from dequant.color.details import Details
from dequant.color.shifts import Shifts
from dequant.color.spaces import rgb_to_lab
from dequant.condition.texture_lines import GRAY
from dequant.edit.painting import STRIPE, Layer, as_levels, as_rgb

ROUNDS = 4
"""Of moving the colour until the mean of a region is the one asked for."""


STIFFNESS = 16.0
"""Weight of the differences of brightness where that of brightness is 1."""


SAMPLE = 2**16
"""Pixels of a region that its mean is taken of, at most."""


def recolored(
    levels: NDArray[Any], copy: Tensor, masks: Sequence[NDArray[np.float32]], colors: Sequence[Tensor]
) -> NDArray[Any]:
    """A photo whose regions have other mean colours and the shading that they had.

    Args:
        levels: the photo, (H, W, 3) of 8 or 16 bits.
        copy: of it, from `painting.small_copy`.
        masks: of each region, (H, W) in [0, 1]; a later one lies on top.
        colors: (3,) in [0, 1] of each.

    Returns:
        The same; where a mask is 0, to the bit.
    """
    result, rows = levels.copy(), max(1, STRIPE // levels.shape[1])
    for mask, color in zip(masks, colors, strict=True):
        shift, held = _planned(levels, copy, mask, color)
        for top in range(0, len(levels), rows):
            part = slice(top, top + rows)
            share = torch.from_numpy(mask[part])
            if share.any():
                photo = as_rgb(levels[part])
                moved = _moved(photo, shift) + 2 * held.apply(photo, top, len(levels)) - 1
                laid = torch.lerp(as_rgb(result[part]), moved.clamp(0, 1), share)
                result[part] = np.where(mask[part, :, None] > 0, as_levels(laid, levels.dtype), result[part])
    return result


def patch(copy: Tensor, mask: NDArray[np.float32], color: Tensor) -> Layer:
    """A region of one colour without texture, for a network to fill: all pixels of the copy that the mask reaches."""
    inside = _shares(copy, mask) > 0
    return Layer(torch.where(inside, color[:, None, None], copy), 1, True, False, inside, mask)


def _planned(levels: NDArray[Any], copy: Tensor, mask: NDArray[np.float32], color: Tensor) -> tuple[Shifts, Details]:
    """The shift of a region, and what brightness is added to it: 0.5 plus a half of it, as a picture."""
    rows, columns = np.nonzero(mask > _most(mask))
    some = slice(None, None, max(1, len(rows) // SAMPLE))
    pixels = as_rgb(levels[rows[some], columns[some]][None])
    wanted = rgb_to_lab(color[:, None, None])[:, 0, 0]
    shift = _towards(wanted, Shifts(_mean(pixels)[None], wanted[None]), pixels)
    shares = _shares(copy, mask)
    inside, core = shares > 0, shares > _most(shares)
    added = _held(copy, _moved(copy, shift), inside)
    seen = copy[:, core][:, None]
    apart = _mean(_moved(seen, shift)) - _mean(_moved(pixels, shift))  # a copy mixes the colours of neighbours
    shift = _towards(wanted + apart, shift, seen, added[core])
    return shift, Details.of(copy, (0.5 + added / 2).expand(3, -1, -1), inside)


def _held(copy: Tensor, moved: Tensor, inside: Tensor) -> Tensor:
    """The grey (h, w) to add to moved colours for the copy's differences of brightness; 0 outside."""
    grey, wanted = (torch.tensordot(copy.new_tensor(GRAY), one, 1) for one in (moved, copy))
    stiffness = STIFFNESS * (inside & (guided.differences(inside.float()) == 0))
    found = guided.with_differences(grey[None], guided.differences(wanted)[None], stiffness, inside)[0]
    return torch.where(inside, found - grey, 0)


def _towards(wanted: Tensor, shift: Shifts, pixels: Tensor, added: Tensor | float = 0.0) -> Shifts:
    """The shift with which the mean of pixels (3, 1, n) becomes a colour in Lab, as far as their shading lets it."""
    for _ in range(ROUNDS):
        found = _mean((_moved(pixels, shift) + added).clamp(0, 1))
        shift = shift._replace(after=shift.after + wanted - found)
    return shift


def _moved(rgb: Tensor, shift: Shifts) -> Tensor:
    return shift.apply(rgb, torch.ones(1, *rgb.shape[1:]))


def _mean(rgb: Tensor) -> Tensor:
    """In Lab."""
    return rgb_to_lab(rgb).mean((1, 2))


def _shares(copy: Tensor, mask: NDArray[np.float32]) -> Tensor:
    """How much of each pixel of the copy is in a region, (h, w)."""
    return torch.nn.functional.interpolate(torch.from_numpy(mask)[None, None], copy.shape[1:], mode="area")[0, 0]


def _most(mask: Any) -> float:
    """Where a soft mask counts as inside: above this."""
    return min(0.5, float(mask.max()) / 2)
