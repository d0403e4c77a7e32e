"""Recoloured and dithered photos for training: edits whose result is known, or nearly."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dequant.color.matching import match
from dequant.color.opencv import gray_uint8, shift_hsv
from dequant.color.palette import Quantized, quantize, transfer
from dequant.condition.texture_lines import follow

RECOLORINGS = ("color", "negative_color", "permuted", "hue")
"""How `recolored` changes a palette, all equally likely."""


HUE_SHIFT = (20, 160)
"""Of 180 for a full turn."""


def recolored(source: Quantized, photos: Sequence[Tensor], rng: np.random.Generator) -> Tensor:
    """Exchange the palette of a quantized photo, as users do.

    Its colours become those of another photo, matched by similarity or by dissimilarity, or they trade places, or
    their hues shift.

    Args:
        source: the quantized photo.
        photos: those that palettes come from, each (3, H', W') in [0, 1] and of any size.
        rng: source of randomness.

    Returns:
        The recoloured image of few colours, (3, H, W).
    """
    kind = RECOLORINGS[int(rng.integers(len(RECOLORINGS)))]
    n = len(source.palette)
    if kind == "hue":
        turned = shift_hsv(source.palette.T[:, None].contiguous(), float(rng.uniform(*HUE_SHIFT)), 1, 1)[:, 0].T
        return transfer(source, turned, torch.arange(n)).rgb
    if kind == "permuted":
        return transfer(source, source.palette, torch.from_numpy(rng.permutation(n))).rgb
    target = quantize(photos[int(rng.integers(len(photos)))], n).palette
    return transfer(source, target, match(source.palette, target, kind)).rgb


def as_photo(asked: Tensor, rgb: Tensor, free: Tensor | None = None) -> Tensor:
    """The picture of given colours that follows a photo: what training takes for the truth after an edit.

    Args:
        asked: the recoloured quantized or patched photo, (3, H, W) in [0, 1].
        rgb: the photo, (3, H, W) in [0, 1].
        free: the pixels that were edited, (H, W) bool; None for all.

    Returns:
        (3, H, W) in [0, 1].
    """
    gray = gray_uint8(rgb).float() / 255
    return follow(asked, gray, torch.ones_like(gray, dtype=torch.bool), free)
