"""Photos of the golden arrays, and photos made of noise."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dequant.data.crops import center_crop
from tests.support.paths import GOLDEN

NAMES = ("caps", "plane", "womanhat")
"""Of the golden photos."""

SIZE = 16


def golden_photo(name: str) -> Tensor:
    """(3, H, W) float32 in [0, 1]."""
    levels = np.array(Image.open(GOLDEN / f"{name}.png").convert("RGB"))
    return torch.from_numpy(levels).permute(2, 0, 1) / 255


def golden_square(name: str = "caps", size: int = 64) -> Tensor:
    """A golden photo's centred square, scaled to (3, size, size)."""
    return center_crop(Image.open(GOLDEN / f"{name}.png").convert("RGB"), size)


def noise(height: int, width: int, seed: int, low: float = 0.4, high: float = 0.6) -> Tensor:
    """Uniform noise from `low` to `high`, (3, height, width)."""
    return low + (high - low) * torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def some_photos(count: int = 3, height: int = SIZE) -> list[tuple[str, Tensor]]:
    """Names and pixels (3, height, SIZE) of noise."""
    rng = np.random.default_rng(0)
    return [
        (f"photo_{i}", torch.from_numpy(rng.integers(0, 256, (3, height, SIZE))).float() / 255) for i in range(count)
    ]
