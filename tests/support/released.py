"""Arrays and numbers of the code released with the paper, and pairs of pictures that metrics compare."""

import json

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from dequant.metrics.image import Metric
from tests.support.paths import GOLDEN
from tests.support.photos import NAMES, golden_photo

ARRAYS = np.load(GOLDEN / "images.npz")
NUMBERS = json.loads((GOLDEN / "images.json").read_text())

UNCOMPARABLE = [
    (torch.rand(3, 16, 16), torch.rand(3, 16, 16)),
    (torch.rand(1, 3, 16, 16), torch.rand(2, 3, 16, 16)),
    (torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 17)),
    (torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16)),
    (torch.zeros(1, 3, 16, 16, dtype=torch.uint8), torch.rand(1, 3, 16, 16)),
    (torch.rand(1, 3, 16, 16), torch.zeros(1, 3, 16, 16, dtype=torch.uint8)),
]
"""Pairs that every metric refuses."""


def released_pair(pair: str) -> tuple[Tensor, Tensor]:
    """An output and its target, (3, H, W); the output has passed through [-1, 1] as a network's does."""
    name, target = pair.split("_")[0], f"{pair}__target_u8"
    levels = ARRAYS[f"{pair}__out"] if f"{pair}__out" in ARRAYS else np.array(Image.open(GOLDEN / f"{name}.png"))
    output = torch.from_numpy(levels).permute(2, 0, 1).float()
    output = output / 255 if levels.dtype == np.uint8 else output
    photo = torch.from_numpy(ARRAYS[target]).permute(2, 0, 1) / 255 if target in ARRAYS else golden_photo(name)
    return (2 * output - 1 + 1) / 2, photo


def blurred_photos() -> tuple[Tensor, Tensor]:
    """The golden photos blurred, and as they are, (3, 3, H, W)."""
    photos = torch.stack([golden_photo(name) for name in NAMES])
    return F.avg_pool2d(photos, 3, stride=1, padding=1, count_include_pad=False), photos


def assert_counts_each_image(metric: Metric) -> None:
    """A metric of a batch is that of each image alone."""
    pred, target = blurred_photos()
    together = metric(pred, target)
    alone = torch.cat([metric(p[None], t[None]) for p, t in zip(pred, target, strict=True)])
    assert together.shape == (3,)
    torch.testing.assert_close(together, alone)
