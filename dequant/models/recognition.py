"""What a frozen classifier recognizes in a grey photo, for a UNet too small to have learned what things are."""

from collections.abc import Sequence
from typing import Any, Self

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

from dequant.metrics.efficientnet import EfficientNetLite0

CHANNELS = (40, 112, 1280)
"""Of the classifier's features that are read, after its third and fifth stage and at its end."""

SIDE = 192
"""Shorter side in pixels of the copy that the classifier sees, where the photo has that of the UNet's training."""


class Recognizer(ModelMixin, ConfigMixin):
    """Residuals of a UNet's encoder from features of a classifier, as T2I-Adapter adds them (arXiv:2302.08453).

    They are 0 before training.

    Args:
        outputs: channels of the residuals.
        halvings: of the latents' sides to the sides of each residual.
        width: channels between.
        dropout: share of these that training leaves out.
    """

    @register_to_config
    def __init__(self, outputs: Sequence[int], halvings: Sequence[int], width: int = 96, dropout: float = 0.1) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(1, channels) for channels in CHANNELS)
        self.projections = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in CHANNELS)
        self.drop = nn.Dropout2d(dropout)
        self.heads = nn.ModuleList(nn.Conv2d(width, channels, 1) for channels in outputs)
        for weight in self.heads.parameters():
            nn.init.zeros_(weight)

    @classmethod
    def of(cls, unet: Any) -> Self:
        """One that fits a `UNet2DConditionModel`."""
        channels, kinds = unet.config["block_out_channels"], unet.config["down_block_types"]
        last = len(channels) - 1
        halvings = [at if "CrossAttn" in kind or at == last else at + 1 for at, kind in enumerate(kinds)]
        return cls(list(channels), halvings)

    def forward(self, features: Sequence[Tensor], size: Sequence[int]) -> list[Tensor]:
        """Features (B, C, h', w') with `CHANNELS`, and the sides of the latents -> one residual for each level."""
        inner = [layer(norm(found)) for layer, norm, found in zip(self.projections, self.norms, features, strict=True)]
        residuals = []
        for layer, halvings in zip(self.heads, self.config["halvings"], strict=True):
            sides = [side >> halvings for side in size]
            total = torch.stack([F.interpolate(one, sides, mode="bilinear") for one in inner]).sum(0)
            residuals.append(layer(self.drop(F.silu(total))))
        return residuals


@torch.no_grad()
def recognized(classifier: EfficientNetLite0, gray: Tensor, side: int) -> list[Tensor]:
    """The features that a `Recognizer` reads.

    Args:
        classifier: frozen.
        gray: photos (B, 3, H, W) in [0, 1].
        side: the shorter side that the UNet was trained on.
    """
    rows, columns = (max(1, round(SIDE * length / side / 32)) * 32 for length in gray.shape[2:])
    stages = classifier.stage_features(F.interpolate(gray, (rows, columns), mode="bilinear", antialias=True), 7)
    return [stages[2], stages[4], F.relu6(classifier.head(stages[6]))]
