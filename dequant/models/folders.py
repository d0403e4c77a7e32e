"""Saved models as they lie in a folder, checked before anything is allocated, and again when they are loaded."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers.models.auto_model import AutoModel
from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from torch import nn

from dequant.errors import InputError, whole_number
from dequant.models.finite import is_finite
from dequant.models.state_dict import some

Part = TypeVar("Part")

CONFIG = "config.json"
AUTOENCODERS = (AutoencoderKL, AutoencoderTiny, AutoencoderDC)
"""What `AutoModel` stands for here."""
WEIGHTS = (".safetensors", ".bin")
MOST_LAYERS = 64
"""Levels of a network, and layers of each level, that a configuration may ask for."""
MOST_TIMESTEPS = 100_000


def is_folder(source: Any) -> bool:
    """Whether this is the path of a folder.

    Raises:
        InputError: it is no path.
    """
    if not isinstance(source, str | os.PathLike):
        raise InputError(f"Expected a folder or a hub id OWNER/NAME, got {source!r}.")
    try:
        return Path(source).is_dir()
    except (OSError, ValueError):  # too long, or with a null character
        return False


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"There is no {path.name} in {path.parent}: give a folder that was written whole.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a valid JSON file ({reason(error)}): copy or download it again.") from error
    if not isinstance(found, dict) or not found:
        raise InputError(f"Expected a JSON object of settings in {path}, got {str(found)[:40]}.")
    return found


def check_config(folder: Path, *kinds: type) -> None:
    """Check what a folder says of its network, without loading the weights.

    Args:
        folder: with config.json and weights.
        kinds: classes that the network may have; `AutoModel` stands for any autoencoder.

    Raises:
        InputError: the configuration is damaged, impossible, of another class, or asks for more than the files hold.
    """
    config = read_json(folder / CONFIG)
    possible = {kind.__name__: kind for one in kinds for kind in (AUTOENCODERS if one is AutoModel else (one,))}
    name = config.get("_class_name", next(iter(possible)))
    if not isinstance(name, str) or name not in possible:
        raise InputError(f"Expected {' or '.join(possible)} in {folder}, but its {CONFIG} says {name!r}.")
    network: Any = on_meta(possible[name], config, str(folder / CONFIG))
    files = [path for path in folder.iterdir() if path.suffix in WEIGHTS]
    held = sum(path.stat().st_size for path in files)
    wanted = sum(value.numel() for value in network.parameters())
    if files and held < wanted:
        raise InputError(
            f"The {CONFIG} in {folder} asks for {wanted} weights, but {some(sorted(path.name for path in files))} has "
            f"{held} bytes: copy or download the folder again."
        )


def check_loaded(model: Any, source: str) -> None:
    """Raise `InputError` for a network with weights that were missing in its file, or are not finite."""
    if not isinstance(model, nn.Module):
        return
    if any(hasattr(module, "_hf_hook") for module in model.modules()):  # its weights are offloaded
        return
    named = [*model.named_parameters(), *model.named_buffers()]
    if missing := [name for name, value in named if value.is_meta]:
        raise InputError(f"The weights of {source} lack {some(missing)}: copy or download the folder again.")
    if wrong := [name for name, value in named if not is_finite([value])]:
        raise InputError(
            f"Weights of {source} are not finite: {some(wrong)}; use those of an earlier checkpoint, or train again."
        )


def check_schedule_config(folder: Path) -> None:
    """Raise `InputError` for a scheduler_config.json that is damaged, or asks for too many timesteps."""
    config = read_json(folder / "scheduler_config.json")
    whole_number(
        f"num_train_timesteps in {folder / 'scheduler_config.json'}",
        config.get("num_train_timesteps", 1000),
        most=MOST_TIMESTEPS,
    )


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
        if _exceeds(value, MOST_LAYERS if "layers" in key else float("inf")):
            raise InputError(f"{name} has {key} {str(value)[:40]}: expected at most {MOST_LAYERS}.")
    load: Any = kind
    try:
        with torch.device("meta"):
            return load.from_config(config)
    except Exception as error:
        raise InputError(f"{name} cannot be that of {kind.__name__}: {reason(error)}.") from error


def reason(error: Exception) -> str:
    """The first sentence of a library's error, without the stop at its end."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.partition(". If ")[0].partition(". Please ")[0][:400].rstrip(".")


def _settings(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Settings, also those of the network that an encoder is a copy of."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _settings(value)
        else:
            yield key, value


def _exceeds(value: Any, most: float) -> bool:
    """Whether a number, or one in lists, is larger, or a list is longer than there may be levels."""
    if isinstance(value, list | tuple):
        return len(value) > MOST_LAYERS or any(_exceeds(one, most) for one in value)
    return isinstance(value, int | float) and value > most
