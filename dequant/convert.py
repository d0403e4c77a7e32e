"""Weights in the layout of the code released with the paper (and of DeepFloyd IF's own code), to and from ours.

There, one state dict holds the base and, under `control_model.`, the encoder; blocks are numbered through, and an attention's
projections are stacked per head. Both directions use one table of names, and the shapes that a file must have are those of our
networks taken through it.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from safetensors.torch import load_file
from torch import Tensor

from dequant import InputError
from dequant.base import DiffusionBase
from dequant.control import ControlEncoder
from dequant.pretrained import Source, prompt_width, read_embedding

CONTROL = "control_model."
SKIP_SCALE = 0.7071
"""IF multiplies the sum of a residual block's paths by this (`scale_skip_connection`)."""

RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
ATTENTION = {
    "norm": ("group_norm",),
    "norm_encoder": ("norm_cross",),
    "qkv": ("to_q", "to_k", "to_v"),
    "encoder_kv": ("add_k_proj", "add_v_proj"),
    "proj_out": ("to_out.0",),
}
SEQUENCE = ("qkv", "encoder_kv", "proj_out")
"""Linear layers of ours that are 1x1 convolutions over a sequence there."""

AROUND = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "aug_proj.0": "class_embedding.linear_1",
    "aug_proj.2": "class_embedding.linear_2",
    "encoder_proj": "encoder_hid_proj",
    "encoder_pooling.0": "add_embedding.norm1",
    "encoder_pooling.1": "add_embedding.pool",
    "encoder_pooling.1.q_proj": "add_embedding.pool.q_proj",
    "encoder_pooling.1.k_proj": "add_embedding.pool.k_proj",
    "encoder_pooling.1.v_proj": "add_embedding.pool.v_proj",
    "encoder_pooling.2": "add_embedding.proj",
    "encoder_pooling.3": "add_embedding.norm2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
    "middle_block_out.0": "zero_conv_mid",
}


class Name(NamedTuple):
    """One layer: its name there, and the names of ours that are stacked in it, for heads of `head_dim` features."""

    theirs: str
    ours: tuple[str, ...]
    head_dim: int = 0


def read(path: str | Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint `{"model_state_dict": ...}`, or of IF's pytorch_model.bin; nothing in it is run.

    Raises:
        InputError: it is no such file.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path} cannot be opened: give the path of a checkpoint.") from error
    except Exception as error:
        raise InputError(f"{path} is not a checkpoint of tensors: give a .pt or .bin file of the released code.") from error
    state = loaded.get("model_state_dict", loaded) if isinstance(loaded, dict) else None
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} holds no state dict: give a .pt or .bin file of the released code.")
    return state


def from_released(
    state: Mapping[str, Tensor], unet_config: Mapping[str, Any], variant: str = "", text_embedding: Tensor | None = None
) -> tuple[DiffusionBase, ControlEncoder | None]:
    """Our networks with released weights, in the precision of the file.

    Args:
        state: from `read`.
        unet_config: of the base's UNet in diffusers, from `unet_config`.
        variant: name of the texture that the encoder was trained on.
        text_embedding: of the empty prompt.

    Returns:
        The base and the encoder, None where the state dict holds a base alone.

    Raises:
        InputError: names or shapes do not fit the configuration; the first one that does not is named.
    """
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(dict(unet_config))
    control_state = {name.removeprefix(CONTROL): t for name, t in state.items() if name.startswith(CONTROL)}
    base_state = {name: t for name, t in state.items() if not name.startswith(CONTROL)}
    unet.load_state_dict(_to_ours(base_state, unet.state_dict(), unet.config), assign=True)
    base = DiffusionBase(unet.requires_grad_(False), released_scheduler(), text_embedding=text_embedding)
    if not control_state:
        return base, None
    widths = [control_state[name].shape[0] for name in _hint_weights(control_state)]
    with torch.device("meta"):
        control = ControlEncoder(
            {key: value for key, value in unet.config.items() if not key.startswith("_")},
            variant=variant,
            base=base.fingerprint,
            stem_widths=widths[:-1],
            raw_condition=True,
        )
    control.load_state_dict(_to_ours(control_state, control.state_dict(), unet.config, CONTROL), assign=True)
    return base, control


