"""Guidance by regions: parts of a picture follow texts of their own (arXiv:2404.16678, section 3.3).

Equation 5 of the document, `sum over i of [z (1 - M_i) + z_i M_i]`, counts the background once for each of k regions:
three regions make it three times as large. Here it is counted once, and regions do not overlap:
`z (1 - sum of M_i) + sum of z_i M_i`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from dequant.errors import InputError

MOST = 8
"""Regions at most, each of which costs another pass of the network."""


def disjoint(masks: Sequence[Tensor], size: tuple[int, int]) -> tuple[list[int], Tensor]:
    """Masks at the size of latents, without overlaps: smaller ones lie on top of larger ones.

    Args:
        masks: (H, W) in [0, 1] or bool.
        size: of the latents.

    Returns:
        The numbers of the masks that are left, and these, (k, h, w) of 0 and 1. Masks of which nothing is left at this
        size, or that others cover, are dropped, and the smallest ones above `MOST`.

    Raises:
        InputError: a mask is not (H, W).
    """
    for mask in masks:
        if mask.ndim != 2:
            raise InputError(f"Expected a mask (H, W), got {tuple(mask.shape)}.")
    small = [F.interpolate(mask[None, None].float(), size, mode="area")[0, 0] >= 0.5 for mask in masks]
    areas = [int(mask.sum()) for mask in small]
    order = sorted((number for number in range(len(small)) if areas[number]), key=lambda n: (-areas[n], n))[:MOST]
    owner = torch.full(size, -1)
    for number in order:
        owner[small[number]] = number
    kept = sorted(number for number in order if (owner == number).any())
    return kept, torch.stack([(owner == number).float() for number in kept]) if kept else torch.zeros(0, *size)


def merged(z: Tensor, parts: Tensor, masks: Tensor) -> Tensor:
    """Latents whose regions are replaced.

    Args:
        z: (1, C, h, w).
        parts: what each region's own text makes of all, (k, C, h, w).
        masks: from `disjoint`, (k, h, w).
    """
    own = masks[:, None].to(z)
    return z * (1 - own.sum(0)) + (parts * own).sum(0)


def guided_steps(strength: float, steps: int) -> int:
    """How many of the steps, from the first on, follow the regions: those with `t > T (1 - strength)`, one at least.

    None do with a strength of 0.

    Raises:
        InputError: `strength` is not from 0 to 1.
    """
    if not 0 <= strength <= 1:
        raise InputError(f"Expected a strength of regions from 0 to 1, got {strength}.")
    return max(round(strength * steps), int(strength > 0))
