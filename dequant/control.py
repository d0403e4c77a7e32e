"""The control encoder: a trainable copy of the base's encoder half that reads the condition."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from diffusers.configuration_utils import ConfigMixin, FrozenDict, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from . import InputError

if TYPE_CHECKING:
    from dequant.base import DiffusionBase

CONDITION_CHANNELS = 7


class ControlEncoder(ModelMixin, ConfigMixin):
    """Turns a condition into residuals for the skip connections and the middle block of a frozen UNet.

    Paper section 3, "Architecture". As in the released network the encoder sees the condition and the timestep, never
    x_t: `g = stem(condition)`, `h = conv_in(g) + g`, then copies of the base's down and middle blocks, each output
    followed by a 1x1 convolution that starts at zero, so that an untrained encoder changes nothing.

    Args:
        unet_config: configuration of the base's UNet.
        patch_size: the base's.
        texture_gain: factor on the texture channels, so that texture maps of different size reach the stem alike.
        variant: name of the texture it was trained on.
        base: fingerprint of the base it was trained on.
    """

    @register_to_config
    def __init__(
        self,
        unet_config: dict[str, Any],
        patch_size: int = 1,
        texture_gain: float = 1.0,
        variant: str = "",
        base: str = "",
    ) -> None:
        super().__init__()
        unet = UNet2DConditionModel.from_config(FrozenDict(unet_config))
        width = unet_config["block_out_channels"][0]
        self.stem = nn.Sequential(
            nn.Conv2d(CONDITION_CHANNELS * patch_size**2, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.conv_in = nn.Conv2d(width, width, 3, padding=1)
        self.time_proj = unet.time_proj
        self.time_embedding = unet.time_embedding
        self.down_blocks = unet.down_blocks
        self.mid_block = unet.mid_block
        self.zero_convs = nn.ModuleList(_zero_conv(channels) for channels in _skip_channels(unet_config))
        self.zero_conv_mid = _zero_conv(unet_config["block_out_channels"][-1])

    @classmethod
    def from_base(cls, base: "DiffusionBase", variant: str, texture_gain: float = 1.0) -> Self:
        """An untrained encoder whose time embedding, down blocks and middle block are copied from the base's UNet."""
        unet_config = {key: value for key, value in base.unet.config.items() if not key.startswith("_")}
        control = cls(unet_config, base.patch_size, texture_gain, variant, base.fingerprint)
        for name in ("time_embedding", "down_blocks", "mid_block"):
            getattr(control, name).load_state_dict(getattr(base.unet, name).state_dict())
        return control

    def forward(self, condition: Tensor, t: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Residuals for the base.

        Args:
            condition: (B, 7, H, W) in [0, 1], H and W multiples of the base's `multiple`.
            t: timesteps (B,), 0..999.

        Returns:
            One tensor per skip connection, in the order of the UNet's encoder, and one for the middle block.
        """
        g = self.stem(F.pixel_unshuffle(self._normalize(condition), self.config.patch_size))
        embedding = self.time_embedding(self.time_proj(t).to(g.dtype))
        h = self.conv_in(g) + g
        skips = (h,)
        for block in self.down_blocks:
            h, block_skips = block(hidden_states=h, temb=embedding)
            skips += block_skips
        h = self.mid_block(h, embedding)
        down = tuple(conv(skip) for conv, skip in zip(self.zero_convs, skips, strict=True))
        return down, self.zero_conv_mid(h)

    def _normalize(self, condition: Tensor) -> Tensor:
        """Colours and indicator on [-1, 1], level in octaves, texture centred where it is given and 0 where not."""
        rgb, texture, level, given = condition.split([3, 2, 1, 1], dim=1)
        return torch.cat(
            [
                2 * rgb - 1,
                self.config.texture_gain * (2 * texture - 1) * given,
                (256 * level).log2() / 4 - 1,
                2 * given - 1,
            ],
            dim=1,
        ).contiguous(memory_format=torch.channels_last)


def bundled(variant: str) -> str:
    """Folder of the encoder of a variant that comes with the package.

    Raises:
        InputError: there is none.
    """
    folder = Path(__file__).parent / "weights" / f"small_{variant}"
    if not (folder / "config.json").is_file():
        raise InputError(
            f"No weights of variant {variant!r} are bundled: train them with train.py variant={variant} and give "
            "their folder or checkpoint with ckpt_path=PATH."
        )
    return str(folder)


def _zero_conv(channels: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels, channels, 1)
    for parameter in conv.parameters():
        nn.init.zeros_(parameter)
    return conv


def _skip_channels(unet_config: dict[str, Any]) -> list[int]:
    """Channels of the UNet's skip connections: conv_in, then each block's layers and its downsampler."""
    widths, layers = unet_config["block_out_channels"], unet_config["layers_per_block"]
    channels = [widths[0]]
    for i, width in enumerate(widths):
        channels += [width] * layers + [width] * (i < len(widths) - 1)
    return channels
