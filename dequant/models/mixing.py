"""The way of grey latents into a denoising UNet (arXiv:2404.16678, equation 1)."""

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn


class GrayMix(ModelMixin, ConfigMixin):
    """A 1 x 1 convolution over noisy and grey latents; at first it passes the noisy ones on as they are.

    Args:
        channels: of the latents.
    """

    @register_to_config
    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2 * channels, channels, 1)
        with torch.no_grad():
            self.layer.weight.zero_()
            self.layer.weight[:, :channels, 0, 0] = torch.eye(channels)
            self.layer.bias.zero_()  # type: ignore[union-attr]

    def forward(self, z: Tensor, z_gray: Tensor) -> Tensor:
        """Noisy and grey latents (B, C, h, w) -> what the UNet reads, (B, C, h, w)."""
        return self.layer(torch.cat([z, z_gray], dim=1))
