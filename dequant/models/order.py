"""The order of pictures and weights in memory: kernels are slow, and round otherwise, where the two differ."""

from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

ALIGNMENT = 64
"""Bytes, as PyTorch allocates."""


def align(module: nn.Module, memory_format: torch.memory_format) -> None:
    """Move weights that a file was mapped to onto aligned memory, in a network's order: kernels round by both."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.data_ptr() % ALIGNMENT:
            tensor.data = tensor.data.clone()
    module.to(memory_format=memory_format)  # type: ignore[call-overload]


def keep_order(module: nn.Module) -> None:
    """Let attention to pictures return them in the order in which they came, in place of channels last.

    Otherwise each convolution behind it copies its weights into that order, in each call.
    """
    for part in module.modules():
        if isinstance(part, Attention) and _as_it_came not in part._forward_hooks.values():
            part.register_forward_hook(_as_it_came)


def _as_it_came(module: nn.Module, given: tuple[Any, ...], made: Tensor) -> Tensor:
    picture = given[0]
    if picture.ndim != 4:
        return made
    is_plain = picture.is_contiguous() or not picture.is_contiguous(memory_format=torch.channels_last)
    return made.contiguous(memory_format=torch.contiguous_format if is_plain else torch.channels_last)
