"""Weights that are not finite, which a training that diverged leaves, are neither written nor loaded."""

import copy
import math
from collections.abc import Iterable

import torch
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from dequant.errors import InputError


def is_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no value of any tensor is NaN or infinite; integers are."""
    floats = [tensor.detach() for tensor in tensors if tensor.is_floating_point() and tensor.numel()]
    return bool(nn.utils.get_total_norm(floats, math.inf).isfinite())


def check_finite(tensors: Iterable[Tensor], name: str) -> None:
    """Refuse weights that are not finite.

    Raises:
        InputError: they are not; `name` says in it whose they are.
    """
    if not is_finite(tensors):
        raise InputError(f"The weights of {name} are not finite, as after a training that diverged: give others.")


def copy_for_release(module: ModelMixin, dtype: torch.dtype | None = torch.float16) -> ModelMixin:
    """A copy on the CPU in a precision, None for its own, without a note of where it lay; InputError if not finite."""
    module = copy.deepcopy(module).cpu()
    module.register_to_config(_name_or_path="")
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = tensor.data.to(dtype or tensor.dtype)
    check_finite(module.state_dict().values(), f"this {type(module).__name__} in {dtype or 'its precision'}")
    return module
