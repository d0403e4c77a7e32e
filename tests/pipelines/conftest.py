"""A pipeline of an untrained base, a base in latents, and a photo."""

import sys
from pathlib import Path

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.utils import dynamic_modules_utils

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


@pytest.fixture
def latent_base() -> DiffusionBase:
    """In the shape of Stable Diffusion: latents, and attention to a prompt."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=12,
        attention_head_dim=4,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
    )
    scheduler = DDPMScheduler(beta_schedule="scaled_linear", prediction_type="epsilon")
    return DiffusionBase(unet, scheduler, vae=vae, text_embedding=torch.randn(1, 77, 12))


@pytest.fixture
def dynamic_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where diffusers puts the code that it runs."""
    monkeypatch.setattr(dynamic_modules_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", sys.path[:])
    return tmp_path / "modules"
