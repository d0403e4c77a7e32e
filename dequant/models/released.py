"""How the released code (and DeepFloyd IF's own) names and shapes the parameters of a super-resolution UNet.

There, blocks are numbered through, an attention's projections are stacked per head, and the control encoder has the
names of the base's own encoder. Both directions use one table, and the shapes that weights must have are those of our
networks taken through it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dequant.errors import InputError
from dequant.models.state_dict import some

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


ACTIVATIONS = ("gelu", "silu")


class Name(NamedTuple):
    """One layer: its name there, and the names of ours that are stacked in it, for heads of `head_dim` features."""

    theirs: str
    ours: tuple[str, ...]
    head_dim: int = 0


def unet_config(params: Mapping[str, Any]) -> dict[str, Any]:
    """diffusers' configuration of the super-resolution UNet that IF's own code makes from `params`.

    Raises:
        InputError: an option is set that diffusers has no counterpart of.
    """
    _check_params(params)
    mults = _numbers(params["channel_mult"])
    layers = _numbers(params["num_res_blocks"])
    layers = layers * len(mults) if len(layers) == 1 else layers
    widths = [params["model_channels"] * mult for mult in mults]
    attended, without_self = (_attended(params, key) for key in ("attention_resolutions", "disable_self_attentions"))
    efficient, scaled = params.get("efficient_activation", False), params.get("scale_skip_connection", False)
    down = ["SimpleCrossAttnDownBlock2D" if attend else "ResnetDownsampleBlock2D" for attend in attended]
    up = ["SimpleCrossAttnUpBlock2D" if attend else "ResnetUpsampleBlock2D" for attend in reversed(attended)]
    config = {
        "sample_size": params["image_size"],
        "in_channels": params["in_channels"],
        "out_channels": params["out_channels"],
        "block_out_channels": widths,
        "layers_per_block": layers,
        "down_block_types": down,
        "up_block_types": up,
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "cross_attention_dim": params["encoder_channels"],
        "cross_attention_norm": "group_norm",
        "attention_head_dim": _head_dims(params, widths, attended),
        "only_cross_attention": without_self,
        "mid_block_only_cross_attention": without_self[-1],
        "act_fn": params["activation"],
        "time_embedding_act_fn": params["activation"] if efficient else None,
        "resnet_skip_time_act": efficient,
        "resnet_time_scale_shift": "scale_shift" if params.get("use_scale_shift_norm") else "default",
        "resnet_out_scale_factor": 1 / SKIP_SCALE if scaled else 1.0,
        "mid_block_scale_factor": 1 / SKIP_SCALE if scaled else 1.0,
        "time_embedding_dim": max(widths),
        "class_embed_type": "timestep",
        "addition_embed_type": "text",
        "addition_embed_type_num_heads": params["att_pool_heads"],
    }
    if params["encoder_dim"] != params["encoder_channels"]:
        config |= {"encoder_hid_dim": params["encoder_dim"], "encoder_hid_dim_type": "text_proj"}
    return config


def to_theirs(ours: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """The released names of a state dict of our UNet, with its `config`, or of our encoder on it."""
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


def to_ours(
    theirs: Mapping[str, Tensor], expected: Mapping[str, Tensor], config: Mapping[str, Any], prefix: str = ""
) -> dict[str, Tensor]:
    """The tensors of `expected`, on any device, from a state dict of the released layout that must fit exactly."""
    _check({name: value.shape for name, value in to_theirs(expected, config).items()}, theirs, prefix)
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


def stem_weights(control_state: Mapping[str, Tensor]) -> list[str]:
    """Names of the stem's weights there, in order."""
    found = [n for n in control_state if n.startswith("input_hint_block.") and n.endswith(".weight")]
    if not found:
        raise InputError("These weights have no input_hint_block, which an encoder needs.")
    return sorted(found, key=lambda name: int(name.split(".")[1]))


def _check_params(params: Mapping[str, Any]) -> None:
    """Refuse what diffusers cannot express."""
    if not params.get("resblock_updown", False):
        raise InputError("This configuration has resblock_updown off, which has no counterpart in diffusers.")
    if _numbers(params["channel_mult"])[0] != 1:
        raise InputError(
            f"This configuration has channel_mult {params['channel_mult']}, but diffusers embeds timesteps in the "
            "width of the first level: only those that begin with 1 can be converted."
        )
    if params["activation"] not in ACTIVATIONS:
        raise InputError(
            f"This configuration has activation {params['activation']}, which has no counterpart in diffusers: only "
            f"{' and '.join(ACTIVATIONS)} have."
        )


def _attended(params: Mapping[str, Any], key: str) -> list[bool]:
    """For each level, whether an option names it: by resolutions in a string, or by downsampling rates in a list.

    `disable_self_attentions: true` takes the value of `attention_resolutions`, which IF's code then does not parse: a
    string disables nothing.
    """
    named = params.get(key) or []
    if named is True:
        named = [] if isinstance(params["attention_resolutions"], str) else params["attention_resolutions"]
    if isinstance(named, str):
        named = [params["image_size"] // resolution for resolution in _numbers(named)]
    return [2**level in named for level in range(len(_numbers(params["channel_mult"])))]


def _head_dims(params: Mapping[str, Any], widths: list[int], attended: list[bool]) -> int | list[int]:
    """Features of an attention head, or of each level's where their number is fixed instead.

    diffusers reads the list from its start for the up blocks as well, which begin with the last level.
    """
    if params.get("num_head_channels", -1) != -1:
        return params["num_head_channels"]
    heads = params.get("num_heads", 1)
    heads_up = heads if params.get("num_heads_upsample", -1) == -1 else params["num_heads_upsample"]
    last = len(widths) - 1
    wanted = [(last, widths[last] // heads)]
    for level in (level for level, attend in enumerate(attended) if attend):
        wanted += [(level, widths[level] // heads), (last - level, widths[level] // heads_up)]
    dims = dict(wanted)
    if any(dims[level] != dim for level, dim in wanted):
        raise InputError(
            f"This configuration has {heads} heads at levels of different width ({heads_up} while upsampling), which "
            "has no counterpart in diffusers: only a fixed num_head_channels has."
        )
    return [dims.get(level, width) for level, width in enumerate(widths)]


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
            yield from _attention(f"output_blocks.{k}.1", f"{up}.attentions.{j}", heads[n_levels - 1 - level])
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


def _check(expected: Mapping[str, torch.Size], theirs: Mapping[str, Tensor], prefix: str) -> None:
    missing = [f"{prefix}{name}" for name in expected if name not in theirs]
    further = [f"{prefix}{name}" for name in theirs if name not in expected]
    first = next((n for n, shape in expected.items() if n not in theirs or theirs[n].shape != shape), None)
    if first is not None and first not in theirs:
        instead = f" (but {some(further)})" if further else ""
        raise InputError(f"These weights have no {some(missing)}, which the base's configuration asks for{instead}.")
    unfit = [
        f"{prefix}{name} is {_size(theirs[name].shape)}, but {_size(shape)}"
        for name, shape in expected.items()
        if name in theirs and theirs[name].shape != shape
    ]
    if unfit:
        raise InputError(f"{some(unfit)} in the base's configuration: choose the base that these weights belong to.")
    if further:
        raise InputError(
            f"These weights have {some(further)}, which the base's configuration has no place for: choose the base "
            "that they belong to."
        )


def _size(shape: torch.Size) -> str:
    return "x".join(map(str, shape)) or "a number"
