"""Optimizers that torch does not have."""

from collections.abc import Iterable

import torch
from torch import nn

from dequant.errors import InputError


def adamw_8bit(
    parameters: Iterable[nn.Parameter], lr: float, betas: tuple[float, float], weight_decay: float
) -> torch.optim.Optimizer:
    """AdamW whose moments take 8 bits each.

    Raises:
        InputError: bitsandbytes is not installed.
    """
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise InputError("The 8-bit optimizer is bitsandbytes': pip install -e '.[8bit]'.") from error
    return AdamW8bit(parameters, lr=lr, betas=tuple(betas), weight_decay=weight_decay)
