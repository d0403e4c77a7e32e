"""From coloured latents to pictures that are as light as the photo, whatever drew them."""

from collections.abc import Callable

import torch
from torch import Tensor

from dequant.color.luminance import in_gamut
from dequant.color.spaces import lab_to_rgb, rgb_to_lab
from dequant.models.latent import LatentBase

Align = Callable[[LatentBase, Tensor, Tensor, Tensor], Tensor]
"""A base, latents of grey photos, their colour, and the photos (B, 3, H, W) -> pictures of the same size."""


@torch.no_grad()
def tint(base: LatentBase, z_gray: Tensor, gray: Tensor) -> Tensor:
    """The chroma (B, 2, H, W) in Lab that the autoencoder gives to the latents (B, C, h, w) of grey photos."""
    return rgb_to_lab(base.decode(z_gray, gray))[:, 1:]


@torch.no_grad()
def decoded(base: LatentBase, z_gray: Tensor, delta: Tensor, gray: Tensor, neutral: Tensor | None = None) -> Tensor:
    """The pictures of latents `z_gray + delta`, with the lightness of the grey photos (section 3.3).

    What the autoencoder makes of the grey latents alone is not quite neutral; that tint is subtracted.

    Args:
        base: for its autoencoder.
        z_gray: latents of the photos (B, C, h, w).
        delta: their colour, scaled as wished.
        gray: the photos (B, 3, H, W) in [0, 1].
        neutral: `tint` of the grey latents, where it is known.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    neutral = tint(base, z_gray, gray) if neutral is None else neutral
    chroma = rgb_to_lab(base.decode(z_gray + delta, gray))[:, 1:] - neutral
    lab = torch.cat([rgb_to_lab(gray)[:, :1], chroma], dim=1)
    return torch.stack([lab_to_rgb(in_gamut(one)) for one in lab])
