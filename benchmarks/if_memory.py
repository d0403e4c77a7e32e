"""Memory and arithmetic of training a control encoder on a large base: `python -m benchmarks.if_memory CONFIG ...`.

Everything is computed from tensors without data (device "meta"), nothing is measured: parameters, the bfloat16 tensors
that autograd keeps for the backward pass, and multiply-adds counted twice. Workspaces, fragmentation and the text
encoder, which no run loads, are not included. Rows are written to standard output as CSV.

With `--authors CHECKOUT`, a clone of the code released with the paper, its own network of if_ii_m's assumed shape comes
last, in bfloat16 too. Attention is computed as a GPU does: fused where queries have four dimensions, as ours, else step
by step, so that autograd keeps the probabilities.

CONFIG is what `dequant convert authors --base` takes: a config.json of a UNet, IF's config.yml, a folder or a name such
as if_ii_m. Beside this file, if_ii_l.json is the published configuration of IF-II-L, and if_ii_m_assumed.json its
recipe at width 96, which has 482 million parameters where 450 are stated for IF-II-M: a stand-in for the real one,
which is behind a licence.
"""

import csv
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import torch.nn.functional as F
import typer
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.released import NETWORKS, SHARED, theirs
from dequant.errors import one_sentence
from dequant.models.base import DiffusionBase
from dequant.models.control import ControlEncoder
from dequant.models.convert import released_scheduler, unet_config
from dequant.models.prompt import PROMPT_LENGTH, prompt_width

GB = 1e9
RELEASED = [48, 48, 64, 64, 96, 96, 128]
SETTINGS = [(False, False, 32), (True, False, 32), (True, True, 32), (True, True, 8)]


class Step(NamedTuple):
    """What a training step takes.

    Attributes:
        kept: bytes of the tensors that autograd keeps for the backward pass.
        operations: in floating point.
    """

    kept: int
    operations: int


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


class Fused(TorchFunctionMode):
    """Attention as a GPU computes it: its kernels take queries of four dimensions, without a mask."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention and args[0].ndim == 4:
            return torch.ops.aten._scaled_dot_product_flash_attention(*args[:3])[0]
        return func(*args, **(kwargs or {}))


def step(forward: Callable[[Tensor, Tensor, Tensor], Tensor], batch_size: int, size: int, own: list[nn.Module]) -> Step:
    """One training step of networks that take photos, timesteps and conditions."""
    kept: dict[int, Tensor] = {}
    weights = {p.untyped_storage()._cdata for module in own for p in module.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        if (storage := tensor.untyped_storage()._cdata) not in weights:
            kept.setdefault(storage, tensor)
        return tensor

    x = torch.empty(batch_size, 3, size, size, device="meta", dtype=torch.bfloat16)
    t = torch.empty(batch_size, dtype=torch.int64, device="meta")
    condition = torch.empty(batch_size, 7, size, size, device="meta", dtype=torch.bfloat16)
    with FlopCounterMode(display=False) as counter, Fused():
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            output = forward(x, t, condition)
        output.float().square().mean().backward()
    return Step(sum(tensor.untyped_storage().nbytes() for tensor in kept.values()), counter.get_total_flops())


def ours(config: dict[str, Any], checkpointing: bool, batch_size: int, size: int) -> tuple[Step, int, int, int]:
    """A step, and the parameters of the base, of the encoder, and of what learns."""
    base, control = networks(config, checkpointing)

    def forward(x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        text, augmentation = base.context(batch_size)
        down, mid = control(condition, t, x, text, augmentation)
        labels = torch.zeros(batch_size, dtype=torch.int64, device="meta")
        inputs = torch.cat([x, x], dim=1)
        return base.unet(inputs, t, text.bfloat16(), labels, None, None, None, None, down, mid).sample

    trained = sum(p.numel() for p in control.parameters() if p.requires_grad)
    return step(forward, batch_size, size, [base, control]), count(base.unet), count(control), trained


def released(checkout: Path, batch_size: int, size: int) -> tuple[Step, int, int, int]:
    """As `ours`, of the released code's own network."""
    params = SHARED | NETWORKS["if_ii_m"]
    with torch.device("meta"):
        network = theirs(checkout, params)[0].bfloat16()
    for module in network.modules():
        if hasattr(module, "dtype"):
            module.dtype = torch.bfloat16
    network.low_res_diffusion.q_sample = lambda x, t: x  # its tables are arrays, which have no meta device
    text = torch.empty(batch_size, PROMPT_LENGTH, params["encoder_dim"], device="meta", dtype=torch.bfloat16)

    def forward(x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        return network(x, t, low_res=x, hint=condition, aug_level=0.0, text_emb=text)

    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    encoder = count(network.control_model)
    return step(forward, batch_size, size, [network]), count(network) - encoder, encoder, trained


def count(*modules: nn.Module) -> int:
    """Parameters."""
    return sum(p.numel() for module in modules for p in module.parameters())


def row(
    name: str, found: tuple[Step, int, int, int], batch_size: int, size: int, bf16: bool, checkpointing: bool, bits: int
) -> dict[str, Any]:
    """One line of the table; `bits` of each of AdamW's two moments."""
    done, base, encoder, trained = found
    parts = {
        "base_gb": base * (2 if bf16 else 4) / GB,
        "encoder_gb": encoder * 4 / GB,
        "gradients_gb": trained * 4 / GB,
        "optimizer_gb": trained * 2 * bits / 8 / GB,
        "activations_gb": done.kept / GB,
    }
    setting = {"base": name, "batch_size": batch_size, "size": size, "base_bf16": bf16, "checkpointing": checkpointing}
    sizes = {"optimizer_bits": bits, "base_m": base // 10**6, "trained_m": trained // 10**6}
    figures = {**parts, "total_gb": sum(parts.values()), "tflop_per_step": done.operations / 1e12}
    return {**setting, **sizes, **{key: round(value, 2) for key, value in figures.items()}, "how": "computed"}


def table(configs: list[str], authors: Path | None, batch_size: int, size: int) -> Iterator[dict[str, Any]]:
    """Its lines."""
    for name in configs:
        for bf16, checkpointing, bits in SETTINGS:
            found = ours(unet_config(name), checkpointing, batch_size, size)
            yield row(Path(name).stem, found, batch_size, size, bf16, checkpointing, bits)
    if authors is not None:
        with redirect_stdout(sys.stderr):  # it prints
            found = released(authors, batch_size, size)
        yield row("released code", found, batch_size, size, *SETTINGS[0])


@one_sentence()
def main(
    configs: Annotated[list[str], typer.Argument(help="Configurations of UNets: files, folders or names.")],
    authors: Annotated[Path | None, typer.Option(help="Clone of the code released with the paper.")] = None,
    batch_size: int = 12,
    size: int = 256,
) -> None:
    """Print memory and arithmetic of one training step on each base, as CSV."""
    writer = None
    for line in table(configs, authors, batch_size, size):
        if writer is None:
            writer = csv.DictWriter(sys.stdout, line.keys())
            writer.writeheader()
        writer.writerow(line)
        sys.stdout.flush()


if __name__ == "__main__":
    typer.run(main)
