"""What keeping palette and texture costs: the time of one step with each against that without.

    python benchmarks/fidelity.py [--variant T L G] [--size 256] [--photos 4] [--repeats 3] [--csv FILE]

Bundled photos and weights, 16 colours, texture on. On a CPU the time is that of one thread's work, on a GPU the
clock's; each is the best of the repeats, taken in turn, for one photo.
"""

import argparse
import time
from itertools import islice
from pathlib import Path

import torch

from dequant.cli.hydra import one_sentence
from dequant.color.palette import quantize
from dequant.condition.channels import for_palette
from dequant.condition.texture import TEXTURES
from dequant.data.module import ImageData
from dequant.data.sources import bundled
from dequant.diffusion.sampler import Sampler
from dequant.io.files import read_csv, write_csv
from dequant.pipelines.dequant import DequantPipeline
from dequant.provenance import check_clean, provenance

N_COLORS = 16
MODES = [(palette, texture) for texture in ("off", "exact") for palette in ("off", "exact")]
KEY = ("variant", "size", "palette", "texture")
COLUMNS = (*KEY, "seconds", "ratio", "command", "commit", "hardware", "torch", "date")


def best_times(variant: str, size: int, photos: int, repeats: int) -> list[float]:
    """Shortest time of each of `MODES` for one photo, in seconds."""
    data = ImageData(condition=lambda *_: {}, size=size, batch_size=1, num_workers=0, seed=0, shards=bundled())
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


def main() -> None:
    """Print the times and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", nargs="+", default=["T", "L", "G"], choices=TEXTURES)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--photos", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--allow-dirty", action="store_true", help="publish although files differ from the commit")
    options = parser.parse_args()
    check_clean(options.csv, options.allow_dirty)
    torch.set_num_threads(1)
    rows: list[dict[str, str]] = []
    for variant in options.variant:
        times = best_times(variant, options.size, options.photos, options.repeats)
        for seconds, mode in zip(times, MODES, strict=True):
            about = provenance(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
            figures = {"seconds": f"{seconds:.3f}", "ratio": f"{seconds / times[0]:.2f}"}
            setting = dict(zip(KEY, (variant, str(options.size), *mode), strict=True))
            rows.append({**setting, **figures, **{name: str(value) for name, value in about.items()}})
            print(f"ours-{variant}, palette {mode[0]}, texture {mode[1]}: {seconds:.3f} s, ratio {figures['ratio']}")
    if options.csv is not None:
        taken = {tuple(row[name] for name in KEY) for row in rows}
        kept = [row for row in read_csv(options.csv, COLUMNS) if tuple(row[name] for name in KEY) not in taken]
        write_csv(options.csv, COLUMNS, [*kept, *rows])


if __name__ == "__main__":
    with one_sentence():
        main()
