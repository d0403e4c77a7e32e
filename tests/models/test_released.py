"""Networks of the released code with other widths, depths and attention than the checkpoint of test_convert."""

import json
import math
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dequant.diffusion import loss as loss_module
from dequant.diffusion.sampler import Sampler
from dequant.errors import InputError
from dequant.models import convert, released
from dequant.models.control import ControlEncoder
from dequant.training.dequantizer import Dequantizer
from tests.support.paths import GOLDEN

NETWORKS = GOLDEN / "network"
OTHERS = json.loads((NETWORKS / "network.json").read_text())["others"]
STEM = [48, 48, 64, 64, 96, 96, 128]
SHAPE = (3, 16, 24)
SLOW = pytest.mark.slow


def normal(name: str, *shape: int) -> Tensor:
    """Noise drawn from a name, as for the reference arrays."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))


def uniform(name: str, *shape: int) -> Tensor:
    """Values in [0, 1) drawn from a name."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))


def weights(name: str, like: Tensor) -> Tensor:
    """Random values of a parameter of the released layout, drawn from its name."""
    value = normal(name, *like.shape)
    return value * 0.9 / math.sqrt(like[0].numel()) if like.ndim > 1 else 0.1 * value + name.endswith("weight")


def released_state(config: dict[str, Any], condition_channels: int = 7) -> dict[str, Tensor]:
    """Random weights of a base and an encoder in the released layout."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
        control = ControlEncoder(
            {key: value for key, value in unet.config.items() if not key.startswith("_")},
            stem_widths=STEM,
            raw_condition=True,
            condition_channels=condition_channels,
        )
    empty = convert.to_released(
        {name: torch.empty(value.shape) for name, value in unet.state_dict().items()},
        unet.config,
        {name: torch.empty(value.shape) for name, value in control.state_dict().items()},
    )
    return {name: weights(name, value) for name, value in empty.items()}


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    stored = np.load(NETWORKS / "others.npz")
    return {key: torch.from_numpy(stored[key]) for key in stored.files}


def network(case: str, sampler: Sampler) -> Dequantizer:
    """One of the reference networks, through the released layout."""
    config = released.unet_config(OTHERS[case])
    text = normal("text", 1, 77, OTHERS[case]["encoder_dim"])
    model, control = convert.from_released(released_state(config), config, "T", text)
    return Dequantizer(model, lambda *_: control, sampler)


@pytest.mark.parametrize("case", OTHERS)
def test_outputs_and_loss_of_the_released_code(
    case: str, expected: dict[str, Tensor], super27: Sampler, draws: list[Tensor]
) -> None:
    """Last residual, outputs with and without the encoder, loss."""
    module = network(case, super27)
    condition, t = uniform("condition", 2, 7, *SHAPE[1:]), torch.tensor([999, 37])
    x, noise, x_t = 2 * uniform("target", 2, *SHAPE) - 1, normal("noise", 2, *SHAPE), normal("x", 2, *SHAPE)
    draws += [normal("augmentation", 2, *SHAPE)] * 3
    with torch.no_grad():
        mid = module.control(condition, t, x_t, *module.base.context(2))[1]
        controlled = module.controlled.denoise(x_t, t, condition)[0]
        alone = module.base.denoise(x_t, t, condition)[0]
        output, deviation = module.controlled.denoise(module.base.add_noise(x, noise, t), t, condition)
    loss = loss_module.loss(output, x, noise, module.base.scheduler, deviation, t)
    for found, name in ((mid, "control_mid"), (controlled, "out_control"), (alone, "out_nocontrol")):
        torch.testing.assert_close(found, expected[f"{case}/{name}"], atol=5e-5, rtol=0)
    torch.testing.assert_close(loss, expected[f"{case}/loss"].mean(), rtol=2e-3, atol=0)


@pytest.mark.parametrize("case", ["shallow", pytest.param("wide", marks=SLOW), pytest.param("plain", marks=SLOW)])
def test_image_of_the_released_code(
    case: str, expected: dict[str, Tensor], super27: Sampler, draws: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = network(case, super27)
    draws += [normal(f"step {i}", 1, *SHAPE) for i in range(54)]
    initial = normal("init", 1, *SHAPE)[0]
    monkeypatch.setattr(torch, "randn", lambda *args, **kwargs: initial)
    final = 2 * module.draw(uniform("condition", 2, 7, *SHAPE[1:])[:1]) - 1
    torch.testing.assert_close(final, expected[f"{case}/final"], atol=3e-3, rtol=0)


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """IF's `params` of small networks."""
    levels = draw(st.integers(1, 3))
    rates = [2**level for level in range(levels)]
    widths = {"encoder_dim": draw(st.sampled_from([32, 96])), "encoder_channels": draw(st.sampled_from([32, 64]))}
    named = {
        "num_res_blocks": draw(st.integers(1, 2) | st.lists(st.integers(1, 3), min_size=levels, max_size=levels)),
        "attention_resolutions": draw(st.lists(st.sampled_from(rates), unique=True)),
        "disable_self_attentions": draw(st.booleans() | st.lists(st.sampled_from(rates), unique=True)),
    }
    if draw(st.booleans()):
        named["attention_resolutions"] = ",".join(str(256 // rate) for rate in named["attention_resolutions"] or [16])
    mults = [1, *(draw(st.integers(1, 3)) for _ in rates[1:])]
    switches = ("efficient_activation", "scale_skip_connection", "use_scale_shift_norm")
    return {
        **{"image_size": 256, "model_channels": 32, "in_channels": 6, "out_channels": 6, "resblock_updown": True},
        **{"channel_mult": draw(st.sampled_from([mults, ",".join(map(str, mults))])), "att_pool_heads": 4},
        **{
            "activation": draw(st.sampled_from(released.ACTIVATIONS)),
            "num_head_channels": draw(st.sampled_from([8, 32])),
        },
        **{switch: draw(st.booleans()) for switch in switches},
        **widths,
        **named,
    }


@settings(max_examples=5, deadline=None)
@given(params=configurations(), condition_channels=st.sampled_from([7, 8]))
def test_any_network_returns_unchanged(params: dict[str, Any], condition_channels: int) -> None:
    config = released.unet_config(params)
    state = released_state(config, condition_channels)
    model, control = convert.from_released(state, config, "T", torch.zeros(1, 77, params["encoder_dim"]))
    assert control is not None
    side = 2 * model.multiple
    with torch.no_grad():
        down, mid = control(torch.rand(1, 7, side, side), torch.tensor([5]), None, *model.context(1))
        model.denoise(torch.rand(1, 3, side, side), torch.tensor([5]), torch.rand(1, 7, side, side), (down, mid))
    back = convert.to_released(model.unet.state_dict(), model.unet.config, control.state_dict())
    assert back.keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in back.items())


def test_further_condition_channels_are_zero() -> None:
    """`--force_aux_8` of the released code pads the condition before it is mapped to [-1, 1]."""
    config = released.unet_config(OTHERS["shallow"])
    state = released_state(config, 8)
    model, control = convert.from_released(state, config, "T", normal("text", 1, 77, 128))
    seen: list[Tensor] = []
    assert control is not None
    control.stem[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    condition = uniform("condition", 1, 7, 16, 16)
    control(condition, torch.tensor([5]), None, *model.context(1))
    assert torch.equal(seen[0], torch.cat([2 * condition - 1, -torch.ones(1, 1, 16, 16)], dim=1))


@pytest.mark.parametrize(
    ("disabled", "attention", "expected"),
    [
        (False, "64,32", [False] * 4),
        (None, "64,32", [False] * 4),
        ("32", "64,32", [False, False, False, True]),
        ([4], "64,32", [False, False, True, False]),
        (True, [4, 8], [False, False, True, True]),
        (True, "64,32", [False] * 4),
    ],
)
def test_levels_without_self_attention(disabled: Any, attention: Any, expected: list[bool]) -> None:
    params = OTHERS["plain"] | {"image_size": 256, "num_head_channels": 32}
    params |= {"disable_self_attentions": disabled, "attention_resolutions": attention}
    config = released.unet_config(params)
    assert config["only_cross_attention"] == expected
    assert config["mid_block_only_cross_attention"] == expected[-1]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"resblock_updown": False}, "resblock_updown off"),
        ({"activation": "gelu_jit"}, "activation gelu_jit"),
        ({"channel_mult": "2,2,4"}, "channel_mult 2,2,4"),
        ({"attention_resolutions": "64,8"}, "2 heads at levels of different width"),
    ],
)
def test_what_diffusers_cannot_express_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        released.unet_config(OTHERS["plain"] | {"num_heads_upsample": -1} | change)
