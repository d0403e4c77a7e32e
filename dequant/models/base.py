"""The diffusion base: a frozen UNet with its noise schedule, and the space it runs in."""

import copy
import hashlib
import json
from pathlib import Path
from typing import NamedTuple, Self

import torch
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn
from torch.nn import functional as F

from dequant.condition.channels import Condition, color_std
from dequant.diffusion.schedule import Generator, cosine_alphas_cumprod, posterior, signal_and_noise
from dequant.diffusion.solver import check_schedule
from dequant.models import autoencoder
from dequant.models.finite import copy_for_release
from dequant.models.hub import Source, check_base
from dequant.models.order import keep_order
from dequant.models.prompt import EMBEDDING, empty_prompt, having_read, sharing, write_embedding

Residuals = tuple[tuple[Tensor, ...], Tensor]
"""What a control encoder adds: one tensor per skip connection, and one after the middle block."""


ARCHITECTURE = ("in_channels", "out_channels", "block_out_channels", "layers_per_block", "norm_num_groups")
"""Of a UNet's configuration, what its fingerprint covers."""


class Context(NamedTuple):
    """What a UNet is conditioned on besides the image: each is None for a base that has no such input.

    text: embedding of the empty prompt, (B, 77, D).
    augmentation: the UNet's embedding of the noise level of its coarse image, (B, E).
    """

    text: Tensor | None
    augmentation: Tensor | None


