"""Diffusing Colors (Zabari et al., SIGGRAPH Asia 2023, arXiv:2312.04145): colour as a direction in latents.

The colour of a photo x with grey copy g is `delta = E(x) - E(g)` (section 3.1). A UNet that reads a text predicts it
from latents on the line between the two (section 3.2, `dequant.diffusion.bridge`); scaling it scales the colourfulness,
and the lightness is the photo's (section 3.3).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dequant.color.luminance import grayscale
from dequant.colorization.colorizer import Batch, Colorizer
from dequant.diffusion import bridge
from dequant.diffusion.guidance import guided
from dequant.errors import InputError
from dequant.models.latent import STEPS, LatentBase
from dequant.training.learner import Optimizer, Schedule


class DiffusingColors(Colorizer):
    """Teaches a latent base to predict the colour of grey latents.

    Args:
        base: whose autoencoder stays as it is.
        optimizer: makes the optimizer from parameters.
        lr_schedule: makes a per-step schedule from the optimizer, or None for a constant rate.
        target: what the UNet predicts, one of `bridge.TARGETS`.
        num_inference_steps: of the pictures of a validation, and of a pipeline with these weights.
        gray_share: share of the training at t = 1, all grey, where drawing begins; the rest has a uniform t.
        train_text: train the text encoder, too.
        lora_rank: train low-rank changes of the UNet's attention instead of all its weights; None for all.
        gradient_checkpointing: recompute activations in the backward pass, which takes time and saves memory.

    Raises:
        InputError: there is no such target or share, or peft is missing for `lora_rank`.
    """

    method = "diffusing_colors"

    def __init__(
        self,
        base: LatentBase,
        optimizer: Optimizer | None = None,
        lr_schedule: Schedule | None = None,
        target: str = "delta",
        num_inference_steps: int = 10,
        gray_share: float = 0.0,
        train_text: bool = False,
        lora_rank: int | None = None,
        gradient_checkpointing: bool = False,
    ) -> None:
        bridge.check_target(target)
        if not 0 <= gray_share <= 1:
            raise InputError(f"gray_share = {gray_share} is not a share: give a number from 0 to 1.")
        options = (num_inference_steps, train_text, lora_rank, gradient_checkpointing)
        super().__init__(base, optimizer, lr_schedule, *options)
        self.target, self.gray_share = target, gray_share

    @property
    def about(self) -> dict[str, Any]:
        """What the UNet predicts."""
        return {"target": self.target}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Squared error of the predicted colour; each sample's seed fixes its t."""
        photo, gray = batch["target"], grayscale(batch["target"])
        z, z_gray = self.base.encode(torch.cat([photo, gray])).chunk(2)
        draws = [torch.rand(2, generator=torch.Generator().manual_seed(seed)) for seed in batch["seed"]]
        choice, t = torch.stack(draws, dim=1).to(z)
        t = torch.where(choice < self.gray_share, 1, 1 - t)
        wanted = bridge.target_of(self.target, z_gray, z - z_gray, t)
        seen = self.base.recognize(gray, z.shape[2:])
        faded = bridge.faded(z_gray, z - z_gray, t)
        output = self.base.predict(faded, timesteps(t), self.base.embed(batch["caption"]), seen)
        value = F.mse_loss(output, wanted)
        self.log("train/loss", value, prog_bar=True, sync_dist=True)
        return value

    def drawn(self, gray: Tensor, z_gray: Tensor, batch: Batch) -> Tensor:
        """As `draw` makes it."""
        return draw(self.base, gray, z_gray, batch["caption"], self.num_inference_steps, 1.0, self.target)


def timesteps(t: Tensor) -> Tensor:
    """t in [0, 1] as the timesteps that the UNet of a latent base knows, 0..999."""
    return ((STEPS - 1) * t).round().long()


@torch.no_grad()
def draw(
    base: LatentBase,
    gray: Tensor,
    z_gray: Tensor,
    texts: Sequence[str],
    steps: int,
    guidance_scale: float,
    target: str,
) -> Tensor:
    """The colour (B, C, h, w) of grey latents, as a text says: always the same, as nothing is drawn at random.

    Args:
        base: trained.
        gray: the photos (B, 3, H, W) in [0, 1].
        z_gray: their latents.
        texts: one for each; "" for none.
        steps: see `bridge.restore`.
        guidance_scale: see `guidance.guided`.
        target: what the UNet predicts.
    """

    seen = base.recognize(gray, z_gray.shape[2:])

    def predict(z: Tensor, t: Tensor, text: Tensor) -> Tensor:
        return base.predict(z, timesteps(t), text, seen)

    text, empty = base.embed(texts), base.embed([""])
    return bridge.restore(guided(predict, text, empty, guidance_scale), z_gray, steps, target)
