"""What networks need not do twice: read the prompt in each step, or copy their weights into another order."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dequant.models.base import DiffusionBase
from dequant.models.control import ControlEncoder
from dequant.models.controlled import Controlled
from dequant.models.prompt import having_read
from tests.support.foreign import write_if_stage_2


@pytest.fixture
def model(tmp_path: Path) -> Controlled:
    """A small network of IF's kind under control."""
    write_if_stage_2(tmp_path)
    torch.manual_seed(0)
    base = DiffusionBase.from_pretrained(tmp_path)
    control = ControlEncoder.from_base(base, "T")
    for zero in (*control.zero_convs, control.zero_conv_mid):
        nn.init.normal_(zero.weight, std=0.1)
    return Controlled(base, control)


def inputs(model: Controlled, n: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    condition = torch.rand(n, 7, 32, 32, generator=generator).clamp(min=0.1)
    return torch.randn(n, 3, 32, 32, generator=generator), torch.full((n,), 500), condition


@torch.no_grad()
def test_the_prompt_is_read_once(model: Controlled) -> None:
    read: list[int] = []
    for network in (model.base.unet, model.control):
        for part in (network.add_embedding, network.encoder_hid_proj):
            part.register_forward_hook(lambda _, given, made: read.append(len(given[0])))
    x_t, t, condition = inputs(model)
    noise = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    expected = model.denoise(x_t, t, condition, noise)[0]
    assert read == [2, 2, 2, 2]
    read.clear()
    predict = model.start(condition, generator=[torch.Generator().manual_seed(seed) for seed in (1, 2)])
    torch.testing.assert_close(predict(x_t, t[0]), expected, atol=1e-5, rtol=1e-5)
    predict(x_t, t[0] - 1)
    assert read == [1, 1, 1, 1]


def test_weights_are_shared_and_stay_where_they_are(model: Controlled) -> None:
    names = list(model.base.state_dict())
    twin = model.base.having_read()
    assert twin.unet.conv_in.weight is model.base.unet.conv_in.weight
    assert list(model.base.state_dict()) == names and model.base.unet.add_embedding is not twin.unet.add_embedding
    assert having_read(model.base.unet, None) is model.base.unet


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@torch.no_grad()
def test_features_keep_their_order(model: Controlled, order: torch.memory_format) -> None:
    orders: list[bool] = []
    model.base.to(memory_format=order)
    DiffusionBase(model.base.unet, model.base.scheduler)
    hooks = [len(part._forward_hooks) for part in model.base.unet.modules()]
    assert max(hooks) == 1  # however many bases share a network
    for name, part in model.base.unet.named_modules():
        if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3) and name != "conv_in":
            part.register_forward_hook(
                lambda _, given, made: orders.append(given[0].is_contiguous(memory_format=order))
            )
    x_t, t, condition = inputs(model)
    model.base.denoise(x_t.to(memory_format=order), t, condition)
    assert orders and all(orders)
