"""Modules that PyTorch's FSDP2 splits over processes, and how to make them whole again."""

from typing import Any

import torch
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, get_optimizer_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def shard(module: nn.Module, mesh: DeviceMesh) -> None:
    """Split the parameters of a module over a mesh; each block is gathered only while it runs.

    The blocks are the units of FSDP2, and the module itself is none, so it keeps its class. A module that is split
    already stays as it is.
    """
    units = [unit for child in module.children() for unit in (child if isinstance(child, nn.ModuleList) else [child])]
    for unit in units:
        if not isinstance(unit, FSDPModule) and any(True for _ in unit.parameters()):
            for parameter in unit.parameters():
                parameter.data = parameter.data.contiguous()
            fully_shard(unit, mesh=mesh, reshard_after_forward=True)


def whole(module: ModelMixin) -> ModelMixin:
    """A plain copy, on each process, of a module that `shard` split; every process must call this."""
    state = get_model_state_dict(module, options=StateDictOptions(full_state_dict=True))
    with torch.device("meta"):
        copy = type(module).from_config(module.config)
    copy.load_state_dict(state, assign=True)
    for parameter, split in zip(copy.parameters(), module.parameters(), strict=True):
        parameter.requires_grad_(split.requires_grad)
    return copy.train(module.training)


def gathered(value: Tensor) -> Tensor:
    """A whole tensor; every process must call this."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def split_like(value: Tensor, weight: Tensor) -> Tensor:
    """A copy of a whole tensor with the device, precision and shards of a weight."""
    if isinstance(weight, DTensor):
        return distribute_tensor(value.to(weight.device, weight.dtype), weight.device_mesh, weight.placements)
    return value.to(weight, copy=True)


def optimizer_state(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The whole state of an optimizer, on the CPU of the first process; every process must call this.

    Its keys are parameter names, not numbers, so every strategy can load it.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return get_optimizer_state_dict(module, optimizer, options=options)
