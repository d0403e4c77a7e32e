"""Weights that are not finite, which a training that diverged leaves, are neither written nor loaded."""

import math
from collections.abc import Iterable

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
