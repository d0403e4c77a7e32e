"""Diffusing Colors (Zabari et al., SIGGRAPH Asia 2023, arXiv:2312.04145): colour as a direction in latents.

The colour of a photo x with grey copy g is `delta = E(x) - E(g)` (section 3.1). A UNet that reads a text predicts it
from latents on the line between the two (section 3.2, `dequant.diffusion.bridge`); scaling it scales the colourfulness,
and the lightness is the photo's (section 3.3).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dequant.color.luminance import grayscale, in_gamut
from dequant.color.spaces import colorfulness, lab_to_rgb, rgb_to_lab
from dequant.diffusion import bridge
from dequant.diffusion.guidance import guided
from dequant.errors import InputError
from dequant.io.files import whole_folder
from dequant.metrics.image import mean_ciede2000, psnr
from dequant.models.latent import STEPS, LatentBase
from dequant.training.learner import Learner, Optimizer, Schedule

Batch = dict[str, Any]


class DiffusingColors(Learner):
    """Teaches a latent base to colour.

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

    kept = ("learned.",)

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
        super().__init__(optimizer, lr_schedule)
        bridge.check_target(target)
        self.base, self.target = base, target
        if not 0 <= gray_share <= 1:
            raise InputError(f"gray_share = {gray_share} is not a share: give a number from 0 to 1.")
        self.num_inference_steps, self.gray_share = num_inference_steps, gray_share
        base.text_encoder.requires_grad_(train_text)
        if lora_rank is not None:
            base.add_lora(lora_rank)
        if gradient_checkpointing:
            base.unet.enable_gradient_checkpointing()
        parts = {"unet": base.unet} | ({"text_encoder": base.text_encoder} if train_text else {})
        self.learned = nn.ModuleDict(parts if base.recognizer is None else parts | {"recognizer": base.recognizer})
        self.train()

    @property
    def trained(self) -> nn.Module:
        """The UNet, its recognizer, and the text encoder where it learns."""
        return self.learned

    @property
    def multiple(self) -> int:
        """Training crops have sides that are multiples of this."""
        return self.base.multiple

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

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Log how close photos are that were coloured by their captions; `psnr_input` is that of the grey ones."""
        photo, gray = batch["target"], grayscale(batch["target"])
        z_gray = self.base.encode(gray)
        delta = draw(self.base, gray, z_gray, batch["caption"], self.num_inference_steps, 1.0, self.target)
        with torch.autocast(self.device.type, enabled=False):
            output = decoded(self.base, z_gray, delta, gray)
            self._log_values(output, photo, gray)
        return output

    def _log_values(self, output: Tensor, photo: Tensor, gray: Tensor) -> None:
        values = {"psnr": psnr(output, photo), "psnr_input": psnr(gray, photo)}
        values["gain"] = values["psnr"] - values["psnr_input"]
        values |= {"ciede2000": mean_ciede2000(output, photo), "ciede2000_input": mean_ciede2000(gray, photo)}
        values |= {"colorfulness": colorfulness(output), "colorfulness_truth": colorfulness(photo)}
        for name, value in values.items():
            self.log(f"val/{name}", value.mean(), batch_size=len(value), sync_dist=True)

    def columns(self, batch: Batch, output: Tensor) -> dict[str, Tensor]:
        """Grey photo, output and truth."""
        return {"gray": grayscale(batch["target"])} | super().columns(batch, output)

    def load_weights(self, path: str | Path) -> None:
        """Start from the weights in a folder, which `save_pretrained` wrote."""
        found = LatentBase.from_pretrained(path)
        for part in ("unet", "text_encoder", "recognizer"):
            own, other = getattr(self.base, part), getattr(found, part)
            if own is None and other is not None:
                raise InputError(f"The weights in {path} have a {part}, and the base none: set base.recognizes=true.")
            if other is not None:
                _take(own, other.state_dict(), f"{path}/{part}")

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the base with its trained parts, float16; low-rank changes are added to the weights."""
        with whole_folder(Path(folder)) as partial:
            self.base.save_pretrained(partial)
            about: dict[str, Any] = {"method": "diffusing_colors", "target": self.target}
            about |= {"num_inference_steps": self.num_inference_steps}
            (partial / "colorizer.json").write_text(json.dumps(about) + "\n")


def _take(network: nn.Module, weights: dict[str, Tensor], name: str) -> None:
    """Load the weights of a network, which may have low-rank changes that they lack."""
    own = {key.replace(".base_layer", ""): key for key in network.state_dict() if ".lora_" not in key}
    sizes = {short: network.state_dict()[key].shape for short, key in own.items()}
    if sizes != {key: value.shape for key, value in weights.items()}:
        raise InputError(f"The weights in {name} have other sizes than the network: give the base that they belong to.")
    network.load_state_dict({own[key]: value for key, value in weights.items()}, strict=False)


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


@torch.no_grad()
def tint(base: LatentBase, z_gray: Tensor, gray: Tensor) -> Tensor:
    """The chroma (B, 2, H, W) in Lab that the autoencoder gives to the latents (B, C, h, w) of grey photos."""
    return rgb_to_lab(base.decode(z_gray, gray))[:, 1:]


@torch.no_grad()
def decoded(base: LatentBase, z_gray: Tensor, delta: Tensor, gray: Tensor, neutral: Tensor | None = None) -> Tensor:
    """The pictures of latents `z_gray + delta`, with the lightness of the grey photos (section 3.3).

    What the autoencoder makes of the grey latents alone is not quite neutral; that tint is subtracted.

    Args:
        base: for its autoencoder.
        z_gray: latents of the photos (B, C, h, w).
        delta: their colour, scaled as wished.
        gray: the photos (B, 3, H, W) in [0, 1].
        neutral: `tint` of the grey latents, where it is known.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    neutral = tint(base, z_gray, gray) if neutral is None else neutral
    chroma = rgb_to_lab(base.decode(z_gray + delta, gray))[:, 1:] - neutral
    lab = torch.cat([rgb_to_lab(gray)[:, :1], chroma], dim=1)
    return torch.stack([lab_to_rgb(in_gamut(one)) for one in lab])
