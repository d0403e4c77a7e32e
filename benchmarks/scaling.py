"""How speed scales: `python -m benchmarks.scaling [--shards SHARDS] [--most 4096] [--csv FILE]`.

    resolution   pictures per second of the pipeline (ours-T, one step) for squares of 64 pixels and more, in tiles of
                 1024 from 2048 on
    batch        pictures per second for 1 to 16 at once, 128 pixels
    palette      pictures per second for palettes of 4 to 128 colours kept exactly, 256 pixels
    workers      training samples per second that data workers make of shards, 0 to 2 of them
    processes    training samples per second of train.py on one process and on two (trainer=cpu, ddp)
    GPUs         computed, not measured: bytes that each GPU sends in a step of training the paper's encoder (ring
                 all-reduce of 178 million gradients in float32), the milliseconds they take at 50 GB/s beside those of
                 the step's operations at 150 TFLOP/s per GPU, and the photos per second that shards have to give

The first three are the best of several runs on one thread, in processor time; the others are of a clock.
"""

import csv as csv_module
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch.utils.data import DataLoader

import dequant
from benchmarks.hot_paths import best
from dequant.color.palette import quantize
from dequant.condition.examples import RandomTraining
from dequant.condition.texture import TEXTURES
from dequant.data.datasets import TrainingStream
from dequant.data.sources import Photos, Shards
from dequant.errors import one_sentence
from dequant.io.files import write_csv
from dequant.provenance import ROOT, check_clean, provenance

COLUMNS = ("what", "setting", "value", "unit", "how")
ABOUT = ("command", "commit", "hardware", "torch", "date")
Row = tuple[str, str, float, str, str]
LINK, PEAK, BATCH = 50e9, 150e12, 12
"""Bytes per second between GPUs, operations per second of each in use, and its batch (paper, section 3)."""


def pictures(most: int) -> list[Row]:
    """Resolution, batch and palette."""
    pipe = dequant.load("T")
    pipe.set_progress_bar_config(disable=True)
    noise = torch.rand(3, 4096, 4096, generator=torch.Generator().manual_seed(0))
    rows: list[Row] = []
    for size in (64, 128, 256, 512, 1024, 2048, 4096):
        if size <= most:
            tile = {"tile": 1024} if size >= 2048 else {}
            image = noise[:, :size, :size]
            took = best(lambda image=image, tile=tile: pipe(image, n_colors=16, **tile), 1 if size > 512 else 3)
            rows.append(("resolution", str(size), 1 / took, "pictures/s", "measured"))
    for count in (1, 2, 4, 8, 16):
        images = [noise[:, :128, :128]] * count
        took = best(lambda images=images: pipe(images, n_colors=16))
        rows.append(("batch", str(count), count / took, "pictures/s", "measured"))
    for colors in (4, 8, 16, 32, 64, 128):
        image = quantize(noise[:, :256, :256], colors).rgb
        took = best(lambda image=image, n=colors: pipe(image, n_colors=n, keep_palette="exact"))
        rows.append(("palette", str(colors), 1 / took, "pictures/s", "measured"))
    return rows


def loading(shards: Path, seconds: float = 20) -> list[Row]:
    """Samples of the training stream."""
    rows: list[Row] = []
    for workers in (0, 1, 2):
        stream = TrainingStream(Photos(Shards(shards), "train", 256), RandomTraining(TEXTURES["T"].map), 256, 0)
        batches = iter(DataLoader(stream, batch_size=4, num_workers=workers))
        next(batches)
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            next(batches)
            count += 4
        rows.append(("workers", str(workers), count / (time.perf_counter() - start), "samples/s", "measured"))
    return rows


def training(shards: Path, steps: int = 40) -> list[Row]:
    """What train.py logs as its speed; two processes share the cores of one."""
    rows: list[Row] = []
    for processes in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            options = ["data=shards", f"data.shards={shards.resolve()}", "data.size=64", "data.batch_size=4"]
            options += ["trainer=cpu", f"trainer.devices={processes}", "logger=csv", f"run_dir={folder}"]
            options += [f"trainer.max_steps={steps}", f"trainer.val_check_interval={steps}", "data.num_workers=0"]
            if processes > 1:
                options.append("+trainer.strategy=ddp")
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
            done = subprocess.run(
                [sys.executable, "train.py", *options], cwd=ROOT, env=environment, capture_output=True
            )
            if done.returncode:
                raise SystemExit(f"train.py failed: {done.stderr.decode()[-500:]}")
            speeds = [
                float(row["speed/samples_per_second"])
                for path in Path(folder).rglob("metrics.csv")
                for row in csv_module.DictReader(path.open())
                if row.get("speed/samples_per_second")
            ]
        rows.append(("processes", str(processes), speeds[-1], "samples/s", "measured"))
    return rows


def gpus() -> list[Row]:
    """On paper, from results/if_memory.csv."""
    with (ROOT / "results" / "if_memory.csv").open() as file:
        step = next(row for row in csv_module.DictReader(file) if row["batch_size"] == str(BATCH))
    volume, work = 4e6 * float(step["trained_m"]), 1e12 * float(step["tflop_per_step"])
    rows: list[Row] = []
    for count in (8, 16, 32, 64, 128, 256):
        sent = 2 * (count - 1) / count * volume
        seconds = work / PEAK
        rate = count * BATCH / max(seconds, sent / LINK)  # the all-reduce runs during the backward pass
        figures = (
            ("sent per step", sent / 1e9, "GB"),
            ("all-reduce", 1000 * sent / LINK, "ms"),
            ("operations", 1000 * seconds, "ms"),
            ("photos", rate, "1/s"),
            ("shards read, photos of 400 kB", rate * 0.4 / 1000, "GB/s"),
            ("1.8 million photos", 1.8e6 / rate / 60, "min"),
            ("1 billion photos", 1e9 / rate / 3600 / 24, "days"),
        )
        rows += [(f"GPUs, {what}", str(count), value, unit, "computed") for what, value, unit in figures]
    return rows


@one_sentence()
def main(
    shards: Annotated[Path | None, typer.Option(help="For workers and processes.")] = None,
    most: Annotated[int, typer.Option(help="Pixels of the largest square.")] = 4096,
    csv: Path | None = None,
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Publish from a changed tree.")] = False,
) -> None:
    """Print the rows."""
    check_clean(csv, allow_dirty)
    threads, rows = torch.get_num_threads(), list[Row]()
    torch.set_num_threads(1)
    rows += pictures(most)
    torch.set_num_threads(threads)
    if shards is not None:
        rows += loading(shards) + training(shards)
    rows += gpus()
    for row in rows:
        print(*row[:2], f"{row[2]:.3g}", *row[3:])
    if csv is not None:
        about = provenance(torch.device("cpu"))
        written = [dict(zip(COLUMNS, (*row[:2], f"{row[2]:.4g}", *row[3:]), strict=True)) | about for row in rows]
        write_csv(csv, (*COLUMNS, *ABOUT), written)


if __name__ == "__main__":
    typer.run(main)