def to_released(
    unet: Mapping[str, Tensor], config: Mapping[str, Any], control: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The released layout of the state dicts of our UNet (with its `config`) and encoder; inverse of `from_released`."""
    state = _to_theirs(unet, config)
    if control is not None:
        state |= {CONTROL + name: value for name, value in _to_theirs(control, config).items()}
    return state


def convert_file(path: Path, base: str, variant: str, text_embedding: str | None, out: Path) -> None:
    """Write `out`/base and `out`/control, in the layouts of `DiffusionBase` and `ControlEncoder`.

    Args:
        path: a checkpoint for `read`.
        base: what says the UNet's configuration, for `unet_config`.
        variant: name of the texture that the encoder was trained on.
        text_embedding: file with the embedding of the empty prompt, to keep beside the base.
        out: the folder.
    """
    config = unet_config(base)
    embedding = None if text_embedding is None else read_embedding(text_embedding)
    if embedding is not None and embedding.shape[-1] != prompt_width(config):
        raise InputError(f"{text_embedding} has {embedding.shape[-1]} features, but the base takes {prompt_width(config)}.")
    state = read(path)
    if not variant and any(name.startswith(CONTROL) for name in state):
        raise InputError(f"Which texture was {path} trained on? Say so with --variant L, G or T.")
    model, control = from_released(state, config, variant, embedding)
    model.save_pretrained(out / "base", model.unet.dtype)
    if control is not None:
        control.save_pretrained(out / "control")


def convert_back(folder: Path, out: Path) -> None:
    """Write a checkpoint that the released code loads, from a folder that `convert_file` wrote.

    Raises:
        InputError: there is no base in it, or an encoder that the released code cannot express.
    """
    parts = {part: folder / part for part in ("base/unet", "control") if (folder / part / "config.json").is_file()}
    if "base/unet" not in parts:
        raise InputError(f"{folder} holds no base/unet: give a folder that `convert authors` wrote.")
    configs = {part: json.loads((path / "config.json").read_text()) for part, path in parts.items()}
    control = configs.get("control")
    if control is not None and (not control.get("raw_condition") or control.get("x_channels")):
        raise InputError(f"{folder}/control is not of the released layout: train with control=released to get one.")
    states = {
        part: {name: value for file in sorted(path.glob("*.safetensors")) for name, value in load_file(file).items()}
        for part, path in parts.items()
    }
    state = to_released(states["base/unet"], configs["base/unet"], states.get("control"))
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    torch.save({"epoch": 0, "model_state_dict": state, "optimizer_state_dict": {}}, partial)
    os.replace(partial, out)


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
        base: name of a file in conf/base, hub id, folder in the layout of diffusers or of IF's own code (config.yml), or such
            a .yml or .json file.

    Raises:
        InputError: there is none.
    """
    named = Path(__file__).parents[1] / "conf" / "base" / f"{base}.yaml"
    path = Path(yaml.safe_load(named.read_text())["path"] if named.is_file() else base)
    if (path / "config.yml").is_file():
        path = path / "config.yml"
    if not path.is_file():
        source = Source(path)
        return dict(source.load(lambda: UNet2DConditionModel.load_config(str(path), subfolder="unet")))
    try:
        loaded = yaml.safe_load(path.read_text())
        params = loaded.get("params", loaded)
        return params if "block_out_channels" in params else config_of_released(params)
    except (yaml.YAMLError, AttributeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no configuration: give IF's config.yml or the config.json of a UNet.") from error
    except KeyError as error:
        raise InputError(f"{path} does not say {error}: give IF's config.yml or the config.json of a UNet.") from error


def config_of_released(params: Mapping[str, Any]) -> dict[str, Any]:
    """diffusers' configuration of the super-resolution UNet that IF's own code makes from `params`.

    Raises:
        InputError: an option is set that diffusers has no counterpart of.
    """
    if not params.get("resblock_updown", False):
        raise InputError("This configuration has resblock_updown off, which has no counterpart in diffusers.")
    mults = _numbers(params["channel_mult"])
    layers = _numbers(params["num_res_blocks"])
    layers = layers * len(mults) if len(layers) == 1 else layers
    attended = {params["image_size"] // resolution for resolution in _numbers(params["attention_resolutions"])}
    attends = [2**level in attended for level in range(len(mults))]
    efficient, scaled = params.get("efficient_activation", False), params.get("scale_skip_connection", False)
    down = ["SimpleCrossAttnDownBlock2D" if attend else "ResnetDownsampleBlock2D" for attend in attends]
    up = ["SimpleCrossAttnUpBlock2D" if attend else "ResnetUpsampleBlock2D" for attend in reversed(attends)]
    config = {
        "sample_size": params["image_size"],
        "in_channels": params["in_channels"],
        "out_channels": params["out_channels"],
        "block_out_channels": [params["model_channels"] * mult for mult in mults],
        "layers_per_block": layers,
        "down_block_types": down,
        "up_block_types": up,
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "cross_attention_dim": params["encoder_channels"],
        "cross_attention_norm": "group_norm",
        "attention_head_dim": params["num_head_channels"],
        "only_cross_attention": bool(params.get("disable_self_attentions", False)),
        "act_fn": params["activation"],
        "time_embedding_act_fn": params["activation"] if efficient else None,
        "resnet_skip_time_act": efficient,
        "resnet_time_scale_shift": "scale_shift" if params.get("use_scale_shift_norm") else "default",
        "resnet_out_scale_factor": 1 / SKIP_SCALE if scaled else 1.0,
        "mid_block_scale_factor": 1 / SKIP_SCALE if scaled else 1.0,
        "time_embedding_dim": params["model_channels"] * max(mults),
        "class_embed_type": "timestep",
        "addition_embed_type": "text",
        "addition_embed_type_num_heads": params.get("att_pool_heads", 64),
    }
    if params["encoder_dim"] != params["encoder_channels"]:
        config |= {"encoder_hid_dim": params["encoder_dim"], "encoder_hid_dim_type": "text_proj"}
    return config


def _numbers(value: Any) -> list[int]:
    """`"1,2"`, `[1, 2]` or `1` as a list."""
    items = value.split(",") if isinstance(value, str) else [value] if isinstance(value, int) else value
    return [int(item) for item in items]


def _names(config: Mapping[str, Any]) -> Iterator[Name]:
    """Every layer that a base or an encoder may have."""
    yield from (Name(theirs, (ours,)) for theirs, ours in AROUND.items())
    n_levels = len(config["block_out_channels"])
    layers = config["layers_per_block"]
    layers = [layers] * n_levels if isinstance(layers, int) else layers
    heads = config["attention_head_dim"]
    heads = [heads] * n_levels if isinstance(heads, int) else heads
    attends = ["CrossAttn" in kind for kind in config["down_block_types"]]
    i = 1
    for level in range(n_levels):
        for j in range(layers[level]):
            yield from _resnet(f"input_blocks.{i}.0", f"down_blocks.{level}.resnets.{j}")
            yield from _attention(f"input_blocks.{i}.1", f"down_blocks.{level}.attentions.{j}", heads[level])
            i += 1
        yield from _resnet(f"input_blocks.{i}.0", f"down_blocks.{level}.downsamplers.0")
        i += level < n_levels - 1
    yield from _resnet("middle_block.0", "mid_block.resnets.0")
    yield from _attention("middle_block.1", "mid_block.attentions.0", heads[-1])
    yield from _resnet("middle_block.2", "mid_block.resnets.1")
    k = 0
    for level in reversed(range(n_levels)):
        up = f"up_blocks.{n_levels - 1 - level}"
        for j in range(layers[level] + 1):
            yield from _resnet(f"output_blocks.{k}.0", f"{up}.resnets.{j}")
            yield from _attention(f"output_blocks.{k}.1", f"{up}.attentions.{j}", heads[level])
            k += 1
        yield from _resnet(f"output_blocks.{k - 1}.{1 + attends[level]}", f"{up}.upsamplers.0")
    yield from (Name(f"zero_convs.{skip}.0", (f"zero_convs.{skip}",)) for skip in range(i))


def _resnet(theirs: str, ours: str) -> Iterator[Name]:
    return (Name(f"{theirs}.{a}", (f"{ours}.{b}",)) for a, b in RESNET.items())


def _attention(theirs: str, ours: str, head_dim: int) -> Iterator[Name]:
    for a, parts in ATTENTION.items():
        yield Name(f"{theirs}.{a}", tuple(f"{ours}.{part}" for part in parts), head_dim)


def _parameters(ours: Mapping[str, Tensor], config: Mapping[str, Any]) -> Iterator[tuple[Name, str]]:
    """Layers and parameters of the table that are in a state dict of ours, with only those parts that are."""
    stem = (Name(f"input_hint_block.{i}", (f"stem.{i}",)) for i in range(0, len(ours), 2) if f"stem.{i}.weight" in ours)
    for name in (*_names(config), *stem):
        for parameter in ("weight", "bias", "positional_embedding"):
            parts = tuple(part for part in name.ours if f"{part}.{parameter}" in ours)
            if parts:
                yield name._replace(ours=parts), parameter


def _to_theirs(ours: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    state = {}
    for name, parameter in _parameters(ours, config):
        parts = [ours[f"{part}.{parameter}"] for part in name.ours]
        value = parts[0]
        if len(parts) > 1:
            value = torch.stack([part.unflatten(0, (-1, name.head_dim)) for part in parts], dim=1).flatten(0, 2)
        if parameter == "weight" and name.theirs.endswith(SEQUENCE):
            value = value.unsqueeze(-1)
        state[f"{name.theirs}.{parameter}"] = value.contiguous()
    return state


def _to_ours(
    theirs: Mapping[str, Tensor], expected: Mapping[str, Tensor], config: Mapping[str, Any], prefix: str = ""
) -> dict[str, Tensor]:
    """The tensors of `expected`, on any device, from a state dict of the released layout that must fit exactly."""
    _check({name: value.shape for name, value in _to_theirs(expected, config).items()}, theirs, prefix)
    state = {}
    for name, parameter in _parameters(expected, config):
        value = theirs[f"{name.theirs}.{parameter}"]
        if parameter == "weight" and name.theirs.endswith(SEQUENCE):
            value = value.squeeze(-1)
        if len(name.ours) == 1:
            state[f"{name.ours[0]}.{parameter}"] = value
            continue
        parts = value.unflatten(0, (-1, len(name.ours), name.head_dim)).unbind(1)
        state |= {
            f"{ours}.{parameter}": part.flatten(0, 1).contiguous() for ours, part in zip(name.ours, parts, strict=True)
        }
    return state


def _check(expected: Mapping[str, torch.Size], theirs: Mapping[str, Tensor], prefix: str) -> None:
    for name, shape in expected.items():
        if name not in theirs:
            raise InputError(f"These weights have no {prefix}{name}, which the base's configuration asks for.")
        if theirs[name].shape != shape:
            raise InputError(
                f"{prefix}{name} is {'x'.join(map(str, theirs[name].shape))}, but {'x'.join(map(str, shape))} in the "
                "base's configuration: choose the base that these weights belong to."
            )
    for name in theirs:
        if name not in expected:
            raise InputError(
                f"These weights have {prefix}{name}, which the base's configuration has no place for: choose the base that "
                "they belong to."
            )


def _hint_weights(control_state: Mapping[str, Tensor]) -> list[str]:
    """Names of the stem's weights there, in order."""
    found = [n for n in control_state if n.startswith("input_hint_block.") and n.endswith(".weight")]
    if not found:
        raise InputError(f"These weights have no {CONTROL}input_hint_block, which an encoder needs.")
    return sorted(found, key=lambda name: int(name.split(".")[1]))
