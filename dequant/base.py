"""The diffusion base: a frozen UNet with its noise schedule."""

import copy
import hashlib
import json
from pathlib import Path
from typing import Any, Self

import torch
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor, nn
from torch.nn import functional as F

from dequant import InputError, diffusion

Residuals = tuple[tuple[Tensor, ...], Tensor]
"""What a control encoder adds: one tensor per skip connection, and one after the middle block."""


class DiffusionBase(nn.Module):
    """A pixel-space diffusion model whose extra input is a coarse image, such as stage II of DeepFloyd IF.

    The coarse image is the quantized photo. In place of IF's augmentation level, one number for the whole image, the
    network is told per pixel how far the colours can be trusted: `level`, N / 256.
    The network predicts the residual about `diffusion.posterior`; `denoise` returns the clean image.

    Args:
        unet: input x_t, coarse image and level (7 channels, times `patch_size` squared), output 3 channels (likewise).
        scheduler: noise schedule with `prediction_type="sample"`.
        patch_size: pixels are folded into channels in squares of this side, so that the first block runs on a
            smaller grid (twice as fast at 2).
    """

    def __init__(self, unet: UNet2DConditionModel, scheduler: DDPMScheduler, patch_size: int = 1) -> None:
        super().__init__()
        self.unet = unet
        self.scheduler = scheduler
        self.patch_size = patch_size

    @property
    def multiple(self) -> int:
        """Height and width of an image must be multiples of this."""
        return self.patch_size * 2 ** (len(self.unet.config["block_out_channels"]) - 1)

    @property
    def fingerprint(self) -> str:
        """Short hash of architecture and weights: control weights belong to the base they were trained on."""
        digest = hashlib.sha256(json.dumps(_architecture(self.unet), sort_keys=True).encode())
        for name in ("conv_in.weight", "mid_block.resnets.0.conv1.weight", "conv_out.weight"):
            digest.update(self.unet.get_parameter(name).detach().to("cpu", torch.float16).numpy().tobytes())
        return digest.hexdigest()[:12]

    def encode(self, rgb: Tensor) -> Tensor:
        """Map rgb (B, 3, H, W) in [0, 1] to the space that diffusion runs in."""
        return 2 * rgb - 1

    def decode(self, z: Tensor) -> Tensor:
        """Inverse of `encode`, clamped to [0, 1]."""
        return ((z + 1) / 2).clamp(0, 1)

    def add_noise(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """`x_t = a x + s n` for timesteps `t` (B,)."""
        a, s = diffusion.signal_and_noise(self.scheduler, t)
        return a * x + s * noise

    def denoise(
        self, x_t: Tensor, t: Tensor, color: Tensor, level: Tensor, residuals: Residuals | None = None
    ) -> tuple[Tensor, Tensor]:
        """Predict the clean image.

        Args:
            x_t: (B, 3, H, W), the noised image.
            t: timesteps (B,), 0..999.
            color: (B, 3, H, W) on [-1, 1], the quantized image.
            level: (B, 1, H, W) in (0, 1], the colour level N / 256.
            residuals: of a control encoder, or None for the base alone.

        Returns:
            The clean image (B, 3, H, W) on [-1, 1] and the deviation (B, 1, H, W) that `diffusion.loss` divides by.
        """
        a, s = diffusion.signal_and_noise(self.scheduler, t)
        mean, deviation = diffusion.posterior(x_t, color, diffusion.color_std(level), a, s)
        trust = (256 * level).log2() / 4 - 1
        down, mid = residuals or (None, None)
        inputs = F.pixel_unshuffle(torch.cat([x_t, color, trust], dim=1), self.patch_size)
        output = self.unet(
            inputs.contiguous(memory_format=torch.channels_last),
            t,
            None,
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
            return_dict=False,
        )[0]
        return mean + deviation * F.pixel_shuffle(output.float(), self.patch_size), deviation

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load `unet/`, `scheduler/` and `base.json` written by `save_pretrained`, in float32.

        Raises:
            InputError: the folder does not hold a base.
        """
        folder = Path(folder)
        if not (folder / "base.json").is_file():
            raise InputError(
                f"{folder} holds no diffusion base: a folder with base.json, unet/ and scheduler/ is needed."
            )
        unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
        scheduler = DDPMScheduler.from_pretrained(folder / "scheduler")
        return cls(unet, scheduler, **json.loads((folder / "base.json").read_text()))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write weights (float16 safetensors) and configurations to a folder."""
        folder = Path(folder)
        half_precision(self.unet).save_pretrained(folder / "unet")
        self.scheduler.save_pretrained(folder / "scheduler")
        (folder / "base.json").write_text(json.dumps({"patch_size": self.patch_size}) + "\n")


def bundled() -> str:
    """Folder of the small base that comes with the package."""
    return str(Path(__file__).parent / "weights" / "small")


def new_unet(
    patch_size: int, block_out_channels: list[int], layers_per_block: int, norm_num_groups: int
) -> UNet2DConditionModel:
    """An untrained UNet in the manner of IF's stage II without its attention to a text prompt.

    The output convolution is zero: the first prediction is the mean of `diffusion.posterior`.
    """
    levels = len(block_out_channels)
    unet = UNet2DConditionModel(
        in_channels=7 * patch_size**2,
        out_channels=3 * patch_size**2,
        block_out_channels=tuple(block_out_channels),
        layers_per_block=layers_per_block,
        down_block_types=("DownBlock2D",) * levels,
        mid_block_type="UNetMidBlock2D",
        up_block_types=("UpBlock2D",) * levels,
        norm_num_groups=norm_num_groups,
        resnet_time_scale_shift="scale_shift",
        cross_attention_dim=8,
    )
    nn.init.zeros_(unet.conv_out.weight)
    nn.init.zeros_(unet.conv_out.bias)
    return unet


def half_precision(module: ModelMixin) -> ModelMixin:
    """A float16 copy, for release."""
    module = copy.deepcopy(module).cpu()
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = tensor.data.half()
    return module


def _architecture(unet: UNet2DConditionModel) -> dict[str, Any]:
    keys = ("in_channels", "out_channels", "block_out_channels", "layers_per_block", "norm_num_groups")
    return {key: unet.config[key] for key in keys}
