"""The small autoencoder of the bundled latent world, in diffusers' own class."""

from collections.abc import Sequence

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL


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
