"""The ranker of Diffusing Colors: it chooses how colourful a picture shall be (arXiv:2312.04145, section 3.3).

The document says that CLIP features rank scales of the colour; the loss and the pairs are ours. Natural photos are
re-scaled in latents, so that what the autoencoder does to colours is in both pictures of a pair. The photo itself must
outrank every other scale, and of two on one side the one nearer to it (Bradley and Terry, 1952).
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dequant.color.luminance import grayscale
from dequant.colorization.diffusing_colors import decoded, tint
from dequant.errors import InputError
from dequant.io.files import whole_folder
from dequant.metrics.efficientnet import EfficientNetLite0
from dequant.models.finite import copy_for_release
from dequant.models.hub import Source
from dequant.models.latent import LatentBase
from dequant.models.ranker import ScaleRanker, chroma_statistics
from dequant.training.learner import Learner, Optimizer, Schedule

Batch = dict[str, Any]

SCALES = (0.4, 0.55, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7, 2.0)
"""Of the pictures that are compared in training: `s delta`, s = 1 the photo."""

CANDIDATES = tuple(round(0.4 + 0.2 * step, 1) for step in range(13))
"""Scales of a drawn colour that `choose` compares, 0.4 to 2.8: what a network draws is paler than the photo."""


class RankerTraining(Learner):
    """Teaches a ranker which scale of a photo's colour is the natural one.

    Args:
        base: whose autoencoder re-scales the colours.
        features: frozen, rgb (B, 3, H, W) in [0, 1] -> (B, F).
        ranker: what learns.
        optimizer: makes the optimizer from parameters.
        lr_schedule: makes a per-step schedule from the optimizer, or None for a constant rate.
    """

    kept = ("ranker.",)

    def __init__(
        self,
        base: LatentBase,
        features: nn.Module,
        ranker: ScaleRanker,
        optimizer: Optimizer | None = None,
        lr_schedule: Schedule | None = None,
    ) -> None:
        super().__init__(optimizer, lr_schedule)
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
        draws = [torch.rand(2, generator=torch.Generator().manual_seed(seed)) for seed in batch["seed"]]
        value = -F.logsigmoid(self._margins(batch["target"], [_pair(*draw.tolist()) for draw in draws])).mean()
        self.log("train/loss", value, prog_bar=True, sync_dist=True)
        return value

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Log the share of pairs in the right order, over all scales beside the photo; returns the photos."""
        photo = batch["target"]
        others = [scale for scale in SCALES if scale != 1]
        margins = torch.stack([self._margins(photo, [(1.0, other)] * len(photo)) for other in others])
        self.log("val/accuracy", (margins > 0).float().mean(), batch_size=len(photo), sync_dist=True)
        return photo

    def _margins(self, photo: Tensor, pairs: Sequence[tuple[float, float]]) -> Tensor:
        """Score of the first scale less that of the second, (B,)."""
        gray = grayscale(photo)
        z, z_gray = self.base.encode(torch.cat([photo, gray])).chunk(2)
        scales = torch.tensor(pairs).to(z).T.reshape(2, -1, 1, 1, 1)
        with torch.autocast(photo.device.type, enabled=False):
            known = tint(self.base, z_gray)
            pictures = torch.cat([decoded(self.base, z_gray, scale * (z - z_gray), gray, known) for scale in scales])
            better, worse = score(self.ranker, self.features, pictures).chunk(2)
        return better - worse

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
    neutral = tint(base, z_gray)
    pictures = torch.cat([decoded(base, z_gray, scale * delta, gray, neutral) for scale in CANDIDATES])
    return CANDIDATES[int(score(ranker, features, pictures).argmax())]


def _pair(first: float, second: float) -> tuple[float, float]:
    """Two scales, the better one first, of two random numbers in [0, 1)."""
    others = [scale for scale in SCALES if scale != 1]
    if first < 0.5:
        return 1.0, others[int(second * len(others))]
    side = [scale for scale in SCALES if (scale < 1) == (first < 0.75)]
    order = sorted(side, key=lambda scale: abs(scale - 1))
    near = int(second * (len(order) - 1))
    return order[near], order[min(len(order) - 1, near + 1 + int(second * 1009) % (len(order) - 1 - near))]
