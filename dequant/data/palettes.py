"""Small photos whose palettes recolour others in training."""

import torch
from torch import Tensor

from dequant.data.crops import center_crop
from dequant.data.sources import Photos, Source

SIDE = 32
"""In pixels: a thousand colours are enough for a palette."""


def thumbnails(source: Source, count: int = 128) -> Tensor:
    """The centred squares of training photos, reduced to `SIDE` pixels.

    Args:
        source: of the photos.
        count: of the photos, evenly spread; at most as many as there are.

    Returns:
        (count, 3, SIDE, SIDE) in [0, 1].
    """
    photos = Photos(source, "train", SIDE)
    count = min(count, len(photos))
    images = [photos.image(index * len(photos) // count) for index in range(count)]
    return torch.stack([center_crop(image, SIDE) for image in images if image is not None])
