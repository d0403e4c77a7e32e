"""Simple methods that are given the texture of the photo, and need no network: what a trained model has to beat.

A peer is a function `(asked, source, n_colors, patch) -> rgb` of the quantized or recoloured image, the photo whose
texture should survive, the size of the palette, and the recoloured pixels (H, W) bool, None for all of them; images are
(3, H, W) in [0, 1]. The docstring of each says how much of the photo it uses.
"""

import numpy as np
import torch
from scipy.spatial.distance import cdist, pdist
from torch import Tensor

from dequant.color.guided import guided_filter
from dequant.color.opencv import gray_uint8
from dequant.color.palette import quantize
from dequant.color.spaces import lab_to_rgb, rgb_to_lab
from dequant.condition.channels import LEAST_COLORS, mean_color
from dequant.condition.texture import TEXTURES

TUNED_RADIUS = {4: 8, 8: 8, 16: 4, 32: 2, 64: 2, 128: 1}
"""Best of 1, 2, 4, 8 pixels in dequantization with eps = 1e-4, on 16 validation photos, by the number of colours."""


def luminance_residual(asked: Tensor, source: Tensor, n_colors: int, patch: Tensor | None = None) -> Tensor:
    """Add what the photo's grey differs by from the grey of its palette, along the grey axis; uses the luminance."""
    if patch is None:
        before = quantize(source, n_colors).rgb
    else:
        before = torch.where(patch, mean_color(source, patch)[:, None, None], source)
    return (asked + (gray_uint8(source).float() - gray_uint8(before).float()) / 255).clamp(0, 1)


def guided_filter_of(
    asked: Tensor,
    source: Tensor,
    n_colors: int,
    patch: Tensor | None = None,
    guide: str = "gray",
    radius: int | None = 8,
    eps: float = 1e-3,
) -> Tensor:
    """The guided filter of the image under the photo; uses the luminance, or all of it with `guide="color"`.

    A radius of None is that of `TUNED_RADIUS`.
    """
    image = source if guide == "color" else gray_uint8(source)[None].float() / 255
    if radius is None:
        radius = TUNED_RADIUS[min(TUNED_RADIUS, key=lambda n: abs(n - n_colors))]
    filtered = guided_filter(asked, image, radius, eps).clamp(0, 1)
    return filtered if patch is None else torch.where(patch, filtered, asked)


def within_bounds(asked: Tensor, source: Tensor, n_colors: int, patch: Tensor | None = None, *, variant: str) -> Tensor:
    """`keep_texture=exact` without a network: the nearest image with the texture; uses what the variant is given."""
    texture = TEXTURES[variant]
    everywhere = torch.ones(asked.shape[1:], dtype=torch.bool)
    return texture.nearest(asked, texture.map(source), everywhere, patch)


def along_lines(asked: Tensor, source: Tensor, n_colors: int, patch: Tensor | None = None, *, variant: str) -> Tensor:
    """`keep_texture=guided` without a network; uses what the variant is given."""
    texture = TEXTURES[variant]
    everywhere = torch.ones(asked.shape[1:], dtype=torch.bool)
    return texture.follow(asked, texture.map(source), everywhere, patch, n_colors if patch is None else LEAST_COLORS)


def palette_interpolation(asked: Tensor, source: Tensor, n_colors: int, patch: Tensor | None = None) -> Tensor:
    """Move every colour by a blend of what happened to the colours of the palette; uses all of the photo.

    In the manner of Chang et al., "Palette-based Photo Recoloring" (SIGGRAPH 2015, section 3.5): Gaussian radial basis
    functions in Lab, as wide as the mean distance of two palette colours, solved to move each palette colour to its
    new one, with negative weights cut off and the rest normalized.
    """
    before, after = _palettes(asked, source, n_colors)
    width = pdist(before).mean() if len(before) > 1 else 1.0
    pixels = _lab(source)

    def near(colors: np.ndarray) -> np.ndarray:
        return np.exp(-cdist(colors, before, "sqeuclidean") / (2 * width**2))

    weights = np.clip(near(pixels) @ np.linalg.pinv(near(before), hermitian=True), 0, None)
    weights /= np.maximum(weights.sum(1, keepdims=True), 1e-9)
    return _rgb(pixels + weights @ (after - before), source)


def color_map(asked: Tensor, source: Tensor, n_colors: int, patch: Tensor | None = None, width: float = 8.0) -> Tensor:
    """Replace every colour by a mean of the new palette, weighted by the nearness of the old; uses all of the photo.

    The Gaussian RBF colour map of lutgen, in Lab, where each new colour stands for the old one that it is assigned to.
    """
    before, after = _palettes(asked, source, n_colors)
    squared = cdist(_lab(source), before, "sqeuclidean")
    weights = np.exp(-(squared - squared.min(1, keepdims=True)) / (2 * width**2))
    return _rgb(weights / weights.sum(1, keepdims=True) @ after, source)


def _palettes(asked: Tensor, source: Tensor, n_colors: int) -> tuple[np.ndarray, np.ndarray]:
    """The palette of the photo and that which replaces it, (K, 3) in Lab."""
    before = quantize(source, n_colors)
    sums = torch.zeros(len(before.palette), 3).index_add_(0, before.indices.flatten(), asked.flatten(1).T.float())
    after = sums / before.counts[:, None]
    return _lab(before.palette.T[:, None]), _lab(after.T[:, None])


def _lab(rgb: Tensor) -> np.ndarray:
    return rgb_to_lab(rgb.double()).flatten(1).T.numpy()


def _rgb(lab: np.ndarray, like: Tensor) -> Tensor:
    return lab_to_rgb(torch.from_numpy(lab.T.copy()).reshape(like.shape)).to(like).clamp(0, 1)
