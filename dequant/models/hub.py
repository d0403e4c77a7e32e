"""Parts of pretrained models: from a folder or the hub."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers.models.auto_model import AutoModel
from diffusers.models.modeling_utils import ModelMixin
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from huggingface_hub.constants import HF_HUB_OFFLINE
from huggingface_hub.errors import GatedRepoError

from dequant.errors import InputError
from dequant.models.finite import check_finite

Part = TypeVar("Part")


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
        return json.loads(file.read_text()) if file is not None and file.is_file() else {}

    def model(self, part: str | None, kind: type[Part]) -> Part:
        """A part in float32, `kind` its class in diffusers; the model itself for None."""
        load: Any = kind
        if self.folder is not None and part is not None and not (self.folder / part).is_dir():
            raise InputError(
                f"{self.path} has no {part}/: a base needs unet/ and scheduler/ (and base.json, if saved here)."
            )
        model = self.load(
            lambda: load.from_pretrained(self.path, subfolder=part, variant=self.variant, torch_dtype=torch.float32)
        )
        check_finite(model.state_dict().values(), self.path)
        return model

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
