"""What is saved is what is loaded, of any base."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.utils import hub_utils
from huggingface_hub import RepoUrl

from dequant.color.palette import quantize
from dequant.condition.channels import for_palette
from dequant.condition.texture import TEXTURES
from dequant.diffusion.sampler import Sampler
from dequant.models.base import DiffusionBase
from dequant.models.control import ControlEncoder
from dequant.pipelines.dequant import DequantPipeline
from dequant.training.dequantizer import Dequantizer
from tests.support.pipelines import dequantizer, draw, seeded


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_save_and_load_give_identical_images(
    pipe: DequantPipeline, photo: torch.Tensor, tmp_path: Path, dtype: torch.dtype
) -> None:
    pipe.to(dtype).save_pretrained(tmp_path)
    again = DequantPipeline.from_pretrained(tmp_path, dtype=dtype)
    assert '"dequant.models.control"' in (tmp_path / "model_index.json").read_text()
    assert again.dtype == dtype
    assert isinstance(again.scheduler, DDIMScheduler)
    assert torch.equal(draw(again, photo), draw(pipe, photo))
    full = DequantPipeline.from_pretrained(tmp_path)
    assert full.dtype == torch.float32
    torch.testing.assert_close(draw(full, photo), draw(pipe, photo), atol=0.1, rtol=0)


def test_push_to_hub(
    pipe: DequantPipeline, photo: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is uploaded is what `from_pretrained` reads."""

    def upload(folder_path: str, repo_id: str, **options: Any) -> str:
        return str(shutil.copytree(folder_path, tmp_path / repo_id))

    monkeypatch.setattr(hub_utils, "create_repo", lambda repo_id, **options: RepoUrl(f"https://hf.co/{repo_id}"))
    monkeypatch.setattr(hub_utils, "upload_folder", upload)
    uploaded = pipe.push_to_hub("owner/name")
    assert uploaded == str(tmp_path / "owner" / "name")
    assert (tmp_path / "owner" / "name" / "README.md").is_file()
    assert torch.equal(draw(DequantPipeline.from_pretrained(uploaded), photo), draw(pipe, photo))


def test_timesteps_survive_save_and_load(tiny_base: DiffusionBase, photo: torch.Tensor, tmp_path: Path) -> None:
    exported = dequantizer(tiny_base, solver=DDPMScheduler, timesteps=[999, 400, 0]).to_pipeline()
    exported.save_pretrained(tmp_path)
    again = DequantPipeline.from_pretrained(tmp_path)
    assert torch.equal(draw(again, photo), draw(exported, photo))
    assert again.config["timesteps"] == [999, 400, 0]


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
def coarse_base() -> DiffusionBase:
    """In the shape of DeepFloyd IF stage II: a coarse image at an augmentation level, and a learned variance."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        in_channels=6,
        out_channels=6,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        cross_attention_dim=12,
        attention_head_dim=4,
        class_embed_type="timestep",
        resnet_time_scale_shift="scale_shift",
    )
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", variance_type="learned_range")
    return DiffusionBase(unet, scheduler, text_embedding=torch.randn(1, 77, 12), augmentation=0.1)


@pytest.mark.parametrize("kind", ["latent_base", "coarse_base"])
@pytest.mark.parametrize("solver", [DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler])
def test_other_bases(
    kind: str, solver: type, photo: torch.Tensor, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    base = request.getfixturevalue(kind)
    stem = {"stem_widths": [8, 16]} if base.downscale > 1 else {}
    make = partial(ControlEncoder.from_base, **stem)
    model = Dequantizer(base, make, Sampler(solver, {}, num_inference_steps=3))
    given = for_palette(quantize(photo, 8).rgb, 8, TEXTURES["T"].map(photo))
    expected = model.draw(given[None], [seeded()])
    exported = model.to_pipeline()
    torch.testing.assert_close(draw(exported, photo, n_colors=8, generator=[seeded()]), expected, atol=0, rtol=0)
    exported.save_pretrained(tmp_path)
    again = DequantPipeline.from_pretrained(tmp_path)
    torch.testing.assert_close(draw(again, photo, n_colors=8, generator=[seeded()]), expected, atol=0, rtol=0)
    assert again.config["augmentation"] == base.augmentation
    assert draw(again.to(torch.bfloat16), photo, n_colors=8).isfinite().all()
    half = DequantPipeline.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert half.text_embedding.dtype == torch.bfloat16
    half.enable_model_cpu_offload(device="cpu")
    assert draw(half, [photo, photo[:, :9]], n_colors=8)[0].shape == photo.shape
