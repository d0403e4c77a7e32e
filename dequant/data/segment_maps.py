"""Segmentations made ahead of time: label maps stored beside a photo, cropped and mirrored along with it.

A photo has one map per segmenter, a greyscale PNG of labels named after its segmenter. Training draws its patches
from the maps it finds, and segments only photos without them.
"""

import io
import logging
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dequant.condition import patches
from dequant.data.crops import draw_crop
from dequant.io.images import to_tensor

log = logging.getLogger(__name__)


SHORT_SIDE = 192
"""Size of the maps: crops, whose sides are 3/4 of the photo's on average, have the 128 pixels of `patches`."""


MakeExample = Callable[..., dict[str, Any]]
"""Makes condition and target of rgb (3, H, W), a generator and, where there are maps, a segmenter."""


def about(condition: MakeExample, caption: Callable[[], str], training: bool = True) -> MakeExample:
    """What makes examples of one photo; its caption is read where the condition takes one (`RandomColoring`)."""
    return condition.about(caption(), training) if hasattr(condition, "about") else condition


def segment_photo(photo: Image.Image) -> dict[str, bytes]:
    """Segment a whole photo with every segmenter: {name of the segmenter: PNG file of its labels}.

    The photo is first reduced to a shorter side of `SHORT_SIDE`. The granularity is random, but the same for the same
    pixels.
    """
    scale = min(1.0, SHORT_SIDE / min(photo.size))
    size = round(photo.width * scale), round(photo.height * scale)
    small = photo.resize(size, Image.Resampling.BILINEAR)
    rng = np.random.default_rng(zlib.crc32(small.tobytes()))
    labels = patches.segment_whole(to_tensor(small), rng)
    return {name: _png(each) for name, each in labels.items()}


def training_sample(
    photo: Image.Image, maps: Sequence[Callable[[], bytes]], condition: MakeExample, size: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Draw a crop of a photo and a condition on it.

    Args:
        photo: RGB, both sides at least `size`.
        maps: read the files of `segment_photo`; without any, the photo is segmented when a patch asks for it.
        condition: makes condition and target.
        size: side of the crop in pixels.
        rng: the only source of randomness.

    Returns:
        what `condition` returns.
    """
    crop = draw_crop(photo.size, size, rng)
    rgb = crop.cut(photo, size)
    if not maps:
        return condition(rgb, rng)

    def segment(augmented: Tensor, rng: np.random.Generator) -> Tensor:
        try:
            labels = _labels(maps[int(rng.integers(len(maps)))]())
        except Exception as error:  # Pillow has many for a broken file
            log.warning("A map of segments is damaged (%s): the photo is segmented instead.", error)
            return patches.random_segmentation(augmented, rng)
        return patches.components(torch.from_numpy(crop.cut_labels(labels, size)))

    return condition(rgb, rng, segment)


def _png(labels: Tensor) -> bytes:
    levels = labels.numpy().astype(np.uint8 if labels.max() < 256 else np.uint16)
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "PNG", optimize=True)
    return file.getvalue()


def _labels(data: bytes) -> np.ndarray:
    """Labels (h, w) of a PNG file."""
    labels = np.asarray(Image.open(io.BytesIO(data), formats=["PNG"])).astype(np.int64)
    if labels.ndim != 2:
        raise ValueError("its pixels are no labels")
    return labels
