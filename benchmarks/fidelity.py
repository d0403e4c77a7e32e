"""The cost of keeping palette and texture: the time of one sampling step with and without.

    python benchmarks/fidelity.py [--variant T] [--size 256] [--photos 4] [--repeats 3] [--csv FILE]

Bundled photos and weights, 16 colours, texture on. The time per photo is one thread's CPU time, or wall time on a GPU:
the best of the repeats, with the modes taken in turn.
"""

import time
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer

from dequant.color.palette import quantize
from dequant.condition.channels import for_palette
from dequant.condition.texture import TEXTURES
from dequant.data.module import ImageData
from dequant.data.sources import Shards, bundled
from dequant.diffusion.sampler import Sampler
from dequant.errors import one_sentence
from dequant.io.files import read_csv, write_csv
from dequant.pipelines.dequant import DequantPipeline
from dequant.provenance import check_clean, provenance

N_COLORS = 16
MODES = [(palette, texture) for texture in ("off", "exact") for palette in ("off", "exact")]
KEY = ("variant", "size", "palette", "texture")
COLUMNS = (*KEY, "seconds", "ratio", "command", "commit", "hardware", "torch", "date")


def best_times(variant: str, size: int, photos: int, repeats: int) -> list[float]:
    """Shortest time of each of `MODES` for one photo, in seconds."""
    data = ImageData(condition=lambda *_: {}, size=size, batch_size=1, num_workers=0, seed=0, source=Shards(bundled()))
    rgbs = [rgb for _, rgb in islice(data.photos("val", size), photos)]
    conditions = [for_palette(quantize(rgb, N_COLORS).rgb, N_COLORS, TEXTURES[variant].map(rgb)) for rgb in rgbs]
    pipe = DequantPipeline.bundled(variant).to("cuda" if torch.cuda.is_available() else "cpu")
    pipe.set_progress_bar_config(disable=True)
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    times: list[list[float]] = [[] for _ in MODES]
    for _ in range(repeats):
        for taken, (palette, texture) in zip(times, MODES, strict=True):
            start = clock()
            found = pipe.draw(conditions, sampler=Sampler(keep_palette=palette, keep_texture=texture))
            found[-1].cpu()
            taken.append((clock() - start) / len(rgbs))
    return [min(taken) for taken in times]


@one_sentence()
def main(
    variant: Annotated[Literal["T", "L", "G"] | None, typer.Option(help="One of them; by default all.")] = None,
    size: int = 256,
    photos: int = 4,
    repeats: int = 3,
    csv: Path | None = None,
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Publish from a changed tree.")] = False,
) -> None:
    """Print the time per photo of each mode, and its ratio to that of the first."""
    check_clean(csv, allow_dirty)
    torch.set_num_threads(1)
    rows: list[dict[str, str]] = []
    for name in [variant] if variant else ["T", "L", "G"]:
        times = best_times(name, size, photos, repeats)
        for seconds, mode in zip(times, MODES, strict=True):
            about = provenance(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
            figures = {"seconds": f"{seconds:.3f}", "ratio": f"{seconds / times[0]:.2f}"}
            setting = dict(zip(KEY, (name, str(size), *mode), strict=True))
            rows.append({**setting, **figures, **{key: str(value) for key, value in about.items()}})
            print(f"ours-{name}, palette {mode[0]}, texture {mode[1]}: {seconds:.3f} s, ratio {figures['ratio']}")
    if csv is not None:
        taken = {tuple(row[key] for key in KEY) for row in rows}
        kept = [row for row in read_csv(csv, COLUMNS) if tuple(row[key] for key in KEY) not in taken]
        write_csv(csv, COLUMNS, [*kept, *rows])


if __name__ == "__main__":
    typer.run(main)
