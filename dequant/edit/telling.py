"""What a colorizer is told of a photo: read by networks, or given, and written so that a recipe repeats it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dequant.color.luminance import grayscale
from dequant.colorization.reading import Reader, Reading
from dequant.condition.captions import Labelled, of_category
from dequant.edit.recipe import mask_of, mask_text
from dequant.edit.regions import Region, share
from dequant.errors import InputError

SIDE = 192
"""Longer side of the masks that a recipe holds: networks of colour see no finer ones."""

Told = Region | Labelled | Mapping[str, Any]
"""A region with a text: in place of a colour, of any origin, or as a recipe has it."""


@dataclass(frozen=True)
class _Photo:
    """A grey photo (3, h, w), which is known by the sha256 of its pixels."""

    digest: str
    gray: Tensor = field(compare=False)


@dataclass(frozen=True)
class Asked:
    """What a user says of a photo; None is left open.

    Attributes:
        prompt: the caption.
        category: of the main thing.
        regions: with texts.

    Raises:
        InputError: a text is none.
    """

    prompt: str | None = None
    category: str | None = None
    regions: Sequence[Labelled] | None = None

    def __post_init__(self) -> None:
        """Refuse what is no text with an `InputError`."""
        for name, text in (("prompt", self.prompt), ("category", self.category)):
            if not isinstance(text, str | None):
                raise InputError(f"Expected a text for {name}, got {text!r}.")

    @property
    def unsaid(self) -> bool:
        """Whether nothing is said of the whole photo."""
        return self.prompt is None and self.category is None

    def alone(self, method: str) -> Reading:
        """For a colorizer that takes a prompt alone.

        Raises:
            InputError: there is more.
        """
        if self.category is not None or self.regions is not None:
            raise InputError(f"{method} takes no category and no regions: use semantic.")
        return Reading(self.prompt or "")


def reading(copy: Tensor, digest: str, asked: Asked, readers: tuple[str | None, str | None]) -> Reading:
    """What a photo shows: what is said, and what networks see in it otherwise.

    Regions are read where nothing is said, the caption where neither it nor the category is.

    Args:
        copy: of the photo, (3, h, w) in [0, 1].
        digest: of its pixels; what was read of a photo is remembered.
        asked: what is said.
        readers: models for captions and for instances, see `Reader`.
    """
    if asked.unsaid:
        found = _read(_Photo(digest, grayscale(copy)), *readers)
        return found if asked.regions is None else found._replace(regions=tuple(asked.regions))
    caption = of_category(asked.category or "") if asked.prompt is None else asked.prompt
    return Reading(caption, asked.category or "", tuple(asked.regions or ()))


def told(region: Told, size: tuple[int, int], copy: Tensor) -> Labelled:
    """A region as a network is told of it.

    Args:
        region: its text stands in place of the colour.
        size: height and width of the photo.
        copy: of it, (3, h, w).

    Raises:
        InputError: it has no text, or no place in the photo.
    """
    if isinstance(region, Mapping):
        if "mask" in region and isinstance(region["mask"], str):
            mask = torch.from_numpy(np.asarray(mask_of(region["mask"]), np.float32) / 255)
            return _checked(Labelled(mask, region.get("text", "")))
        places = {name: region[name] for name in ("points", "box") if name in region}
        region = Region(region.get("text", ""), **places)
    if isinstance(region, Region):
        region = Labelled(torch.from_numpy(share(region, size, copy)), region.color)
    scale = min(1.0, SIDE / max(region.mask.shape))
    small = [max(1, round(scale * side)) for side in region.mask.shape]
    mask = F.interpolate(region.mask[None, None].float(), small, mode="area")[0, 0]
    return _checked(Labelled((mask * 255).round() / 255, region.text))


def described(found: Reading) -> dict[str, Any]:
    """What a recipe says of a reading; its texts and places are made to be changed by hand."""
    regions = [{"text": one.text, "mask": mask_text(one.mask.numpy())} for one in found.regions]
    return {"prompt": found.caption, "category": found.category, "regions": regions}


def said(found: Reading) -> str:
    """A reading in one line."""
    parts = [repr(found.caption) if found.caption else "nothing that is sure"]
    if found.category:
        parts.append(f"category {found.category}")
    if found.regions:
        parts.append("regions " + ", ".join(one.text for one in found.regions))
    return "; ".join(parts)


def _checked(region: Labelled) -> Labelled:
    if not isinstance(region.text, str):
        raise InputError(f"Expected a text for a region, such as 'a red car', got {region.text!r}.")
    return region


@lru_cache(64)
def _read(photo: _Photo, captioner: str | None, segmenter: str | None) -> Reading:
    found = _reader(captioner, segmenter)(photo.gray)
    size = (photo.gray.shape[1], photo.gray.shape[2])
    return found._replace(regions=tuple(told(one, size, photo.gray) for one in found.regions))


@lru_cache(1)
def _reader(captioner: str | None, segmenter: str | None) -> Reader:
    return Reader(captioner, segmenter)
