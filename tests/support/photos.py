"""Photos made of noise."""

import numpy as np
import torch
from torch import Tensor

SIZE = 16


def some_photos(count: int = 3, height: int = SIZE) -> list[tuple[str, Tensor]]:
    rng = np.random.default_rng(0)
    return [
        (f"photo_{i}", torch.from_numpy(rng.integers(0, 256, (3, height, SIZE))).float() / 255) for i in range(count)
    ]
