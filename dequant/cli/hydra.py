"""What the programs configured by Hydra share: their errors in one sentence, their configuration, their device."""

import os
import re
import shlex
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from hydra.errors import HydraException, InstantiationException, OverrideParseException
from hydra.utils import instantiate
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dequant import errors
from dequant.errors import InputError
from dequant.masking import masked

EXTRAS = {"tensorboard": "tensorboard", "joblib": "sweeps", "submitit": "slurm"}
"""Packages that loggers and launchers need, and the extras that bring them."""


def one_sentence() -> AbstractContextManager[None]:
    """`errors.one_sentence` for programs with a Hydra configuration and a trainer."""
    return errors.one_sentence(_explain)


def run(main: Callable[[], object]) -> None:
    """Run a Hydra main under `one_sentence`, its composition errors included."""
    errors.obey_signals()
    if os.environ.get("LOCAL_RANK", "0") != "0":
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    sys.argv[1:] = options(sys.argv[1:])
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\)")
    with one_sentence():
        main()


def _end_with(parent: int) -> None:
    """End a further process of a run when the one that started it has ended, however it did."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)


def options(given: Sequence[str]) -> list[str]:
    """Options in words that Hydra accepts: null for what is off by default or a list, + before what exists already."""
    left = [option for option in given if option not in ("experiment=null", "hparams_search=null")]
    left = ["logger=[]" if option == "logger=null" else option for option in left]
    return [f"+{option}" if re.match(r"\+\w+(\.\w+)+=", option) else option for option in left]


def plain(config: Any) -> Any:
    """Dictionaries and lists in place of configuration nodes; other values, and interpolations, stay."""
    return OmegaConf.to_container(config) if OmegaConf.is_config(config) else config


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """A whole configuration as dictionaries and lists, without interpolations and secrets."""
    return masked(OmegaConf.to_container(cfg, resolve=True))


OmegaConf.register_new_resolver("sampler_name", lambda sampler: instantiate(sampler).name, replace=True)


def computes_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 itself; emulation is many times slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    has: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # of PyTorch before 2.10 nothing is known
    return device.type != "cpu" or any(has.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def fast_precision(accelerator: str) -> str:
    """Lightning's precision for a trainer's accelerator: bf16-mixed where `computes_bfloat16`, else 32-true."""
    kind = {"auto": str(torch.accelerator.current_accelerator() or "cpu"), "gpu": "cuda"}.get(accelerator, accelerator)
    there = kind != "cuda" or torch.cuda.is_available()  # the trainer says what is missing
    return "bf16-mixed" if there and computes_bfloat16(torch.device(kind)) else "32-true"


OmegaConf.register_new_resolver("fast_precision", fast_precision, replace=True)


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
        if what.startswith("Error locating target"):
            while cause is not None and cause.__cause__ is not None:
                cause = cause.__cause__
            return f"{option} cannot be imported ({cause}): check its _target_, and that its package is installed."
        return f"{option or what} cannot be set up ({cause}): see its options." if _is_of_value(cause) else None
    if isinstance(error, ModuleNotFoundError):
        return next((errors.missing(*pair) for pair in EXTRAS.items() if pair[0] in str(error)), None)
    if isinstance(error, OverrideParseException):
        return _quoted(error.override)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return " ".join(str(error).split("Config search path")[0].split())
    if isinstance(error, MisconfigurationException):  # Lightning's word for a device that is not there, and more
        absent = re.search(r"accelerator|device|gpu", str(error), re.IGNORECASE)
        return f"{error} Choose another trainer, such as trainer=default." if absent else str(error)
    if isinstance(error, ValueError) and str(error).startswith("Config group override"):
        return "An option that chooses a file of conf/ cannot be null here: leave it out, or give a name."
    return None


def _quoted(option: str) -> str:
    """The sentence for an option that Hydra's grammar cannot read, with quotes that let it through."""
    name, _, value = option.partition("=")
    inner = re.sub(r"(\\*)'", r"\1\1\\'", value)
    ending = re.sub(r"(\\+)$", r"\1\1", inner)  # backslashes before a quote are escaped
    whole = f"{name}='{ending}'"
    shell = f'"{whole}"' if not re.search(r'[$`"!\\]', whole) else shlex.quote(whole)
    return f"The value of {name} needs quotes, for the shell and for what reads it: write {shell}."
