"""Models of transformers that say what a photo shows: captions by BLIP, instances by Mask2Former."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import (
    AutoTokenizer,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessorPil,
)

from dequant.io.images import to_pil
from dequant.models.finite import check_finite
from dequant.models.hub import Source

MOST_TOKENS = 30
"""Of a caption."""

SURE = 0.5
"""Probability from which on an instance counts."""


class Instance(NamedTuple):
    """A thing in a photo.

    Attributes:
        mask: (H, W) bool.
        label: such as "dog".
    """

    mask: Tensor
    label: str


class Captioner:
    """Captions by BLIP (Li et al., arXiv:2201.12086), such as Salesforce/blip-image-captioning-base.

    Args:
        path: folder or hub id.

    Raises:
        InputError: there is no such model.
    """

    def __init__(self, path: str) -> None:
        self.model = _loaded(path, BlipForConditionalGeneration)
        self.images, self.words = _loaded(path, BlipImageProcessorPil), _loaded(path, AutoTokenizer)

    @torch.no_grad()
    def __call__(self, rgb: Tensor) -> str:
        """A caption of rgb (3, H, W) in [0, 1]; the same photo always has the same."""
        pixels = self.images(to_pil(rgb), return_tensors="pt")["pixel_values"]
        tokens = self.model.generate(pixel_values=pixels, max_new_tokens=MOST_TOKENS, do_sample=False)
        return str(self.words.decode(tokens[0], skip_special_tokens=True)).strip()


class Segmenter:
    """Instances by Mask2Former (Cheng et al., arXiv:2112.01527), such as facebook/mask2former-swin-tiny-coco-instance.

    Args:
        path: folder or hub id.

    Raises:
        InputError: there is no such model.
    """

    def __init__(self, path: str) -> None:
        self.model, self.images = (
            _loaded(path, kind) for kind in (Mask2FormerForUniversalSegmentation, Mask2FormerImageProcessorPil)
        )

    @torch.no_grad()
    def __call__(self, rgb: Tensor) -> list[Instance]:
        """The things in rgb (3, H, W) in [0, 1], the surest first."""
        outputs = self.model(**self.images(to_pil(rgb), return_tensors="pt"))
        size = [(rgb.shape[1], rgb.shape[2])]
        found = self.images.post_process_instance_segmentation(outputs, threshold=SURE, target_sizes=size)[0]
        order = sorted(found["segments_info"], key=lambda one: -one["score"])
        names = self.model.config.id2label
        return [Instance(found["segmentation"] == one["id"], str(names[one["label_id"]])) for one in order]


def _loaded(path: str, kind: Any) -> Any:
    part = Source(path).load(lambda: kind.from_pretrained(path))
    if isinstance(part, torch.nn.Module):
        check_finite(part.parameters(), path)
        part.eval()
    return part
