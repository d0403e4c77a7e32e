"""Perceptual networks: small ones of the real layouts, and one whose features are easy to predict."""

from pathlib import Path

import torch
from torch import Tensor, nn
from transformers.models.clip.configuration_clip import CLIPConfig
from transformers.models.clip.modeling_clip import CLIPModel

from dequant.metrics.perceptual import _vgg16


def write_vgg16(path: Path) -> Path:
    """Random weights as torchvision saves them, the classifier cut short."""
    torch.manual_seed(0)
    weights = {f"features.{name}": tensor for name, tensor in _vgg16().state_dict().items()}
    torch.save(weights | {"classifier.0.bias": torch.zeros(2)}, path)
    return path


def write_clip(folder: Path) -> Path:
    """A CLIP model of two narrow layers."""
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = small | {"vocab_size": 8, "bos_token_id": 0, "eos_token_id": 1}
    config = CLIPConfig(text_config=text, vision_config=small | {"image_size": 32, "patch_size": 8}, projection_dim=8)
    CLIPModel(config).save_pretrained(folder)
    return folder


class Pooled(nn.Module):
    """Features that are easy to predict, and a count of the pictures seen."""

    def __init__(self, factor: float = 1) -> None:
        super().__init__()
        self.factor, self.seen = nn.Parameter(torch.tensor(float(factor))), 0

    def forward(self, rgb: Tensor) -> Tensor:
        self.seen += len(rgb)
        return self.factor * rgb.mean((2, 3))
