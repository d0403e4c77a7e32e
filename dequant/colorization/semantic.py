"""Semantic-aware colorization with a diffusion prior (Wang et al., ICMEW 2024, arXiv:2404.16678).

A UNet draws the latents of the photo out of noise. At every step it reads the grey latents (equation 1) and a text that
says what the photo shows; regions may have texts of their own (`dequant.diffusion.regional`).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers.models.modeling_utils import ModelMixin
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor
from torch.nn import functional as F

from dequant.color.luminance import grayscale
from dequant.colorization.colorizer import Batch, Colorizer
from dequant.condition.captions import Labelled
from dequant.diffusion import regional
from dequant.diffusion.guidance import PredictText, guided
from dequant.errors import InputError, whole_number
from dequant.models.latent import STEPS, LatentBase
from dequant.models.mixing import GrayMix
from dequant.training.learner import Optimizer, Schedule

SCHEDULE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": STEPS}
"""Of the noise, as Stable Diffusion 1.5 has it."""

TARGETS = ("epsilon", "v_prediction")
"""What a network may predict: the noise, or a mix of noise and latents that errs less where all is noise (Salimans and
Ho, arXiv:2202.00512)."""


class Sampling(NamedTuple):
    """How a picture is drawn.

    Attributes:
        steps: from 1 to 1000.
        guidance_scale: see `guidance.guided`.
        seed: of the noise that drawing starts from, the same for each photo.
        strength: share of the steps, from the first on, that follow regions; 0 leaves them out.
        target: what the network predicts, one of `TARGETS`.
        apart: regions are drawn apart and put together once, when they are no longer followed (after MT-Color,
            arXiv:2505.08705), instead of after each step.
    """

    steps: int = 50
    guidance_scale: float = 5.0
    seed: int = 0
    strength: float = 0.3
    target: str = "epsilon"
    apart: bool = False


class SemanticColors(Colorizer):
    """Teaches a latent base to draw coloured latents out of noise, with the grey ones before its eyes.

    Args:
        base: whose autoencoder stays as it is.
        mix: of noisy and grey latents, and what is drawn; None makes one that changes nothing at first.
        optimizer: makes the optimizer from parameters.
        lr_schedule: makes a per-step schedule from the optimizer, or None for a constant rate.
        sampling: of the pictures of a validation, and of a pipeline with these weights, whose target
            is learned; None is as in the document.
        timestep_shift: of the timesteps that are drawn at random, see `shifted`.
        train_text: train the text encoder, too.
        lora_rank: train low-rank changes of the UNet's attention instead of all its weights; None for all.
        gradient_checkpointing: recompute activations in the backward pass, which takes time and saves memory.

    Raises:
        InputError: there is no such prediction, or peft is missing for `lora_rank`.
    """

    method = "semantic"

    def __init__(
        self,
        base: LatentBase,
        mix: GrayMix | None = None,
        optimizer: Optimizer | None = None,
        lr_schedule: Schedule | None = None,
        sampling: Sampling | None = None,
        timestep_shift: float = 1.0,
        train_text: bool = False,
        lora_rank: int | None = None,
        gradient_checkpointing: bool = False,
    ) -> None:
        sampling = Sampling() if sampling is None else sampling
        check_target(sampling.target)
        if timestep_shift <= 0:
            raise InputError(f"Expected a timestep_shift above 0, got {timestep_shift}.")
        options = (sampling.steps, train_text, lora_rank, gradient_checkpointing)
        super().__init__(base, optimizer, lr_schedule, *options)
        self.sampling, self.timestep_shift = sampling, timestep_shift
        self.mix = GrayMix(base.unet.config["in_channels"]) if mix is None else mix
        self.learned["mix"] = self.mix

    @property
    def extras(self) -> dict[str, ModelMixin]:
        """The mix of noisy and grey latents."""
        return {"mix": self.mix}

    @property
    def about(self) -> dict[str, Any]:
        """How far texts are exaggerated, and what the UNet predicts."""
        return {"guidance_scale": self.sampling.guidance_scale, "target": self.sampling.target}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Squared error of the prediction (equation 2), where a mask shows the grey photo; seeds fix noise and t."""
        photo, gray = batch["target"], grayscale(batch["target"])
        z, z_gray = self.base.encode(torch.cat([photo, gray])).chunk(2)
        draws = [self._drawn_at_random(seed, tuple(z.shape[1:])) for seed in batch["seed"]]
        t, noise = (torch.stack(parts).to(z.device) for parts in zip(*draws, strict=True))
        shown = self._shown(batch, z)
        scheduler = DDIMScheduler(**SCHEDULE)
        clean = self.mix.of_photo(z, z_gray)
        noisy = scheduler.add_noise(clean, noise, t)
        wanted = noise if self.sampling.target == "epsilon" else scheduler.get_velocity(clean, noise, t)
        seen, text = self._seen(batch, gray, z.shape[2:]), self.base.embed(batch["caption"])
        errors = (self.base.predict(self.mix(noisy, z_gray * shown), t, text, seen) - wanted).square()
        value = (errors * shown).sum() / (shown.sum() * errors.shape[1])
        self.log("train/loss", value, prog_bar=True, sync_dist=True)
        return value

    def _drawn_at_random(self, seed: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Timestep () and noise (C, h, w) of a sample."""
        rng = np.random.default_rng(seed)
        noise = torch.from_numpy(rng.standard_normal(shape)).float()
        return torch.tensor(shifted(int(rng.integers(STEPS)), self.timestep_shift)), noise

    def _seen(self, batch: Batch, gray: Tensor, size: Sequence[int]) -> list[Tensor] | None:
        """What the recognizer tells of the photos that it may look at."""
        told = self.base.recognize(gray, size)
        if told is None or "seen" not in batch:
            return told
        return [one * batch["seen"].to(one)[:, None, None, None] for one in told]

    @staticmethod
    def _shown(batch: Batch, z: Tensor) -> Tensor:
        """Where the captions of a batch hold, (B, 1, h, w) of 0 and 1."""
        if "mask" not in batch:
            return torch.ones_like(z[:, :1])
        small = F.interpolate(batch["mask"].to(z), z.shape[2:], mode="area")
        return (small >= 0.5 * small.amax((1, 2, 3), keepdim=True)).to(z)

    def drawn(self, gray: Tensor, z_gray: Tensor, batch: Batch) -> Tensor:
        """As `draw` makes it, from noise that is always the same."""
        return draw(self.base, self.mix, gray, z_gray, batch["caption"], self.sampling)


def shifted(timestep: int, shift: float) -> int:
    """A timestep at the share u of all moved to s u / (1 + (s - 1) u), for a shift s.

    Above 1, more is learned where most is noise (Esser et al., arXiv:2403.03206, equation 23).
    """
    share = (timestep + 1) / STEPS
    return max(0, round(STEPS * shift * share / (1 + (shift - 1) * share)) - 1)


def check_target(target: str) -> None:
    """Refuse what is none of `TARGETS` with an `InputError`."""
    if target not in TARGETS:
        raise InputError(f"There is no target {target!r}: choose {' or '.join(TARGETS)}.")


@torch.no_grad()
def start_code(seed: int, like: Tensor) -> Tensor:
    """The noise that drawing starts from, the same for each photo, of the shape and type of latents (B, C, h, w)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(like.shape[1:], generator=generator).to(like).expand_as(like)


def draw(
    base: LatentBase,
    mix: GrayMix,
    gray: Tensor,
    z_gray: Tensor,
    texts: Sequence[str] | Tensor,
    sampling: Sampling,
    regions: Sequence[Labelled] = (),
) -> Tensor:
    """Draw the colour of grey latents by DDIM without noise in between (Song et al., arXiv:2010.02502).

    Args:
        base: trained.
        mix: of the same training.
        gray: the photos (B, 3, H, W) in [0, 1].
        z_gray: their latents (B, C, h, w).
        texts: one for each, "" for none; or embedded (B, T, D).
        sampling: steps, guidance, seed and the strength of regions.
        regions: of one photo, with texts of their own.

    Returns:
        The colour (B, C, h, w), so that `z_gray` plus it are the latents of the picture.

    Raises:
        InputError: there is no such number of steps, or there are regions and several photos.
    """
    whole_number("num_inference_steps", sampling.steps, 1, STEPS)
    if regions and len(z_gray) != 1:
        raise InputError(f"Regions are drawn for one photo at a time, got {len(z_gray)}.")
    kept, masks = regional.disjoint([region.mask for region in regions], (z_gray.shape[2], z_gray.shape[3]))
    scheduler = scheduler_of(sampling)
    seen, empty = base.recognize(gray, z_gray.shape[2:]), base.embed([""])
    text = texts if isinstance(texts, Tensor) else base.embed(texts)
    whole = guided(_reading(base, mix, z_gray, seen), text, empty, sampling.guidance_scale)
    if kept:
        words = base.embed([regions[number].text for number in kept])
        told = torch.cat([z_gray, z_gray * masks[:, None].to(z_gray)])
        apart = guided(_reading(base, mix, told, seen), torch.cat([text, words]), empty, sampling.guidance_scale)
    first = regional.guided_steps(sampling.strength, sampling.steps) if kept else 0
    z = start_code(sampling.seed, z_gray)
    for number, step in enumerate(scheduler.timesteps):
        before = z.expand(1 + len(kept), *z.shape[1:]) if number < first and len(z) == 1 else z
        t = torch.full((len(before),), int(step), device=z.device)
        noise = (apart if number < first else whole)(before, t)
        z = scheduler.step(noise, step, before).prev_sample
        if number < first and not (sampling.apart and number + 1 < first):
            z = regional.merged(z[:1], z[1:], masks)
    return mix.color(z, z_gray)


def scheduler_of(sampling: Sampling) -> DDIMScheduler:
    """Steps that end without noise and begin where all is noise (Lin et al., arXiv:2305.08891)."""
    options = SCHEDULE | {"prediction_type": sampling.target}
    scheduler = DDIMScheduler(**options, clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(sampling.steps)
    return scheduler


def _reading(base: LatentBase, mix: GrayMix, told: Tensor, seen: Sequence[Tensor] | None) -> PredictText:
    """A network that reads grey latents beside the noisy ones, as often as these are repeated."""

    def predict(z: Tensor, t: Tensor, text: Tensor) -> Tensor:
        return base.predict(mix(z, told.repeat(len(z) // len(told), 1, 1, 1)), t, text, seen)

    return predict
