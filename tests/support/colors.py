"""Palettes, all colours, and tensors that are no image."""

import numpy as np
import torch
from torch import Tensor

NO_IMAGES = [torch.rand(8, 8), torch.rand(4, 8, 8), torch.rand(3, 0, 8), torch.zeros(3, 8, 8, dtype=torch.uint8)]


def every_color(step: int = 15) -> Tensor:
    """A grid over the RGB cube, corners and greys included, (3, 18, 324) float64."""
    levels = torch.arange(0, 256, step).double() / 255
    return torch.stack(torch.meshgrid(levels, levels, levels, indexing="ij")).flatten(2)


def random_palette(n_colors: int, seed: int = 0) -> Tensor:
    """Distinct 8-bit colours."""
    levels = np.random.default_rng(seed).choice(2**24, n_colors, replace=False)
    return torch.from_numpy(np.stack([levels >> 16, levels >> 8 & 255, levels & 255], axis=1)).float() / 255
