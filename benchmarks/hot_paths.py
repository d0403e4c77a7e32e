"""Where the time goes: `python -m benchmarks.hot_paths PHOTO [--csv FILE]`.

Each path that users wait for, at 256 pixels on one thread: milliseconds (the best of several runs), operations counted
by PyTorch, their share of what this machine reaches in a product of two matrices, and what takes most of it. Paths
of less than a thousand million operations are given in milliseconds alone.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

import dequant
from dequant.color.cells import cells_of, settle
from dequant.color.palette import quantize
from dequant.condition.channels import for_palette
from dequant.condition.texture import TEXTURES
from dequant.condition.texture_maps import thresholded_gradient_map
from dequant.data.crops import center_crop
from dequant.diffusion.loss import loss
from dequant.errors import one_sentence
from dequant.evaluation.cases import Case
from dequant.evaluation.measure import measure
from dequant.io.files import write_csv
from dequant.io.images import read_image
from dequant.models.base import DiffusionBase, bundled
from dequant.models.control import ControlEncoder
from dequant.models.controlled import Controlled
from dequant.provenance import check_clean, provenance

COLUMNS = ("path", "ms", "gflop", "peak_share", "most")
ABOUT = ("peak_gflops", "command", "commit", "hardware", "torch", "date")
SIZE, SIDE = 256, 1024


def best(work: Callable[[], object], repeats: int = 5) -> float:
    """Processor seconds, after a run that warms up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def peak() -> float:
    """Operations per second of a product of two matrices."""
    a = torch.rand(SIDE, SIDE)
    return 2 * SIDE**3 / best(lambda: a @ a, 10)


def most_time(work: Callable[[], object]) -> str:
    """The three operators that take most."""
    with profile(activities=[ProfilerActivity.CPU]) as record:
        work()
    events = sorted(record.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    named = ((event.key.removeprefix("aten::"), event.self_cpu_time_total / total) for event in events[:3])
    return ", ".join(f"{name} {share:.0%}" for name, share in named)


def paths(rgb: torch.Tensor) -> dict[str, Callable[[], object]]:
    """What is measured; the first two have networks."""
    base = DiffusionBase.from_pretrained(bundled())
    control = ControlEncoder.from_base(base, "T")
    model = Controlled(base.requires_grad_(False), control)
    for part in (base, control):
        part.to(memory_format=base.memory_format)
    quantized = quantize(rgb, 16)
    condition = for_palette(quantized.rgb, 16, thresholded_gradient_map(rgb))[None]
    optimizer = torch.optim.AdamW([p for p in control.parameters() if p.requires_grad], lr=1e-4)
    noise, t = torch.randn(1, 3, SIZE, SIZE), torch.tensor([500])

    def learn() -> None:
        x = 2 * rgb[None] - 1
        output, deviation = model.denoise(base.add_noise(x, noise, t), t, condition)
        loss(output, x, noise, base.scheduler, deviation, t).backward()
        optimizer.step()
        optimizer.zero_grad()

    asked, everywhere = quantized.rgb, torch.ones(SIZE, SIZE, dtype=torch.bool)
    given = {name: texture.map(rgb) for name, texture in TEXTURES.items()}
    case = Case({}, "", condition[0], rgb, rgb, 16)
    found: dict[str, Callable[[], object]] = {
        "sampling, one step": lambda: dequant.Sampler().draw(model, condition),
        "training step, batch 1": learn,
        "median cut, 16 colours": lambda: quantize(rgb, 16),
        "palette kept, 16 colours": lambda: settle(rgb.flip(-1), cells_of(asked)),
        "all metrics of a picture": lambda: measure(case, rgb.flip(-1)),
    }
    for name, texture in TEXTURES.items():
        found[f"texture kept exactly, {name}"] = lambda t=texture, n=name: t.nearest(asked, given[n], everywhere)
        found[f"texture followed, {name}"] = lambda t=texture, n=name: t.follow(asked, given[n], everywhere)
    return found


@one_sentence()
def main(
    photo: Annotated[Path, typer.Argument(help="A photo.")],
    csv: Path | None = None,
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Publish from a changed tree.")] = False,
) -> None:
    """Print the paths."""
    check_clean(csv, allow_dirty)
    torch.set_num_threads(1)
    top, rows = peak(), []
    for path, work in paths(center_crop(read_image(photo), SIZE)).items():
        taken = best(work)
        with FlopCounterMode(display=False) as counter:
            work()
        row = {"path": path, "ms": f"{1000 * taken:.1f}", "peak_gflops": f"{top / 1e9:.1f}"}
        if (flops := counter.get_total_flops()) > 1e9:
            row |= {"gflop": f"{flops / 1e9:.1f}", "peak_share": f"{flops / taken / top:.2f}", "most": most_time(work)}
        rows.append(dict.fromkeys((*COLUMNS, *ABOUT), "") | row | provenance(torch.device("cpu")))
        print(*(f"{name}={rows[-1][name]}" for name in COLUMNS), flush=True)
    print(f"peak {top / 1e9:.1f} GFLOP/s")
    if csv is not None:
        write_csv(csv, (*COLUMNS, *ABOUT), rows)


if __name__ == "__main__":
    typer.run(main)
