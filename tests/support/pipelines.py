"""A small pipeline for tests: an encoder with an effect, and the model that is exported."""

from typing import Any

import torch

from dequant.diffusion.sampler import Sampler
from dequant.models.base import DiffusionBase
from dequant.models.control import ControlEncoder
from dequant.pipelines.dequant import DequantPipeline
from dequant.training.dequantizer import Dequantizer

SIZE = (24, 33)


def encoder(base: DiffusionBase, variant: str = "T") -> ControlEncoder:
    """An encoder whose residuals are not zero."""
    torch.manual_seed(1)
    control = ControlEncoder.from_base(base, variant)
    for conv in (*control.zero_convs, control.zero_conv_mid):
        torch.nn.init.normal_(conv.weight, std=0.1)
    return control


def dequantizer(base: DiffusionBase, variant: str = "T", **sampler: Any) -> Dequantizer:
    return Dequantizer(base, encoder, Sampler(**(sampler or {"num_inference_steps": 3})), variant=variant)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(pipe: DequantPipeline, image: Any, **options: Any) -> torch.Tensor:
    options = {"generator": seeded(), "output_type": "pt"} | options
    return pipe(image, **options).images
