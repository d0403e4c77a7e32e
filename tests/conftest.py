"""A base and photos small enough to train on in a second."""

import os

from tests.support.paths import CONF, GOLDEN

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers share the cores
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")

from collections.abc import Iterator

import pytest
import torch
from diffusers.schedulers import scheduling_ddpm
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from hypothesis import settings
from torch import nn

from dequant.diffusion.sampler import Sampler
from dequant.io.images import read_image
from dequant.models import base
from dequant.models.base import DiffusionBase, new_unet

settings.register_profile("fixed", derandomize=True)  # seeds are fixed, here too
settings.load_profile("fixed")


@pytest.fixture(scope="session", autouse=True)
def staging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what Weights & Biases would upload with the tests' files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        patch.setenv("WANDB_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


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


@pytest.fixture
def photo() -> torch.Tensor:
    """A square of a photograph, (3, 64, 64) in [0, 1]."""
    return read_image(GOLDEN / "caps.png")[:, 32:96, 32:96]


@pytest.fixture(scope="session")
def super27() -> Sampler:
    """The sampler of that name."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return instantiate(compose("train", ["sampler=super27"]).sampler)


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Noise that is handed out in place of random numbers, in the order of the list. Solvers are not tried out."""
    queue: list[torch.Tensor] = []
    monkeypatch.setattr("dequant.diffusion.sampler.check_result", lambda *_: None)

    def next_draw(shape: tuple[int, ...], *args: object, **kwargs: object) -> torch.Tensor:
        assert queue[0].shape == tuple(shape)
        return queue.pop(0)

    for module in (base, scheduling_ddpm):
        monkeypatch.setattr(module, "randn_tensor", next_draw)
    return queue
