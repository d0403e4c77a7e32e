"""Parts of pretrained models: from a folder or the hub."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers.models.auto_model import AutoModel
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from huggingface_hub.constants import HF_HUB_OFFLINE
from huggingface_hub.errors import GatedRepoError

from dequant.errors import InputError

Part = TypeVar("Part")

MOST_LAYERS = 64
"""Levels of a network, and layers of each level, that a configuration may ask for."""


class Source:
    """A folder in the layout of diffusers, or a model on the hub or in its cache.

    Args:
        path: the folder, or the model's id.
        variant: of the weight files, such as fp16.

    Raises:
        InputError: there is none.
    """

    def __init__(self, path: str | Path, variant: str | None = None) -> None:
        self.path = str(path)
        self.variant = variant
        self.folder = Path(path) if Path(path).is_dir() else None
        looks_like_id = self.path.count("/") == 1 and not self.path.startswith((".", "/", "~"))
        if self.folder is None and not looks_like_id:
            raise InputError(f"There is no folder {path}: give one with unet/ and scheduler/, or a hub id OWNER/NAME.")

    def has(self, part: str) -> bool:
        """Whether the model comes with a part, such as `vae`."""
        if self.folder is not None:
            return (self.folder / part).is_dir()
        index = self.load(lambda: DiffusionPipeline.load_config(self.path))
        return index.get(part, [None])[0] is not None

    def options(self, name: str) -> dict[str, Any]:
        """A JSON file of this package, empty where there is none."""
        file = None if self.folder is None else self.folder / name
        return read_json(file) if file is not None and file.is_file() else {}

    def model(self, part: str | None, kind: type[Part]) -> Part:
        """A part in float32, `kind` its class in diffusers; the model itself for None."""
        load: Any = kind
        if self.folder is not None and part is not None and not (self.folder / part).is_dir():
            raise InputError(
                f"{self.path} has no {part}/: a base needs unet/ and scheduler/ (and base.json, if saved here)."
            )
        return self.load(
            lambda: load.from_pretrained(self.path, subfolder=part, variant=self.variant, torch_dtype=torch.float32)
        )

    def scheduler(self) -> DDPMScheduler:
        """The noise schedule; which solver takes the steps is chosen elsewhere."""
        return self.load(lambda: DDPMScheduler.from_pretrained(self.path, subfolder="scheduler"))

    def load(self, load: Callable[[], Part]) -> Part:
        """Run a loader and turn what goes wrong into a sentence."""
        try:
            return load()
        except Exception as error:
            causes: list[BaseException] = [error]
            while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
                causes.append(cause)
            if any(isinstance(cause, GatedRepoError) for cause in causes):
                raise InputError(
                    f"{self.path} has a licence to accept: do so at https://huggingface.co/{self.path}, log in with "
                    "`hf auth login`, and start again; or give a folder that holds the model."
                ) from error
            if self.folder is None:
                offline = " while HF_HUB_OFFLINE is set" if HF_HUB_OFFLINE else ""
                raise InputError(
                    f"{self.path} is neither in the cache of Hugging Face nor could it be fetched{offline}: check the "
                    "id and the connection, or give a folder that holds the model."
                ) from error
            if isinstance(error, OSError | ValueError | KeyError | RuntimeError):
                reason = " ".join(str(error).split())
                raise InputError(f"{self.path} cannot be read as a model of diffusers: {reason}") from error
            raise


def autoencoder(source: Source, part: str | None) -> ModelMixin:
    """The autoencoder of a latent base, `AutoencoderKL` or `AutoencoderTiny` as its configuration says."""
    return source.model(part, AutoModel)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        InputError: it holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a valid JSON file ({error}): copy or download it again.") from error
    if not isinstance(found, dict) or not found:
        raise InputError(f"Expected a JSON object of settings in {path}, got {str(found)[:40]}.")
    return found


def on_meta(kind: type[Part], config: dict[str, Any], name: str) -> Part:
    """A network of a configuration, without memory for its weights.

    Args:
        kind: its class in diffusers or here.
        config: its settings.
        name: of the configuration, for the error.

    Raises:
        InputError: a setting is impossible.
    """
    for key, value in _settings(config):
        numbers = value if isinstance(value, list | tuple) else [value]
        if len(numbers) > MOST_LAYERS or ("layers" in key and any(_exceeds(n, MOST_LAYERS) for n in numbers)):
            raise InputError(f"{name} has {key} {str(value)[:40]}, which is more than {MOST_LAYERS}.")
    load: Any = kind
    try:
        with torch.device("meta"):
            return load.from_config(config)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{name} cannot be one of {kind.__name__}: {reason.rstrip('.')}.") from error


def _settings(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Settings, also those of the network that an encoder is a copy of."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _settings(value)
        else:
            yield key, value


def _exceeds(value: Any, most: int) -> bool:
    if isinstance(value, list | tuple):
        return len(value) > most or any(_exceeds(one, most) for one in value)
    return isinstance(value, int | float) and not value <= most


def check_channels(unet: UNet2DConditionModel, patch_size: int, channels: int, predicts_clean: bool) -> None:
    """Raise `InputError` for a network that does not read or write what a base of this kind does.

    Args:
        unet: the base's network.
        patch_size: see `DiffusionBase`.
        channels: of the space that diffusion runs in.
        predicts_clean: whether the schedule's `prediction_type` is "sample".
    """
    found = unet.config["in_channels"], unet.config["out_channels"]
    folded = channels * patch_size**2
    if predicts_clean:
        possible = {(7 * patch_size**2, folded)}
    else:
        possible = {(reads, writes) for reads in {channels, channels + 3} for writes in {channels, 2 * channels}}
    if found not in possible:
        wanted = " or ".join(f"{reads} to {writes}" for reads, writes in sorted(possible))
        raise InputError(
            f"Expected a network from {wanted} channels for patch_size={patch_size} and this noise schedule, got one "
            f"from {found[0]} to {found[1]}: give the patch_size, scheduler and vae that belong to it."
        )
