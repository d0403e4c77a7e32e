"""How many training samples one core makes per second: the authors' Dataset and this package's, on the same photos.

    python benchmarks/data_pipeline.py --authors CHECKOUT --photos FOLDER [--variant L] [--size 256] [--rounds 3]

CHECKOUT is a clone of the code released with the paper; it needs opencv-python-headless beside this package's own
environment. Both read the same files and make the same condition channels: a palette of Pillow's median cut or a
recoloured patch, half of the time each, and the texture of the variant. This package segments photos for patches when
a patch asks for them or ahead of time (`dequant shards --segment`); both are measured. Each of the
three makes every photo once per round, in turn with the others and on one thread, and the time is that of the
processor. Before, the palette of each photo is checked to be Pillow's.

The last line is the ratio of this package, segmenting on the fly, to the authors; --csv adds a row to a table.
"""

import csv
import hashlib
import importlib
import itertools
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer
from PIL import Image

from dequant.color.palette import quantize
from dequant.condition.examples import RandomTraining
from dequant.condition.texture import TEXTURES
from dequant.data.crops import center_crop
from dequant.data.datasets import TrainingStream
from dequant.data.packing import COLUMNS, pack, select
from dequant.data.sources import Folder, Photos, Shards, Source
from dequant.errors import InputError, one_sentence
from dequant.io.formats import SUFFIXES
from dequant.io.images import read_image
from dequant.provenance import check_clean, provenance

SEED = 0


def authors_dataset(checkout: Path, photos: Path, variant: str, size: int) -> Any:
    """The authors' training Dataset over all the photos, with none held out."""
    if not (checkout / "dataset_palette.py").is_file():
        raise InputError(f"There is no dataset_palette.py in '{checkout}': give a clone of the paper's released code.")
    sys.path.insert(0, str(checkout))
    try:
        module = importlib.import_module("dataset_palette")
        importlib.import_module("cv2").setNumThreads(1)
    except ImportError as error:
        raise InputError(f"The authors' Dataset needs {error.name}: pip install opencv-python-headless.") from None
    module.Config.VAL_SIZE = module.Config.TEST_SIZE = 0
    return module.MyDataset(f"{photos}/*", mode=variant, stage="train", size=size, seed=SEED)


def segmented_shards(photos: Path, folder: Path) -> Shards:
    """The photos in shards of split train, with their segments."""
    rows = [_row(path) for path in sorted(photos.iterdir())]
    chosen = [row | {"split": "train"} for row in select(rows)]
    pack(photos, chosen, folder, segment=True)
    return Shards(folder)


def _row(path: Path) -> dict[str, str]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    known = {"file": path.name, "blob": digest, "sha256": digest, "bytes": str(path.stat().st_size), "crop": "whole"}
    return dict.fromkeys(COLUMNS, "") | known


def stream(source: Source, variant: str, size: int) -> TrainingStream:
    """This package's training stream over all the photos."""
    return TrainingStream(Photos(source, "all", size), RandomTraining(TEXTURES[variant].map), size, SEED)


def check_palettes(photos: Path, size: int) -> None:
    """Stop unless the palette and index map of each photo, for one size of palette, are Pillow's, byte for byte."""
    for path, n_colors in zip(sorted(photos.iterdir()), itertools.cycle((4, 8, 16, 32, 64, 128)), strict=False):
        rgb = center_crop(read_image(path), size)
        image = Image.fromarray((255 * rgb).round().byte().permute(1, 2, 0).contiguous().numpy())
        wanted, quantized = image.quantize(n_colors), quantize(rgb, n_colors)
        palette = (255 * quantized.palette).round().byte().numpy().tobytes()
        if palette != bytes(wanted.getpalette()) or quantized.indices.byte().numpy().tobytes() != wanted.tobytes():
            raise SystemExit(f"The palette of {n_colors} colours of {path.name} is not Pillow's.")


def measure(makers: dict[str, Callable[[int], object]], count: int, rounds: int) -> dict[str, float]:
    """Samples per second of processor time of each maker: `count` samples per round, all rounds together."""
    for make in makers.values():
        make(0)
    seconds = dict.fromkeys(makers, 0.0)
    for number in range(rounds):
        for name, make in makers.items():
            start = time.process_time()
            for index in range(count):
                make(index + count * number)
            seconds[name] += time.process_time() - start
    return {name: count * rounds / spent for name, spent in seconds.items()}


def add_row(path: Path, row: dict[str, str]) -> None:
    """Append a row to a table, which is begun where there is none."""
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row.keys(), lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


@one_sentence()
def main(
    authors: Annotated[Path, typer.Option(help="Clone of the code released with the paper.")],
    photos: Annotated[Path, typer.Option(help="Folder of photos, larger than --size.")],
    variant: Annotated[Literal["T", "L", "G"], typer.Option(help="Texture of the condition.")] = "L",
    size: Annotated[int, typer.Option(help="Side of the samples in pixels.")] = 256,
    rounds: Annotated[int, typer.Option(help="Samples per photo.")] = 3,
    csv: Annotated[Path | None, typer.Option(help="Table to add a row to.")] = None,
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Publish from a changed tree.")] = False,
) -> None:
    """Print samples per second of each Dataset, and the ratio to the authors'."""
    check_clean(csv, allow_dirty)
    torch.set_num_threads(1)
    if not photos.is_dir() or any(path.suffix.lower() not in SUFFIXES for path in photos.iterdir()):
        raise InputError(f"'{photos}' is not a folder of photos alone: give one that is.")
    theirs = authors_dataset(authors, photos, variant, size)
    check_palettes(photos, size)
    with tempfile.TemporaryDirectory() as folder:
        shards = segmented_shards(photos, Path(folder) / "shards")
        makers = {
            "authors": lambda index: theirs[index % len(theirs)],
            "on_the_fly": stream(Folder(photos), variant, size).__getitem__,
            "from_shards": stream(shards, variant, size).__getitem__,
        }
        speeds = measure(makers, len(theirs), rounds)
    fly, shard = speeds["on_the_fly"] / speeds["authors"], speeds["from_shards"] / speeds["authors"]
    print(f"{len(theirs)} photos, {size} x {size} pixels, variant {variant}, one thread")
    print(f"authors' Dataset           {speeds['authors']:7.1f} samples/s/core")
    print(f"segmented on the fly       {speeds['on_the_fly']:7.1f} samples/s/core {fly:6.1f}x")
    print(f"segments from the shards   {speeds['from_shards']:7.1f} samples/s/core {shard:6.1f}x")
    print(f"{fly:.1f}x")
    if csv is not None:
        setting = {"photos": photos.name, "n": len(theirs), "rounds": rounds, "size": size}
        figures = {f"{name}_per_s": round(speed, 2) for name, speed in speeds.items()}
        ratios = {"on_the_fly_ratio": round(fly, 2), "from_shards_ratio": round(shard, 2)}
        versions = {"numpy": np.__version__, "pillow": importlib.import_module("PIL").__version__}
        command = {"command": shlex.join(["python", "benchmarks/data_pipeline.py", *sys.argv[1:]])}
        setting |= {"variant": variant}
        add_row(csv, setting | figures | ratios | versions | provenance(torch.device("cpu")) | command)


if __name__ == "__main__":
    typer.run(main)
