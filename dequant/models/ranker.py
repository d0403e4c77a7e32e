"""A ranker of colourfulness: which of several pictures of one photo looks most natural."""

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from dequant.color.spaces import colorfulness, rgb_to_lab

STATISTICS = 5


class ScaleRanker(ModelMixin, ConfigMixin):
    """Scores pictures by a frozen network's features of them and statistics of their chroma.

    Args:
        features: of the frozen network.
        network: its name, "efficientnet_lite0" or a hub id of CLIP.
        hidden: width of the layer between.
    """

    @register_to_config
    def __init__(self, features: int = 1280, network: str = "efficientnet_lite0", hidden: int = 256) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.layers = nn.Sequential(nn.Linear(features + STATISTICS, hidden), nn.GELU(), nn.Linear(hidden, 1))

    def forward(self, features: Tensor, statistics: Tensor) -> Tensor:
        """Features (B, F) and statistics (B, 5) -> scores (B,); larger is more natural."""
        return self.layers(torch.cat([self.norm(features), statistics], dim=1))[:, 0]


def chroma_statistics(rgb: Tensor) -> Tensor:
    """Colourfulness, and mean and quantiles of the chroma, about 0 to 2: rgb (B, 3, H, W) in [0, 1] -> (B, 5)."""
    chroma = rgb_to_lab(rgb)[:, 1:].square().sum(1).sqrt().flatten(1) / 50
    levels = torch.quantile(chroma, torch.tensor([0.5, 0.9, 0.99]).to(chroma), dim=1).T
    return torch.cat([colorfulness(rgb)[:, None] / 50, chroma.mean(1, keepdim=True), levels], dim=1)
