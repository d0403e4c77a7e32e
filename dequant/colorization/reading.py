"""What a grey photo shows, for a colorizer that is told so: category, caption, regions (arXiv:2404.16678, section 3.2).

In the paper EfficientNet, BLIP and Mask Transfiner say it. Here the packaged EfficientNet-Lite0 names the category and
what each region of a hierarchy shows, unless models of transformers are given for captions and instances.
"""

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor

from dequant.colorization.priors import Describer
from dequant.condition.captions import Labelled, of_category
from dequant.condition.regions import regions
from dequant.diffusion.regional import MOST
from dequant.models.describing import Captioner, Segmenter

PIECES = 12
"""Regions that a photo is cut into where no model finds instances."""

LEAST = 0.02
"""Share of the photo from which on a region is looked at."""

MARGIN = 0.15
"""Around a region's box, as a share of its sides: a classifier wants to see what is about a thing."""


class Reading(NamedTuple):
    """What a photo shows.

    Attributes:
        caption: such as "a dog on a bench"; "" for none.
        category: of the main thing, "" for none.
        regions: with texts of their own.
    """

    caption: str = ""
    category: str = ""
    regions: tuple[Labelled, ...] = ()

    @property
    def prompt(self) -> str:
        """All in one text, without what it says already."""
        return joined([self.caption, self.category, *(region.text for region in self.regions)])


class Reader:
    """Says what grey photos show.

    Args:
        captioner: folder or hub id of a BLIP; None says "a photo of a CATEGORY".
        segmenter: folder or hub id of a Mask2Former; None looks at the regions of a hierarchy.

    Raises:
        InputError: there is no such model.
    """

    def __init__(self, captioner: str | None = None, segmenter: str | None = None) -> None:
        self.describer = Describer()
        self.captioner = None if captioner is None else Captioner(captioner)
        self.segmenter = None if segmenter is None else Segmenter(segmenter)

    def __call__(self, gray: Tensor) -> Reading:
        """What a grey photo (3, H, W) in [0, 1] shows, as far as it is sure."""
        category = self.describer.thing(gray)
        caption = of_category(category) if self.captioner is None else self.captioner(gray)
        return Reading(caption, category, tuple(self.regions(gray)[:MOST]))

    def regions(self, gray: Tensor) -> list[Labelled]:
        """The things in a grey photo (3, H, W), each with its label."""
        if self.segmenter is not None:
            return [Labelled(one.mask, one.label) for one in self.segmenter(gray)]
        labels, found = regions(gray).cut(PIECES), dict[str, Tensor]()
        for number in range(int(labels.max()) + 1):
            mask = labels == number
            if mask.float().mean() >= LEAST and (thing := self.describer.thing(_crop(gray, mask))):
                found[thing] = found.get(thing, torch.zeros_like(mask)) | mask
        return [Labelled(mask, thing) for thing, mask in sorted(found.items(), key=lambda one: -int(one[1].sum()))]


def joined(texts: Sequence[str]) -> str:
    """Texts in one, each unless its words stand in those before: "a photo of a dog", "dog", "bench" -> two of them."""
    kept: list[str] = []
    for text in texts:
        if text and f" {text} " not in f" {' '.join(kept)} ":
            kept.append(text)
    return ", ".join(kept)


def _crop(gray: Tensor, mask: Tensor) -> Tensor:
    """The box of a mask (h, w), and what is about it, of a photo (3, H, W)."""
    parts = []
    for axis, side in enumerate(gray.shape[1:]):
        places = mask.any(1 - axis).nonzero().flatten()
        first, last = int(places[0]), int(places[-1]) + 1
        margin, scale = MARGIN * (last - first), side / mask.shape[axis]
        parts.append(slice(max(0, int((first - margin) * scale)), min(side, ceil((last + margin) * scale))))
    return gray[:, parts[0], parts[1]]
