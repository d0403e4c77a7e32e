"""Memory and arithmetic of training a control encoder on a large base: `python benchmarks/if_memory.py CONFIG ...`.

Everything is computed from tensors without data (device "meta"), nothing is measured: parameters, the bfloat16 tensors
that autograd keeps for the backward pass, and multiply-adds counted twice. Workspaces, fragmentation and the text
encoder, which no run loads, are not included. Rows are written to standard output as CSV.

CONFIG is what `dequant convert authors --base` takes: a config.json of a UNet, IF's config.yml, a folder or a name such
as if_ii_m. Beside this file, if_ii_l.json is the published configuration of IF-II-L, and if_ii_m_assumed.json its
recipe at width 96, which has 482 million parameters where 450 are stated for IF-II-M: a stand-in for the real one,
which is behind a licence.
"""

import csv
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from dequant.errors import one_sentence
from dequant.models.base import DiffusionBase
from dequant.models.control import ControlEncoder
from dequant.models.convert import released_scheduler, unet_config
from dequant.models.prompt import PROMPT_LENGTH, prompt_width

GB = 1e9
RELEASED = [48, 48, 64, 64, 96, 96, 128]


def networks(config: dict[str, Any], checkpointing: bool) -> tuple[DiffusionBase, ControlEncoder]:
    """A frozen base and an encoder, both without data, and in bfloat16 as mixed precision computes."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config).bfloat16()
        text = torch.empty(1, PROMPT_LENGTH, prompt_width(config))
        base = DiffusionBase(unet, released_scheduler(), text_embedding=text)
        control = ControlEncoder(dict(unet.config), stem_widths=RELEASED, raw_condition=True).bfloat16()
    base.requires_grad_(False)
    if checkpointing:
        unet.enable_gradient_checkpointing()
        control.enable_gradient_checkpointing()
    return base, control


def step(base: DiffusionBase, control: ControlEncoder, batch_size: int, size: int) -> tuple[float, float]:
    """Bytes that autograd keeps, and floating-point operations, of one training step."""
    kept: dict[int, Tensor] = {}
    weights = {p.untyped_storage()._cdata for p in (*base.parameters(), *control.parameters())}

    def keep(tensor: Tensor) -> Tensor:
        if (storage := tensor.untyped_storage()._cdata) not in weights:
            kept.setdefault(storage, tensor)
        return tensor

    x = torch.empty(batch_size, base.channels, size, size, device="meta", dtype=torch.bfloat16)
    t = torch.empty(batch_size, dtype=torch.int64, device="meta")
    condition = torch.empty(batch_size, 7, size, size, device="meta")
    text, augmentation = base.context(batch_size)
    with FlopCounterMode(display=False) as counter:
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            down, mid = control(condition, t, x, text, augmentation)
            inputs = torch.cat([x, x], dim=1)
            labels = torch.zeros(batch_size, dtype=torch.int64, device="meta")
            output = base.unet(inputs, t, text.bfloat16(), labels, None, None, None, None, down, mid).sample
        output.float().square().mean().backward()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values()), counter.get_total_flops()


def count(*modules: nn.Module) -> int:
    """Parameters."""
    return sum(p.numel() for module in modules for p in module.parameters())


def row(
    name: str, config: dict[str, Any], batch_size: int, size: int, bf16: bool, checkpointing: bool, bits: int
) -> dict:
    """One line of the table; `bits` of each of AdamW's two moments."""
    base, control = networks(config, checkpointing)
    activations, operations = step(base, control, batch_size, size)
    trained = sum(p.numel() for p in control.parameters() if p.requires_grad)
    parts = {
        "base_gb": count(base.unet) * (2 if bf16 else 4) / GB,
        "encoder_gb": count(control) * 4 / GB,
        "gradients_gb": trained * 4 / GB,
        "optimizer_gb": trained * 2 * bits / 8 / GB,
        "activations_gb": activations / GB,
    }
    setting = {
        "base": Path(name).stem,
        "batch_size": batch_size,
        "size": size,
        "base_bf16": bf16,
        "checkpointing": checkpointing,
    }
    sizes = {"optimizer_bits": bits, "base_m": count(base.unet) // 10**6, "trained_m": trained // 10**6}
    figures = {**parts, "total_gb": sum(parts.values()), "tflop_per_step": operations / 1e12}
    return {**setting, **sizes, **{key: round(value, 2) for key, value in figures.items()}, "how": "computed"}


@one_sentence()
def main(
    configs: Annotated[list[str], typer.Argument(help="Configurations of UNets: files, folders or names.")],
    batch_size: int = 12,
    size: int = 256,
) -> None:
    """Print memory and arithmetic of one training step on each base, as CSV."""
    settings = [(False, False, 32), (True, False, 32), (True, True, 32), (True, True, 8)]
    writer = None
    for name in configs:
        for bf16, checkpointing, bits in settings:
            line = row(name, unet_config(name), batch_size, size, bf16, checkpointing, bits)
            if writer is None:
                writer = csv.DictWriter(sys.stdout, line.keys())
                writer.writeheader()
            writer.writerow(line)
            sys.stdout.flush()


if __name__ == "__main__":
    typer.run(main)
