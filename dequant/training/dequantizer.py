"""The LightningModule: a control encoder in training on a frozen base, or the base itself as a prior."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh

from dequant.color.palette import QUANTIZATION_RMSE
from dequant.condition.channels import Condition, color_std
from dequant.diffusion.fidelity import requests_of
from dequant.diffusion.loss import disagreement, loss
from dequant.diffusion.sampler import Sampler
from dequant.diffusion.schedule import Generator
from dequant.errors import InputError
from dequant.io.files import whole_folder
from dequant.metrics.image import psnr, psnr_and_ssim, ssim
from dequant.metrics.palette import palette_error
from dequant.metrics.texture import gradient_agreement
from dequant.models.base import DiffusionBase
from dequant.models.control import ControlEncoder
from dequant.models.controlled import Controlled
from dequant.models.finite import check_finite, copy_for_release
from dequant.pipelines.dequant import DequantPipeline
from dequant.training import fsdp
from dequant.training.distillation import Distillation
from dequant.training.learner import Learner, Optimizer, Schedule

Batch = dict[str, Any]


class Dequantizer(Learner):
    """Turns a condition into a photograph.

    With a control encoder the base is frozen: it has no gradients, is not in the optimizer and not in checkpoints.
    Without one the base's UNet is trained, as the prior that is frozen afterwards.

    Args:
        base: the diffusion base.
        control: makes an encoder from the base and the variant's name, or None to train the base itself.
        sampler: draws the pictures of a validation or an evaluation.
        optimizer: makes the optimizer from parameters.
        lr_schedule: makes a per-step schedule from the optimizer, or None for a constant rate.
        variant: name of the texture that conditions carry; a checkpoint of another variant is refused.
        gradient_checkpointing: recompute activations in the backward pass, which takes time and saves memory.
        timestep_bias: training steps are drawn as `t = 1000 u^(1 / bias)`, u uniform: from 1 on, the more of them are
            near pure noise, where samplers take most of their steps.
        texture_weight: weight of `loss.disagreement` between the estimate of the clean image and the photo, where
            texture is given, in proportion to the variance of the colours' error (`color_std`); for pixel bases that
            predict the clean image.
        distillation: a loss that teaches a trained encoder to take fewer steps, in place of the denoising loss.

    Raises:
        InputError: the sampler's steps are impossible, or `texture_weight` does not suit the base.
    """

    def __init__(
        self,
        base: DiffusionBase,
        control: Callable[[DiffusionBase, str], ControlEncoder] | None,
        sampler: Sampler,
        optimizer: Optimizer | None = None,
        lr_schedule: Schedule | None = None,
        variant: str = "T",
        gradient_checkpointing: bool = False,
        timestep_bias: float = 1.0,
        texture_weight: float = 0.0,
        distillation: Distillation | None = None,
    ) -> None:
        super().__init__(optimizer, lr_schedule)
        sampler.check(base.scheduler)
        if texture_weight and (base.scheduler.config.prediction_type != "sample" or base.vae is not None):
            raise InputError("texture_weight needs a pixel base that predicts the clean image: set it to 0.")
        self.base = base.requires_grad_(False)
        self.base.unet.requires_grad_(control is None)
        self.control = control(base, variant) if control else None
        self.kept = ("control.", "distillation.target.") if self.control is not None else ("base.unet.",)
        self.sampler = sampler
        self.variant = variant
        self.timestep_bias = timestep_bias
        self.texture_weight = texture_weight
        self.distillation = distillation
        if gradient_checkpointing:
            for part in (self.base.unet, self.control):
                if part is not None:
                    part.enable_gradient_checkpointing()
        self.to(memory_format=base.memory_format)
        self.train()

    @property
    def trained(self) -> nn.Module:
        """The part that learns: the control encoder, or the base's UNet."""
        return self.control if self.control is not None else self.base.unet

    @property
    def multiple(self) -> int:
        """Training crops have sides that are multiples of this."""
        return self.base.downscale * self.base.patch_size

    @property
    def controlled(self) -> Controlled:
        """The base under the control of the encoder, as samplers take it."""
        return Controlled(self.base, self.control)

    @property
    def identity(self) -> dict[str, Any]:
        """What weights must agree with: the variant and the base's fingerprint (empty for a prior)."""
        if self.control is None:
            return {"variant": "", "base": ""}
        guided = {"guided": True} if self.control.config["guided"] else {}
        return {"variant": self.variant, "base": self.base.fingerprint, **guided}

    def compile_parts(self) -> None:
        """Let torch.compile have the networks, in place: weights keep their names."""
        for part in (self.base.unet, self.control):
            if part is not None:
                part.compile()

    def setup(self, stage: str) -> None:
        """Let a distillation begin with the present encoder."""
        if self.distillation is not None and self.control is not None and stage == "fit":
            self.distillation.start(self.control)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Denoising loss, and the disagreement in texture; each sample's seed fixes its timestep and noise."""
        x, generators = self.base.encode(batch["target"]), [torch.Generator().manual_seed(n) for n in batch["seed"]]
        noise = torch.stack([torch.randn(x.shape[1:], generator=generator) for generator in generators]).to(x.device)
        draws = torch.cat([torch.rand(1, generator=generator, dtype=torch.float64) for generator in generators])
        t = (len(self.base.scheduler.betas) * draws ** (1 / self.timestep_bias)).long().to(x.device)
        if self.distillation is not None and self.control is not None:
            value = self.distillation(self.base, self.control, batch["condition"], x, noise, t, generators)
            self.log("train/loss", value, prog_bar=True, sync_dist=True)
            return value
        output, deviation = self.controlled.denoise(self.base.add_noise(x, noise, t), t, batch["condition"], generators)
        value = loss(output, x, noise, self.base.scheduler, deviation, t)
        self.log("train/loss", value, prog_bar=True, sync_dist=True)
        if self.texture_weight:
            asked = Condition.of(batch["condition"])
            doubt = (color_std(asked.level) / QUANTIZATION_RMSE) ** 2 * (asked.level < 1)
            edges = disagreement((output + 1) / 2, batch["target"], asked.given * doubt)
            self.log("train/texture", edges, sync_dist=True)
            value = value + self.texture_weight * edges
        return value

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Log what a batch of evaluation says, over all of it and for each number of colours; returns the output.

        `psnr`, `ssim` and `gradient_f1` compare the output with the photo, `psnr_input` and `ssim_input` the quantized
        image; `gain` is their difference in PSNR. Where the batch has "n_colors" (B,), there is the palette error
        too, and each metric once more as `<metric>/n_<colours>`.
        """
        generators = [torch.Generator().manual_seed(i) for i in range(len(batch["target"]))]
        output, target = self.draw(batch["condition"], generators), batch["target"]
        quantized = Condition.of(batch["condition"]).colors
        n_colors = batch.get("n_colors")
        with torch.autocast(self.device.type, enabled=False):
            values = {
                "psnr": psnr(output, target),
                "psnr_input": psnr(quantized, target),
                "ssim": ssim(output, target),
                "ssim_input": ssim(quantized, target),
                "gradient_f1": gradient_agreement(output, target),
            }
            values["gain"] = values["psnr"] - values["psnr_input"]
            if n_colors is not None:
                errors = palette_error(output.cpu(), quantized.cpu(), n_colors.tolist(), psnr_and_ssim)
                values["palette_psnr"], values["palette_ssim"] = errors.to(output.device)
        self._log_means(values, "")
        for n in [] if n_colors is None else n_colors.unique().tolist():
            self._log_means({name: value[n_colors == n] for name, value in values.items()}, f"/n_{n}")
        return output

    def columns(self, batch: Batch, output: Tensor) -> dict[str, Tensor]:
        """Quantized photo, texture, output and truth."""
        seen = Condition.of(batch["condition"])
        texture = seen.texture.mean(1, keepdim=True).expand(-1, 3, -1, -1)
        return {"quantized": seen.colors, "texture": texture} | super().columns(batch, output)

    def _log_means(self, values: Mapping[str, Tensor], suffix: str) -> None:
        for name, value in values.items():
            self.log(f"val/{name}{suffix}", value.mean(), batch_size=len(value), sync_dist=True)

    def draw(self, condition: Tensor, generator: Generator = None) -> Tensor:
        """Draw photographs with the sampler, `Sampler.draw`: rgb (B, 3, H, W) in [0, 1].

        Args:
            condition: (B, 7, H, W) in [0, 1], any H and W.
            generator: CPU generators, one for the batch or one for each.
        """
        return self.sampler.draw(self.controlled, condition, generator)

    def hold(self, rgb: Tensor, condition: Tensor) -> Tensor:
        """Hold pictures (B, 3, H, W) that were changed after they were drawn to what the sampler keeps."""
        fidelity = self.sampler.fidelity
        return rgb if fidelity is None else fidelity.finish(rgb, requests_of(condition, self.controlled.texture))

    def configure_model(self) -> None:
        """Under Lightning's ModelParallelStrategy, split the part that learns over all processes (FSDP2).

        A frozen base is whole on each of them.

        Raises:
            InputError: an encoder is distilled, whose average needs it whole.
        """
        if self.device_mesh is not None and self.distillation is not None:
            raise InputError("A distillation needs whole encoders: choose trainer=ddp or trainer=default.")
        if self.device_mesh is not None:
            fsdp.shard(self.trained, init_device_mesh(self.device_mesh.device_type, (self.device_mesh.size(),)))

    def on_fit_end(self) -> None:
        """Put the part that learned together again."""
        if self.device_mesh is not None and self.control is not None:
            self.control = fsdp.whole(self.control)
        elif self.device_mesh is not None:
            self.base.unet = fsdp.whole(self.base.unet)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the trained part and a distillation's target only, and say what it belongs to."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["identity"] = self.identity
        if "optimizer_states" in checkpoint:
            optimizers = self.trainer.optimizers
            checkpoint["optimizer_states"] = [fsdp.optimizer_state(self, optimizer) for optimizer in optimizers]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another variant, base or layout, or of weights that are not finite."""
        self._check(checkpoint.get("identity", {}), "the checkpoint")
        average = checkpoint.get("ema")
        if average is not None:
            if _shapes(average) != _shapes(dict(self.trained.named_parameters())):
                raise InputError("The checkpoint is of another layout: resume it with the options it was made with.")
            check_finite(average.values(), "the checkpoint")

    def load_weights(self, path: str | Path, rebase: bool = False) -> None:
        """Load trained weights: a training checkpoint (its averaged weights) or a released folder.

        Args:
            path: of either.
            rebase: accept an encoder of another base or for other colours, of the same layout, to be trained for these.

        Raises:
            InputError: there are none, or they belong to another variant or base.
        """
        path = Path(path)
        if path.is_dir():
            control = ControlEncoder.read(path)
            if rebase and self.control is not None:
                _check_layout(control.state_dict(), self.control, str(path))
                control.register_to_config(base=self.base.fingerprint, guided=self.control.config["guided"])
            self._check(control.config, str(path))
            self.control = control.to(self.device, memory_format=self.base.memory_format).train(self.training)
            return
        if not path.is_file():
            raise InputError(f"No weights at {path}: give a checkpoint (.ckpt) or a folder with config.json.")
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
            identity, weights = checkpoint["identity"], checkpoint["ema"]
        except Exception as error:
            raise InputError(f"{path} is not a checkpoint of train.py.") from error
        if rebase and self.control is not None:
            _check_layout(weights, self.control, str(path))
            identity = {**identity, "base": self.base.fingerprint}
        self._check(identity, str(path))
        check_finite(weights.values(), str(path))
        self.trained.load_state_dict(weights)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the trained part, float16: for `load_weights` (encoder) or `DiffusionBase.from_pretrained` (prior).

        The folder is replaced as a whole, or not at all.

        Raises:
            InputError: weights are not finite, or not in float16.
        """
        with whole_folder(Path(folder)) as partial:
            if self.control is None:
                self.base.save_pretrained(partial)
            else:
                copy_for_release(self.control).save_pretrained(partial)

    def to_pipeline(self) -> DequantPipeline:
        """A diffusers pipeline of the present weights, shared, and of the sampler's solver and steps.

        Raises:
            InputError: this is a prior.
        """
        if self.control is None:
            raise InputError("A prior has no control encoder: train one on it before making a pipeline.")
        return DequantPipeline.of(self.base, self.control, self.sampler)

    def _check(self, identity: Mapping[str, Any], name: str) -> None:
        for key, value in self.identity.items():
            if identity.get(key) != value:
                raise InputError(
                    f"{name} was trained for {key} {identity.get(key) or 'none'!r}, but the model here has {key} "
                    f"{value or 'none'!r}: choose weights and options that agree."
                )


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in weights.items()}


def _check_layout(weights: Mapping[str, Tensor], control: ControlEncoder, name: str) -> None:
    if _shapes(weights) != _shapes(control.state_dict()):
        raise InputError(f"The encoder at {name} was made for a base of another layout: start with a fresh one.")
