"""A pipeline of an untrained base, and a photo for it."""

import pytest
import torch

from dequant.models.base import DiffusionBase
from dequant.pipelines.dequant import DequantPipeline
from tests.support.pipelines import SIZE, dequantizer


@pytest.fixture
def pipe(tiny_base: DiffusionBase) -> DequantPipeline:
    pipe = dequantizer(tiny_base).to_pipeline()
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def photo() -> torch.Tensor:
    """Smooth colours on the grid of 8-bit values, with an edge."""
    rows, columns = torch.meshgrid(torch.linspace(0, 1, SIZE[0]), torch.linspace(0, 1, SIZE[1]), indexing="ij")
    rgb = torch.stack((rows, columns, (rows - columns).abs()))
    rgb[:, 10:, 20:] = 1 - rgb[:, 10:, 20:]
    return (rgb * 255).round() / 255
