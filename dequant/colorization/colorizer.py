"""What the trainings of colorizers share: a latent base of which parts learn, and how their pictures are judged."""

import json
from abc import abstractmethod
from pathlib import Path
from typing import Any

import torch
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from dequant.color.luminance import grayscale
from dequant.color.spaces import colorfulness
from dequant.colorization.pictures import decoded
from dequant.errors import InputError
from dequant.io.files import whole_folder
from dequant.metrics.image import mean_ciede2000, psnr
from dequant.models.finite import copy_for_release
from dequant.models.hub import Source
from dequant.models.latent import LatentBase
from dequant.training.learner import Learner, Optimizer, Schedule

Batch = dict[str, Any]


class Colorizer(Learner):
    """Teaches a latent base to colour.

    Args:
        base: whose autoencoder stays as it is.
        optimizer: makes the optimizer from parameters.
        lr_schedule: makes a per-step schedule from the optimizer, or None for a constant rate.
        num_inference_steps: of the pictures of a validation, and of a pipeline with these weights.
        train_text: train the text encoder, too.
        lora_rank: train low-rank changes of the UNet's attention instead of all its weights; None for all.
        gradient_checkpointing: recompute activations in the backward pass, which takes time and saves memory.

    Raises:
        InputError: peft is missing for `lora_rank`.
    """

    method: str
    """Its name in `ColorizePipeline`."""

    kept = ("learned.",)

    def __init__(
        self,
        base: LatentBase,
        optimizer: Optimizer | None,
        lr_schedule: Schedule | None,
        num_inference_steps: int,
        train_text: bool,
        lora_rank: int | None,
        gradient_checkpointing: bool,
    ) -> None:
        super().__init__(optimizer, lr_schedule)
        self.base, self.num_inference_steps = base, num_inference_steps
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

    @property
    def extras(self) -> dict[str, ModelMixin]:
        """Parts that learn and are not of the base, by the names of their folders."""
        return {}

    @property
    @abstractmethod
    def about(self) -> dict[str, Any]:
        """Options of a pipeline with these weights."""

    @abstractmethod
    def drawn(self, gray: Tensor, z_gray: Tensor, batch: Batch) -> Tensor:
        """The colour (B, C, h, w) of grey photos (B, 3, H, W) and their latents, by the captions of a batch."""

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Log how close photos are that were coloured by their captions; `psnr_input` is that of the grey ones."""
        photo, gray = batch["target"], grayscale(batch["target"])
        z_gray = self.base.encode(gray)
        delta = self.drawn(gray, z_gray, batch)
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
        for name, extra in self.extras.items():
            if Source(path).has(name):
                other = Source(path).model(name, type(extra))
                if odd := [key for key, value in extra.config.items() if key[0] != "_" and other.config[key] != value]:
                    raise InputError(f"{path}/{name} has another {odd[0]} than the network: give the same one.")
                _take(extra, other.state_dict(), f"{path}/{name}")

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the base with its trained parts, float16; low-rank changes are added to the weights."""
        with whole_folder(Path(folder)) as partial:
            self.base.save_pretrained(partial)
            for name, part in self.extras.items():
                copy_for_release(part).save_pretrained(partial / name)
            about = {"method": self.method, "num_inference_steps": self.num_inference_steps} | self.about
            (partial / "colorizer.json").write_text(json.dumps(about) + "\n")


def _take(network: nn.Module, weights: dict[str, Tensor], name: str) -> None:
    """Load the weights of a network, which may have low-rank changes that they lack."""
    own = {key.replace(".base_layer", ""): key for key in network.state_dict() if ".lora_" not in key}
    sizes = {short: network.state_dict()[key].shape for short, key in own.items()}
    if sizes != {key: value.shape for key, value in weights.items()}:
        raise InputError(f"The weights in {name} have other sizes than the network: give the base that they belong to.")
    network.load_state_dict({own[key]: value for key, value in weights.items()}, strict=False)
