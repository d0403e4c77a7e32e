"""The way of grey latents into a denoising UNet (arXiv:2404.16678, equation 1)."""

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn


class GrayMix(ModelMixin, ConfigMixin):
    """A 1 x 1 convolution over noisy and grey latents, and what noise is added to.

    With the defaults it passes the noisy latents on as they are at first, and these are of the photo. A network that
    knows no photos learns sooner with `gray=1`, which adds the grey latents, and with noise on colour alone.

    Args:
        channels: of the latents.
        gray: of the grey latents at first.
        color_scale: noise is added to the colour, latents of the photo less those of its grey copy, times this; None
            adds it to the latents of the photo.
    """

    @register_to_config
    def __init__(self, channels: int = 4, gray: float = 0.0, color_scale: float | None = None) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2 * channels, channels, 1)
        with torch.no_grad():
            self.layer.weight[:, :, 0, 0] = torch.cat([torch.eye(channels), gray * torch.eye(channels)], dim=1)
            self.layer.bias.zero_()  # type: ignore[union-attr]

    def forward(self, noisy: Tensor, z_gray: Tensor) -> Tensor:
        """Noisy and grey latents (B, C, h, w) -> what the UNet reads, (B, C, h, w)."""
        return self.layer(torch.cat([noisy, z_gray], dim=1))

    def of_photo(self, z: Tensor, z_gray: Tensor) -> Tensor:
        """What noise is added to, of the latents of photos and of their grey copies, all (B, C, h, w)."""
        scale = self.config["color_scale"]
        return z if scale is None else scale * (z - z_gray)

    def color(self, drawn: Tensor, z_gray: Tensor) -> Tensor:
        """The colour, `z - z_gray` of `of_photo`."""
        scale = self.config["color_scale"]
        return drawn - z_gray if scale is None else drawn / scale
