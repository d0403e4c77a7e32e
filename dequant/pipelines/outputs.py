"""What the pipeline returns: pictures in the form that was asked for, and a labelled grid of them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from PIL import Image
from torch import Tensor

from dequant.io import figures
from dequant.io.images import Photograph, to_pil
from dequant.io.metadata import with_profile

OUTPUT_TYPES = ("pil", "np", "pt")


PROFILES = ("srgb", "source")


Images = list[Any] | np.ndarray | Tensor


@dataclass
class DequantOutput(ImagePipelineOutput):
    """Edited photos.

    Attributes:
        images: as asked for: PIL images, (B, H, W, 3) or (B, 3, H, W) in [0, 1], or a list of these where sizes differ.
        edits: a label for each edit: photo, assignment and blend, where there are several.
        draws: a label for each picture of an edit, which follow each other in `images`: its seed or number.
        pictures: the same as rgb (3, H, W) in [0, 1], whatever the form of `images`.
        notes: what was done to the photos on reading, such as "converted from Display P3 to sRGB", one text each.
    """

    edits: list[str] = field(default_factory=list)
    draws: list[str] = field(default_factory=list)
    pictures: list[Tensor] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def labels(self) -> list[str]:
        """One per image."""
        return [", ".join(part for part in (edit, draw) if part) for edit in self.edits for draw in self.draws]

    def grid(self) -> Image.Image:
        """A row for each edit, a column for each draw."""
        n = len(self.draws)
        columns = {draw or "output": self.pictures[j::n] for j, draw in enumerate(self.draws)}
        return figures.ragged_grid(columns, self.edits)


def convert(rgbs: list[Tensor], output_type: str, photos: list[Photograph], profile: str = "srgb") -> Images:
    """Pictures (3, H, W) in one of `OUTPUT_TYPES`: one batch where sizes agree, else a list.

    PIL images have the transparency of their photos, and carry the profile of sRGB or, with "source", of their photos.
    """
    if output_type == "pil":
        own = [photo.profile if profile == "source" else None for photo in photos]
        return [with_profile(to_pil(rgb, p.alpha), icc) for rgb, p, icc in zip(rgbs, photos, own, strict=True)]
    alike = len({rgb.shape for rgb in rgbs}) == 1
    if output_type == "pt":
        return torch.stack(rgbs) if alike else rgbs
    arrays = [rgb.permute(1, 2, 0).cpu().numpy() for rgb in rgbs]
    return np.stack(arrays) if alike else arrays
