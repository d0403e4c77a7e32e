"""The ranker of Diffusing Colors: it chooses how colourful a picture shall be (arXiv:2312.04145, section 3.3).

The document says that CLIP features rank scales of the colour; the loss and the pairs are ours. The colours of photos
and those that the network draws for them are re-scaled in latents; of two pictures of one photo the one that is more
nearly as colourful as the photo must outrank the other (Bradley and Terry, 1952).
"""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dequant.color.luminance import grayscale
from dequant.color.spaces import colorfulness
from dequant.colorization.diffusing_colors import draw
from dequant.colorization.pictures import decoded, tint
from dequant.errors import InputError
from dequant.io.files import whole_folder
from dequant.metrics.efficientnet import EfficientNetLite0
from dequant.models.finite import copy_for_release
from dequant.models.hub import Source
from dequant.models.latent import LatentBase
from dequant.models.ranker import ScaleRanker, chroma_statistics
from dequant.training.learner import Learner, Optimizer, Schedule

Batch = dict[str, Any]

CANDIDATES = tuple(round(0.4 + 0.2 * step, 1) for step in range(13))
"""Scales of a colour that are compared, 0.4 to 2.8: what a network draws is paler than the photo."""

SCORED = (0.4, 0.8, 1.2, 1.6, 2.2, 2.8)
"""Scales whose pairs a validation compares, beside 1."""


class RankerTraining(Learner):
    """Teaches a ranker which scale of a colour is as colourful as the photo.

    Args:
        base: trained; its autoencoder re-scales the colours.
        features: frozen, rgb (B, 3, H, W) in [0, 1] -> (B, F).
        ranker: what learns.
        optimizer: makes the optimizer from parameters.
        lr_schedule: makes a per-step schedule from the optimizer, or None for a constant rate.
        drawn_share: share of the photos that are compared in the colour that the base draws; the others are in their
            own.
        target: what the base's UNet predicts.

    Raises:
        InputError: there is no such share.
    """

    kept = ("ranker.",)

    def __init__(
        self,
        base: LatentBase,
        features: nn.Module,
        ranker: ScaleRanker,
        optimizer: Optimizer | None = None,
        lr_schedule: Schedule | None = None,
        drawn_share: float = 0.5,
        target: str = "delta",
    ) -> None:
        super().__init__(optimizer, lr_schedule)
        if not 0 <= drawn_share <= 1:
            raise InputError(f"drawn_share = {drawn_share} is not a share: give a number from 0 to 1.")
        self.drawn_share, self.target = drawn_share, target
        self.base, self.features, self.ranker = base.requires_grad_(False), features.requires_grad_(False), ranker
        warnings.filterwarnings("ignore", "Found .* module.* in eval mode")  # the frozen network is so on purpose

    @property
    def trained(self) -> nn.Module:
        """The ranker."""
        return self.ranker

    @property
    def multiple(self) -> int:
        """Training crops have sides that are multiples of this."""
        return self.base.multiple

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Bradley-Terry loss of one random pair of scales of each photo."""
        draws = torch.stack([torch.rand(3, generator=torch.Generator().manual_seed(seed)) for seed in batch["seed"]])
        first = (draws[:, 1] * len(CANDIDATES)).long()
        second = (first + 1 + (draws[:, 2] * (len(CANDIDATES) - 1)).long()) % len(CANDIDATES)
        pairs = torch.tensor(CANDIDATES)[torch.stack((first, second))]
        value = -F.logsigmoid(self._margins(batch["target"], draws[:, 0] < self.drawn_share, pairs)).mean()
        self.log("train/loss", value, prog_bar=True, sync_dist=True)
        return value

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Log the share of pairs in the right order, in own colours and in drawn ones; returns the photos."""
        photo = batch["target"]
        for name, drawn in (("", True), ("_own", False)):
            chosen = torch.full((len(photo),), drawn)
            pairs = [torch.tensor([[1.0, scale]] * len(photo)).T for scale in SCORED]
            margins = torch.cat([self._margins(photo, chosen, pair) for pair in pairs])
            accuracy = (margins > 0).float().mean()
            self.log(f"val/accuracy{name}", accuracy, batch_size=len(photo), sync_dist=True)
        return photo

    def _margins(self, photo: Tensor, drawn: Tensor, scales: Tensor) -> Tensor:
        """By how much each photo's better picture of two outranks the worse one, (B,).

        Args:
            photo: (B, 3, H, W) in [0, 1].
            drawn: whose colour is the one that the base draws, (B,) bool.
            scales: of the two pictures of each, (2, B).
        """
        gray, drawn = grayscale(photo), drawn.to(photo.device)
        z, z_gray = self.base.encode(torch.cat([photo, gray])).chunk(2)
        delta = z - z_gray
        if drawn.any():
            delta[drawn] = draw(self.base, gray[drawn], z_gray[drawn], [""] * int(drawn.sum()), 1, 1.0, self.target)
        with torch.autocast(photo.device.type, enabled=False):
            known = tint(self.base, z_gray, gray)
            factors = scales.to(z).view(2, -1, 1, 1, 1)
            pictures = torch.cat([decoded(self.base, z_gray, one * delta, gray, known) for one in factors])
            scores = score(self.ranker, self.features, pictures).view(2, -1)
            misses = (colorfulness(pictures).view(2, -1).clamp(min=1) / colorfulness(photo).clamp(min=1)).log().abs()
        return (scores[0] - scores[1]) * (misses[1] - misses[0]).sign()

    def load_weights(self, path: str | Path) -> None:
        """Start from the ranker in a folder."""
        self.ranker = Source(path).model(None, ScaleRanker)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the ranker, float16."""
        with whole_folder(Path(folder)) as partial:
            copy_for_release(self.ranker).save_pretrained(partial)


def score(ranker: ScaleRanker, features: nn.Module, rgb: Tensor) -> Tensor:
    """How natural pictures (B, 3, H, W) in [0, 1] look, (B,)."""
    with torch.no_grad():
        found = features(rgb)
    return ranker(found, chroma_statistics(rgb))


def features_of(ranker: ScaleRanker) -> nn.Module:
    """The frozen network that a ranker was trained with.

    Raises:
        InputError: its weights are missing.
    """
    name = ranker.config["network"]
    if name == "efficientnet_lite0":
        return EfficientNetLite0()
    from dequant.metrics.perceptual import ClipImages

    return ClipImages(name)


@torch.no_grad()
def choose(
    ranker: ScaleRanker, features: nn.Module, base: LatentBase, z_gray: Tensor, delta: Tensor, gray: Tensor
) -> float:
    """The scale of the colour of one photo whose picture ranks highest.

    Args:
        ranker: trained.
        features: from `features_of`.
        base: for its autoencoder.
        z_gray: latents of the photo, (1, C, h, w).
        delta: its colour.
        gray: the photo, (1, 3, H, W) in [0, 1].
    """
    if z_gray.shape[0] != 1:
        raise InputError(f"A scale is chosen for one photo at a time, got {z_gray.shape[0]}.")
    neutral = tint(base, z_gray, gray)
    pictures = torch.cat([decoded(base, z_gray, scale * delta, gray, neutral) for scale in CANDIDATES])
    return CANDIDATES[int(score(ranker, features, pictures).argmax())]
