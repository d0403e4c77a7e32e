"""What the programs configured by Hydra share: their errors in one sentence, their configuration, their device."""

import os
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from hydra.errors import HydraException, InstantiationException
from hydra.utils import instantiate
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dequant import errors
from dequant.errors import InputError
from dequant.masking import masked


def one_sentence() -> AbstractContextManager[None]:
    """`errors.one_sentence` for programs with a Hydra configuration and a trainer."""
    return errors.one_sentence(_explain)


def run(main: Callable[[], object]) -> None:
    """Run a Hydra main under `one_sentence`, its composition errors included."""
    errors.obey_signals()
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\)")
    with one_sentence():
        main()


def plain(config: Any) -> Any:
    """Dictionaries and lists in place of configuration nodes; other values, and interpolations, stay."""
    return OmegaConf.to_container(config) if OmegaConf.is_config(config) else config


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """A whole configuration as dictionaries and lists, without interpolations and secrets."""
    return masked(OmegaConf.to_container(cfg, resolve=True))


OmegaConf.register_new_resolver("sampler_name", lambda sampler: instantiate(sampler).name, replace=True)


def process(device: str | None) -> tuple[torch.device, int, int]:
    """The device, rank and number of processes of this one, as torchrun says in the environment.

    Args:
        device: such as cpu or cuda:1; None takes a GPU, that of the local rank, where there is one.

    Raises:
        InputError: there is no such device.
    """
    rank, world_size, local = (
        int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
    )
    name = device or (f"cuda:{local}" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device, rank, world_size
    except (RuntimeError, AssertionError, NotImplementedError):
        raise InputError(f"There is no device {name!r} here: choose cpu, or cuda on a machine with a GPU.") from None


def _is_of_value(error: BaseException | None) -> bool:
    return type(error) in (TypeError, ValueError)


def _explain(error: BaseException) -> str | None:
    """The sentence for an option that cannot be, as Hydra, OmegaConf or Lightning put it."""
    if isinstance(error, InstantiationException):
        what, _, option = str(error).partition("full_key: ")
        cause = error.__cause__
        return f"{option or what} cannot be set up ({cause}): see its options." if _is_of_value(cause) else None
    if isinstance(error, HydraException | OmegaConfBaseException):
        return " ".join(str(error).split("Config search path")[0].split())
    if isinstance(error, MisconfigurationException):  # Lightning's word for a device that is not there
        return f"{error} Choose another trainer, such as trainer=default."
    return None
