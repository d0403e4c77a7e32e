"""Training samples, which own all the randomness that is spent on them, and batches of them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import default_collate

from dequant.condition.examples import random_window
from dequant.data import segment_maps
from dequant.data.segment_maps import MakeExample, about

Sample = dict[str, Any]


def training_sample(
    photo: Image.Image,
    maps: Sequence[Callable[[], bytes]],
    rng: np.random.Generator,
    condition: MakeExample,
    size: int,
    window: int | None,
    caption: Callable[[], str] = str,
) -> Sample:
    """Draw a sample of a photo: `segment_maps.training_sample`, a window of it, and the seed of its noise.

    Args:
        photo: RGB, both sides at least `size`.
        maps: read its maps of segments; may be empty.
        rng: the only source of randomness.
        condition: makes condition and target of the crop.
        size: side of the crop in pixels.
        window: side of the square cut out of condition and target; None takes them whole.
        caption: reads that of the photo, where the condition takes one.

    Returns:
        what `condition` returns, and `seed`, an integer below 2^63 that fixes the noise a training step adds.
    """
    sample = segment_maps.training_sample(photo, maps, about(condition, caption), size, rng)
    if window is not None:
        sample = random_window(sample, window, rng)
    return sample | {"seed": int(rng.integers(2**63 - 1))}


def batch(samples: Sequence[Sample]) -> Sample:
    """Stack the tensors of samples; seeds stay a list of integers, so that no step waits for a device to read them."""
    tensors = [{key: value for key, value in sample.items() if key != "seed"} for sample in samples]
    seeds = [sample["seed"] for sample in samples if "seed" in sample]
    return default_collate(tensors) | ({"seed": seeds} if seeds else {})
