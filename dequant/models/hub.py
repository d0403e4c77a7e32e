"""Parts of pretrained models: from a folder or the hub."""

from collections.abc import Callable
from numbers import Real
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

from dequant.errors import InputError, whole_number
from dequant.models.folders import check_config, check_loaded, check_schedule_config, is_folder, read_json, reason

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
        self.folder = Path(path) if is_folder(path) else None
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
        """A base's own settings in a JSON file, empty where there is none."""
        file = None if self.folder is None else self.folder / name
        found = read_json(file) if file is not None and file.is_file() else {}
        if unknown := found.keys() - {"patch_size", "augmentation"}:
            raise InputError(f"Expected patch_size and augmentation in {file}, got {min(unknown)!r} too.")
        return found

    def model(self, part: str | None, kind: type[Part], **options: Any) -> Part:
        """A part in float32, `kind` its class in diffusers; the model itself for None."""
        load: Any = kind
        if self.folder is not None:
            if part is not None and not (self.folder / part).is_dir():
                raise InputError(
                    f"{self.path} has no {part}/: a base needs unet/ and scheduler/ (and base.json, if saved here)."
                )
            check_config(self.folder / (part or ""), kind)
        options |= {"subfolder": part, "variant": self.variant, "torch_dtype": torch.float32}
        model = self.load(lambda: load.from_pretrained(self.path, **options))
        check_loaded(model, self.path if part is None else f"{self.path}/{part}")
        return model

    def autoencoder(self, part: str | None) -> ModelMixin:
        """The autoencoder of a latent base, `AutoencoderKL`, `Tiny` or `DC` as its configuration says."""
        return self.model(part, AutoModel)

    def scheduler(self) -> DDPMScheduler:
        """The noise schedule; which solver takes the steps is chosen elsewhere."""
        if self.folder is not None:
            check_schedule_config(self.folder / "scheduler")
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
            raise InputError(f"{self.path} cannot be read as a model of diffusers: {reason(error)}.") from error


def check_base(
    unet: UNet2DConditionModel, patch_size: int, augmentation: float, channels: int, predicts_clean: bool
) -> None:
    """Raise `InputError` for settings of a base that are impossible, or do not fit its network.

    Args:
        unet: the base's network.
        patch_size: see `DiffusionBase`.
        augmentation: see `DiffusionBase`.
        channels: of the space that diffusion runs in.
        predicts_clean: whether the schedule's `prediction_type` is "sample".
    """
    whole_number("patch_size", patch_size, 1, 64)
    if not isinstance(augmentation, Real) or isinstance(augmentation, bool) or not 0 <= augmentation < 1:
        raise InputError(f"Expected a number from 0 to less than 1 for augmentation, got {augmentation!r}.")
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
