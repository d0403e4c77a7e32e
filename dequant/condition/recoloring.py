"""Recoloured and dithered photos for training: edits whose result is known, or nearly."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dequant.color.matching import match
from dequant.color.opencv import gray_uint8, shift_hsv
from dequant.color.palette import quantize, transfer
from dequant.condition.channels import LEAST_COLORS
from dequant.condition.texture_lines import follow

RECOLORINGS = ("color", "negative_color", "permuted", "hue", "mirrored")
"""How `recolored` changes a palette, all equally likely."""


HUE_SHIFT = (20, 160)
"""Of 180 for a full turn."""


def recolored(
    photo: Tensor, n_colors: int, photos: Sequence[Tensor], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Quantize a photo and exchange its palette, as users do.

    Its colours become those of another photo, matched by similarity or by dissimilarity, or they trade places; the
    truth is then taken to be `as_photo`. Or all hues shift, or the channels trade places and some are inverted: then
    the truth is known.

    Args:
        photo: (3, H, W) in [0, 1].
        n_colors: size of the palette.
        photos: those that palettes come from, each (3, H', W') in [0, 1] and of any size.
        rng: source of randomness.

    Returns:
        The recoloured image of few colours, and the recoloured photo, each (3, H, W) in [0, 1].
    """
    kind = RECOLORINGS[int(rng.integers(len(RECOLORINGS)))]
    source = quantize(photo, n_colors)
    n = len(source.palette)
    if kind in ("hue", "mirrored"):
        shift, order, signs = (
            float(rng.uniform(*HUE_SHIFT)),
            rng.permutation(3),
            torch.from_numpy(rng.integers(0, 2, 3)),
        )

        def change(rgb: Tensor) -> Tensor:
            if kind == "hue":
                return shift_hsv(rgb, shift, 1, 1)
            return (rgb[torch.from_numpy(order)] - signs[:, None, None]).abs()

        palette = change(source.palette.T[:, None].contiguous())[:, 0].T
        return transfer(source, palette, torch.arange(n)).rgb, change(photo)
    if kind == "permuted":
        asked = transfer(source, source.palette, torch.from_numpy(rng.permutation(n))).rgb
    else:
        target = quantize(photos[int(rng.integers(len(photos)))], n).palette
        asked = transfer(source, target, match(source.palette, target, kind)).rgb
    return asked, as_photo(asked, photo, n_colors=n_colors)


def as_photo(asked: Tensor, rgb: Tensor, free: Tensor | None = None, n_colors: float = LEAST_COLORS) -> Tensor:
    """The picture of given colours that follows a photo: what training takes for the truth after an edit.

    Args:
        asked: the recoloured quantized or patched photo, (3, H, W) in [0, 1].
        rgb: the photo, (3, H, W) in [0, 1].
        free: the pixels that were edited, (H, W) bool; None for all.
        n_colors: size of the palette.

    Returns:
        (3, H, W) in [0, 1].
    """
    gray = gray_uint8(rgb).float() / 255
    return follow(asked, gray, torch.ones_like(gray, dtype=torch.bool), free, max(n_colors, LEAST_COLORS))