class DiffusionBase(nn.Module):
    """A diffusion model that a control encoder steers; the UNet's and the scheduler's configurations say which kind.

    - `prediction_type="sample"`: a pixel model in the manner of stage II of DeepFloyd IF, whose extra input is the
      quantized photo. In place of IF's augmentation level, one number for the whole image, it reads the colour level
      N / 256 of each pixel. It predicts the residual about `schedule.posterior`.
    - A UNet with more input channels than the image has: super-resolution, such as DeepFloyd IF stage II. The
      quantized photo is its coarse image, noised afresh in each call to the augmentation level.
    - Otherwise a plain model, such as Stable Diffusion: the quantized photo reaches it by the control encoder alone.

    Args:
        unet: for `prediction_type="sample"` it reads x_t, coarse image and level (7 channels, times `patch_size`
            squared) and writes 3 channels (likewise).
        scheduler: noise schedule; that of IF is replaced by a copy in the precision of IF's own code.
        patch_size: pixels are folded into channels in squares of this side, so that the first block runs on a
            smaller grid (twice as fast at 2).
        vae: autoencoder of a latent base, None for one of pixels.
        text_embedding: of the empty prompt, (1, 77, D), which a UNet that attends to a prompt needs to denoise.
        augmentation: noise level of the coarse image, 0..1. 0 still is the first step of the schedule, 0.8 grey levels.
    """

    text_embedding: Tensor | None

    def __init__(
        self,
        unet: UNet2DConditionModel,
        scheduler: DDPMScheduler,
        patch_size: int = 1,
        vae: ModelMixin | None = None,
        text_embedding: Tensor | None = None,
        augmentation: float = 0.0,
    ) -> None:
        super().__init__()
        self.unet = unet
        self.patch_size = patch_size
        self.vae = vae
        self.augmentation = augmentation
        self.register_buffer("text_embedding", text_embedding, persistent=False)
        self._fingerprint: str | None = None
        check_schedule(scheduler)
        exact = {"variance_type": "learned_range", "beta_schedule": "squaredcos_cap_v2"}
        if exact.items() <= dict(scheduler.config).items():  # IF's own code computes this schedule in float64
            scheduler = copy.copy(scheduler)
            scheduler.alphas_cumprod = cosine_alphas_cumprod(scheduler.config.num_train_timesteps)
        self.scheduler = scheduler
        keep_order(unet)
        check_base(unet, patch_size, augmentation, self.channels, scheduler.config.prediction_type == "sample")

    @property
    def channels(self) -> int:
        """Channels of the space that diffusion runs in: 3 for pixels."""
        return 3 if self.vae is None else self.vae.config["latent_channels"]

    @property
    def downscale(self) -> int:
        """Pixels per side of one place of that space: 1 for pixels."""
        return 1 if self.vae is None else autoencoder.downscale(self.vae)

    @property
    def multiple(self) -> int:
        """Height and width of an image must be multiples of this."""
        return self.downscale * self.patch_size * 2 ** (len(self.unet.config["block_out_channels"]) - 1)

    @property
    def memory_format(self) -> torch.memory_format:
        """Order of weights and features in memory: channels last is faster, but its GroupNorm rounds worse on CPUs.

        So networks trained elsewhere keep the order that they were made with.
        """
        trained_here = self.scheduler.config.prediction_type == "sample"
        return torch.channels_last if trained_here else torch.contiguous_format

    @property
    def fingerprint(self) -> str:
        """Short hash of architecture and weights: control weights belong to the base they were trained on."""
        if self._fingerprint is not None:
            return self._fingerprint
        architecture = {key: self.unet.config[key] for key in ARCHITECTURE}
        digest = hashlib.sha256(json.dumps(architecture, sort_keys=True).encode())
        for name in ("conv_in.weight", "mid_block.resnets.0.conv1.weight", "conv_out.weight"):
            digest.update(self.unet.get_parameter(name).detach().to("cpu", torch.float16).numpy().tobytes())
        return digest.hexdigest()[:12]

    def in_precision(self, dtype: torch.dtype) -> Self:
        """Keep the UNet in `dtype`; it is still known by the fingerprint that it had before."""
        self._fingerprint = self.fingerprint
        nn.Module.to(self.unet, dtype)  # diffusers' own warns about an empty list of exceptions
        return self

    @torch.no_grad()
    def encode(self, rgb: Tensor) -> Tensor:
        """Map rgb (B, 3, H, W) in [0, 1] to the space that diffusion runs in."""
        if self.vae is None:
            return 2 * rgb - 1
        return autoencoder.encode(self.vae, rgb)

    def decode(self, z: Tensor, in_tiles: bool = False) -> Tensor:
        """Inverse of `encode`, clamped to [0, 1]; in tiles the autoencoder takes large latents piece by piece."""
        if self.vae is not None:
            tiling = self.vae.use_tiling
            self.vae.use_tiling = tiling or in_tiles
            z = autoencoder.decode(self.vae, z)
            self.vae.use_tiling = tiling
        return ((z + 1) / 2).clamp(0, 1)

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Shape of `encode`'s result for one image whose sides are multiples of `multiple`."""
        return self.channels, height // self.downscale, width // self.downscale

    def add_noise(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """`x_t = a x + s n` for timesteps `t` (B,)."""
        a, s = signal_and_noise(self.scheduler, t)
        return a * x + s * noise

    def context(self, batch_size: int) -> Context:
        """What the UNet is conditioned on besides the image, for a control encoder to share."""
        text = None if self.text_embedding is None else self.text_embedding.repeat(batch_size, 1, 1)
        steps = self._augmentation_steps(batch_size, self.unet.device)
        return Context(text, self.unet.get_class_embed(self.unet.conv_in.weight, steps))

    def having_read(self) -> Self:
        """This base, whose UNet has read the prompt, for many steps; all weights are shared."""
        return sharing(self, unet=having_read(self.unet, self.text_embedding))

    def denoise(
        self,
        x_t: Tensor,
        t: Tensor,
        condition: Tensor,
        residuals: Residuals | None = None,
        generator: Generator = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Predict what the scheduler's `prediction_type` names.

        Args:
            x_t: (B, C, h, w), the noised image or latents.
            t: timesteps (B,), 0..999.
            condition: (B, 7, H, W) in [0, 1], of which the base reads the colours and the level.
            residuals: of a control encoder, or None for the base alone.
            generator: of the coarse image's noise, one for the batch or one per image.

        Returns:
            The prediction (B, C, h, w), twice as many channels with a learned variance, and for the clean image the
            deviation (B, 1, H, W) that `loss.loss` divides by.
        """
        asked = Condition.of(condition)
        color = 2 * asked.colors - 1
        if self.scheduler.config.prediction_type == "sample":
            return self._denoise_about_posterior(x_t, t, color, asked.level, residuals)
        inputs = [x_t]
        if self.unet.config["in_channels"] > self.channels:
            a, s = signal_and_noise(self.scheduler, self._augmentation_steps(len(x_t), x_t.device))
            inputs.append(a * color + s * randn_tensor(color.shape, generator, color.device, color.dtype))
        return self._predict(torch.cat(inputs, dim=1), t, residuals), None

    def _denoise_about_posterior(
        self, x_t: Tensor, t: Tensor, color: Tensor, level: Tensor, residuals: Residuals | None
    ) -> tuple[Tensor, Tensor]:
        """The network's output is the residual about the posterior's mean in units of its deviation."""
        a, s = signal_and_noise(self.scheduler, t)
        mean, deviation = posterior(x_t, color, color_std(level), a, s)
        trust = (256 * level).log2() / 4 - 1
        inputs = F.pixel_unshuffle(torch.cat([x_t, color, trust], dim=1), self.patch_size)
        return mean + deviation * F.pixel_shuffle(self._predict(inputs, t, residuals), self.patch_size), deviation

    def _predict(self, inputs: Tensor, t: Tensor, residuals: Residuals | None) -> Tensor:
        """The UNet's output in float32, whatever the precision it runs in."""
        down, mid = residuals or (None, None)
        dtype = self.unet.dtype
        if dtype != torch.float32 and down is not None and mid is not None:
            down, mid = tuple(residual.to(dtype) for residual in down), mid.to(dtype)
        text = None if self.text_embedding is None else self.text_embedding.to(dtype).repeat(len(inputs), 1, 1)
        return self.unet(
            inputs.to(dtype),
            t,
            text,
            class_labels=self._augmentation_steps(len(inputs), inputs.device),
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
            return_dict=False,
        )[0].float()

    def _augmentation_steps(self, batch_size: int, device: torch.device) -> Tensor:
        step = int(self.augmentation * self.scheduler.config.num_train_timesteps)
        return torch.full((batch_size,), step, device=device)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        variant: str | None = None,
        dtype: str = "float32",
        vae: str | None = None,
        text_embedding: str | None = None,
        text_encoder: str | None = None,
        text_encoder_in_8_bit: bool = False,
        augmentation: float | None = None,
    ) -> Self:
        """Load a base that `save_pretrained` wrote, or the parts of a diffusers pipeline that make one.

        Args:
            path: a folder with unet/ and scheduler/ (and vae/ and text_encoder/), or the id of a model on the hub,
                which is looked up in the cache of Hugging Face first.
            variant: of the weight files, such as fp16.
            dtype: precision of the UNet: float32, bfloat16 or float16.
            vae: folder or hub id of an autoencoder in place of the pipeline's, such as a tiny one.
            text_embedding: file with the embedding of the empty prompt, in place of the one computed once and cached.
            text_encoder: folder or hub id with text_encoder/ and tokenizer/, where `path` has none.
            text_encoder_in_8_bit: in place of bfloat16, with bitsandbytes.
            augmentation: noise level of the coarse image, in place of the saved one.

        Raises:
            InputError: there is no such base, its licence was not accepted, or a part is missing.
        """
        source = Source(path, variant)
        options = source.options("base.json")
        unet = source.model("unet", UNet2DConditionModel)
        text_options = (text_embedding, text_encoder, text_encoder_in_8_bit)
        options["text_embedding"] = empty_prompt(source, unet.config, *text_options)
        if vae is not None:
            options["vae"] = Source(vae).autoencoder(None)
        elif source.has("vae"):
            options["vae"] = source.autoencoder("vae")
        if augmentation is not None:
            options["augmentation"] = augmentation
        for part in (unet, options.get("vae")):
            if part is not None:
                part.register_to_config(_name_or_path="")  # a copy does not say where its original was
        base = cls(unet, source.scheduler(), **options)
        return base if dtype == "float32" else base.in_precision(getattr(torch, dtype))

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype | None = torch.float16) -> None:
        """Write weights (safetensors; None keeps their precision) and configurations, for `from_pretrained`."""
        folder = Path(folder)
        copy_for_release(self.unet, dtype).save_pretrained(folder / "unet")
        self.scheduler.save_pretrained(folder / "scheduler")
        if self.vae is not None:
            copy_for_release(self.vae, dtype).save_pretrained(folder / "vae")
        if self.text_embedding is not None:
            write_embedding(self.text_embedding, folder / EMBEDDING)
        options = {"patch_size": self.patch_size, "augmentation": self.augmentation}
        (folder / "base.json").write_text(json.dumps(options) + "\n")


def bundled() -> str:
    """Folder of the small base that comes with the package."""
    return str(Path(__file__).parents[1] / "weights" / "small")


def new_unet(
    patch_size: int, block_out_channels: list[int], layers_per_block: int, norm_num_groups: int
) -> UNet2DConditionModel:
    """An untrained UNet in the manner of IF's stage II without its attention to a text prompt.

    The output convolution is zero: the first prediction is the mean of `schedule.posterior`.
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
