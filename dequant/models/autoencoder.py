"""Into the latents of an autoencoder and back; and a small one of our own, in diffusers' class."""

from collections.abc import Sequence

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor


def downscale(vae: ModelMixin) -> int:
    """Pixels per side of one place of the latents."""
    return 2 ** (len(vae.config["block_out_channels"]) - 1)


@torch.no_grad()
def encode(vae: ModelMixin, rgb: Tensor) -> Tensor:
    """The likeliest latents of rgb (B, 3, H, W) in [0, 1], scaled to a variance of about 1: (B, C, h, w) float32."""
    output = vae.encode((2 * rgb - 1).to(vae.dtype))
    latents = output.latents if hasattr(output, "latents") else output.latent_dist.mode()
    return vae.config["scaling_factor"] * latents.float()


def decode(vae: ModelMixin, z: Tensor) -> Tensor:
    """Inverse of `encode`, in [-1, 1] but for overshoot: (B, 3, H, W) float32."""
    return vae.decode((z / vae.config["scaling_factor"]).to(vae.dtype)).sample.float()


def new_autoencoder(block_out_channels: Sequence[int], latent_channels: int, norm_num_groups: int) -> AutoencoderKL:
    """An untrained autoencoder: one block of each width, each but the last halving both sides; no attention.

    Its latents are scaled once it is trained (`scaling_factor`, 1 until then).
    """
    blocks = len(block_out_channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        block_out_channels=tuple(block_out_channels),
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=norm_num_groups,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    ).to(memory_format=torch.channels_last)
