"""A latent base that reads text, small enough for tests, and a colorizer of it."""

from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn

from dequant.colorization.pipeline import ColorizePipeline
from dequant.models.latent import LatentBase, new_latent_base
from dequant.models.mixing import GrayMix
from dequant.models.ranker import ScaleRanker

WORDS = ("a", "red", "blue", "car", "on")

SIDE = 32
"""Pixels per side of the squares that the UNet takes."""


def vae() -> AutoencoderKL:
    """An untrained autoencoder of three levels, whose pictures have some contrast."""
    torch.manual_seed(0)
    coder = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 16, 16),
        latent_channels=4,
        norm_num_groups=4,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )
    nn.init.normal_(coder.decoder.conv_out.weight, std=0.1)
    return coder


def base(coder: Path, **changes: Any) -> LatentBase:
    """A base on the autoencoder in a folder, whose UNet is not silent."""
    torch.manual_seed(1)
    sizes = {"block_out_channels": [8, 16], "text_width": 32, "text_layers": 1, "text_length": 8}
    sizes |= {"sample_size": SIDE // 4, "norm_num_groups": 4, "recognizes": False}
    made = new_latent_base(str(coder), WORDS, **sizes | changes)
    nn.init.normal_(made.unet.conv_out.weight, std=0.02)
    for layer in made.recognizer.heads if made.recognizer else ():
        nn.init.normal_(layer.weight, std=0.1)
    return made


def ranker(features: int = 1280) -> ScaleRanker:
    """An untrained ranker."""
    torch.manual_seed(2)
    return ScaleRanker(features, hidden=8)


def pipeline(coder: Path, **options: Any) -> ColorizePipeline:
    """A quiet pipeline of `base`."""
    if options.get("method") == "semantic":
        torch.manual_seed(4)
        options["mix"] = GrayMix(4)
        nn.init.normal_(options["mix"].layer.weight, std=0.3)
    pipe = ColorizePipeline.of(base(coder), **options)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def saved(folder: Path, **options: Any) -> Path:
    """The folder of a saved pipeline without a ranker, which takes two steps."""
    vae().save_pretrained(folder / "vae")
    pipeline(folder / "vae", num_inference_steps=2, **options).save_pretrained(folder / "saved")
    return folder / "saved"


def batch(count: int = 2, side: int = SIDE, **more: Any) -> dict[str, Any]:
    """A training batch of smooth colours."""
    rgb = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    photo = nn.functional.interpolate(rgb, (side, side), mode="bilinear")
    return {"target": photo, "caption": ["a red car"] * count, "seed": list(range(count))} | more


def losses(learner: Any, given: dict[str, Any], steps: int) -> list[Tensor]:
    """Of so many training steps on one batch."""
    optimizer, found = learner.configure_optimizers(), []
    for _ in range(steps):
        optimizer.zero_grad()
        found.append(learner.training_step(given, 0))
        found[-1].backward()
        optimizer.step()
    return found


class Toy(nn.Module):
    """Stands for a frozen network: the mean colour of quarters of rgb (B, 3, H, W), (B, 12)."""

    def forward(self, rgb: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(rgb, 2).flatten(1)
