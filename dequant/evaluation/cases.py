"""A case is one picture to make, with its condition and its target; and the random draws of a photo."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from dequant.color.rgb import to_uint8
from dequant.condition.channels import Condition
from dequant.errors import InputError

Labels = Mapping[str, str | int | float]


LABELS = ("n_colors", "texture", "method", "strength")
"""The coordinates of a cell of a protocol: palette size, texture "on" or "off", way of recolouring, HSV strength."""


TEXTURES = ("on", "off")


@dataclass(frozen=True, eq=False)
class Case:
    """One picture to make.

    Attributes:
        labels: values of some of `LABELS`, which name the cell that it belongs to.
        paper_item: the table or figure of that cell.
        condition: (7, H, W).
        source: the photo whose texture should survive, (3, H, W) in [0, 1].
        target: the ideal output, (3, H, W) in [0, 1], or None if there is none.
        palette_colors: size of the palettes in the palette error.
        reference: the photo that the palette comes from, (3, H', W') in [0, 1], or None.
    """

    labels: Labels
    paper_item: str
    condition: Tensor
    source: Tensor
    target: Tensor | None
    palette_colors: int
    reference: Tensor | None = None

    @property
    def asked(self) -> Tensor:
        """The requested colours, (3, H, W): the quantized or patched image."""
        return Condition.of(self.condition).colors

    @property
    def patch(self) -> Tensor | None:
        """The recoloured pixels, (H, W) bool, or None if they are all."""
        inside = Condition.of(self.condition).patch
        return inside if inside.any() else None

    @cached_property
    def digest(self) -> str:
        """Short hash of everything but the texture map, so that a case has the same digest for all variants."""
        digest = hashlib.sha256(repr((self.paper_item, dict(self.labels), self.palette_colors)).encode())
        level_and_given = torch.cat(Condition.of(self.condition)[2:])
        for tensor in (self.asked, level_and_given, self.source, self.target, self.reference):
            digest.update(b"-" if tensor is None else tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def photo_digest(rgb: Tensor) -> str:
    """Short hash of the size and 8-bit pixels of a photo (3, H, W) in [0, 1], whatever its path."""
    pixels = to_uint8(rgb).contiguous().numpy()
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:16]


def generator_of(digest: str, seed: int) -> np.random.Generator:
    """The generator of a photo's draws, which depend on the photo and the seed, not on other photos."""
    return np.random.default_rng([seed, int(digest, 16)])


def partner_of(digest: str, others: Sequence[str], seed: int) -> str:
    """The digest among `others`, except `digest` itself, that this photo draws, independent of their order.

    Raises:
        InputError: there is no other photo.
    """
    candidates = set(others) - {digest}
    if not candidates:
        raise InputError("Palette transfer needs a second photo as reference: evaluate two or more photos.")
    return min(candidates, key=lambda other: hashlib.sha256(f"{seed} {digest} {other}".encode()).digest())
