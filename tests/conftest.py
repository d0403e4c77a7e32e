"""A base and photos small enough to train on in a second."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers share the cores
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")

import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import nn

from dequant.base import DiffusionBase, new_unet


@pytest.fixture
def tiny_base() -> DiffusionBase:
    """An untrained base of 2 levels whose output convolution is not zero, so that everything has an effect."""
    torch.manual_seed(0)
    unet = new_unet(patch_size=2, block_out_channels=[8, 16], layers_per_block=1, norm_num_groups=4)
    nn.init.normal_(unet.conv_out.weight, std=0.1)
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="sample", variance_type="fixed_small")
    return DiffusionBase(unet, scheduler, patch_size=2)


@pytest.fixture
def condition() -> torch.Tensor:
    """Two conditions (2, 7, 32, 32): random colours at N = 16, one with texture and one without."""
    generator = torch.Generator().manual_seed(1)
    condition = torch.rand(2, 7, 32, 32, generator=generator)
    condition[:, 5] = 16 / 256
    condition[:, 6] = torch.tensor([1.0, 0.0])[:, None, None]
    condition[:, 3:5] *= condition[:, 6:7]
    return condition
