"""How what DiffColor draws is put onto the grey photo (arXiv:2308.01655): by lightness alone, or by correspondences."""

from functools import cache, partial

import torch
from torch import Tensor

from dequant.color.luminance import grayscale, in_gamut
from dequant.color.spaces import lab_to_rgb, rgb_to_lab
from dequant.colorization.pictures import Align, decoded, tint
from dequant.errors import InputError
from dequant.models.aligner import Aligner, bundled, warped
from dequant.models.hub import Source
from dequant.models.latent import LatentBase

WAYS = ("luma", "correlation", "none")
"""The photo's lightness; that, with the drawn colour moved to where the photo has the same thing; what was drawn."""


def alignment(way: str) -> Align:
    """One of `WAYS`.

    Args:
        way: its name.

    Raises:
        InputError: there is no such way.
    """
    if way not in WAYS:
        raise InputError(f"There is no alignment {way!r}: choose {', '.join(WAYS)}.")
    if way == "correlation":
        return partial(matched, _aligner())
    return decoded if way == "luma" else drawn


@cache
def _aligner() -> Aligner:
    return Source(bundled()).model(None, Aligner).eval()


@torch.no_grad()
def drawn(base: LatentBase, z_gray: Tensor, delta: Tensor, gray: Tensor) -> Tensor:
    """The pictures as they are drawn, lightness and all."""
    return base.decode(z_gray + delta, gray)


@torch.no_grad()
def matched(aligner: Aligner, base: LatentBase, z_gray: Tensor, delta: Tensor, gray: Tensor) -> Tensor:
    """The photos' lightness with the chroma that the pictures have where they show the same."""
    picture = drawn(base, z_gray, delta, gray)
    flow = aligner.to(gray.device)(gray[:, :1], grayscale(picture)[:, :1])
    chroma = warped(rgb_to_lab(picture)[:, 1:] - tint(base, z_gray, gray), flow)
    lab = torch.cat([rgb_to_lab(gray)[:, :1], chroma], dim=1)
    return torch.stack([lab_to_rgb(in_gamut(one)) for one in lab])
