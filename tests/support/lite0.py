"""Random weights in the layout of the package of EfficientNet-Lite0."""

from pathlib import Path

import torch

STAGES = ((16, 3, 1), (24, 3, 2), (40, 5, 2), (80, 3, 3), (112, 5, 3), (192, 5, 4), (320, 3, 1))
"""Channels, side of the depthwise kernels and number of blocks of each."""


def write_lite0(path: Path) -> Path:
    """All tensors, in the names of the package's file."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}

    def layer(name: str, norm: str, out: int, inside: int, side: int) -> None:
        state[f"{name}.weight"] = torch.randn(out, inside, side, side, generator=generator) / (inside * side**2) ** 0.5
        for part, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.1), ("running_var", 0.5)):
            state[f"{norm}.{part}"] = torch.full((out,), value)

    layer("_conv_stem", "_bn0", 32, 3, 3)
    before, number = 32, 0
    for channels, side, count in STAGES:
        for _ in range(count):
            prefix, inner = f"_blocks.{number}.", before * (6 if number else 1)
            if number:
                layer(f"{prefix}_expand_conv", f"{prefix}_bn0", inner, before, 1)
            layer(f"{prefix}_depthwise_conv", f"{prefix}_bn1", inner, 1, side)
            layer(f"{prefix}_project_conv", f"{prefix}_bn2", channels, inner, 1)
            before, number = channels, number + 1
    layer("_conv_head", "_bn1", 1280, before, 1)
    state["_fc.weight"] = torch.randn(1000, 1280, generator=generator) / 1280**0.5
    state["_fc.bias"] = torch.zeros(1000)
    torch.save(state, path)
    return path
