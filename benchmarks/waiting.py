"""What a user waits for: `python -m benchmarks.waiting PHOTOS [--before CHECKOUT] [--csv FILE]`.

    start-up      seconds until a command has printed its help, of all of them and of train.py and evaluate.py
    large photo   `dequant transfer` of one of 12 megapixels (an enlarged one), start to end; and its preview by
                  the guided filter, once the photo is read
    folder        files per minute of `dequant transfer` on 40 photos of 512 pixels, in one process and in two
    evaluation    pictures per minute of `evaluate.py eval=palette_transfer`, start-up left out

With `--before`, a checkout of an earlier commit, the evaluation runs there too, and the ratios are printed: of the
clock's time, and of the processor's, which varies less on a shared machine. All cores are used.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from PIL import Image

from dequant.cli.app import app
from dequant.color.guided import guided_filter
from dequant.color.palette import quantize
from dequant.errors import one_sentence
from dequant.io.files import write_csv
from dequant.io.images import read_image
from dequant.provenance import ROOT, check_clean, provenance

COLUMNS = ("what", "figure", "value", "unit")
ABOUT = ("command", "commit", "hardware", "torch", "date")
LARGE, SMALL, FILES = (4000, 3000), 512, 40
Row = tuple[str, str, float, str]


def seconds(*command: str, at: Path = ROOT) -> float:
    """Of a program of this package, or of a checkout's."""
    environment = {**os.environ, "PYTHONPATH": str(at), "HF_HUB_OFFLINE": "1"}
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *command], cwd=at, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr[-500:]}")
    return time.perf_counter() - start


def startup() -> list[Row]:
    """The best of three helps of each command."""
    names = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
    names += [group.name for group in app.registered_groups if group.name]
    programs = {"dequant": ["-m", "dequant.cli", "--help"]}
    programs |= {f"dequant {name}": ["-m", "dequant.cli", name, "--help"] for name in names}
    programs |= {name: [name, "--help"] for name in ("train.py", "evaluate.py")}
    return [("start-up", name, min(seconds(*command) for _ in range(3)), "s") for name, command in programs.items()]


def large(photo: Path, reference: Path, folder: Path) -> list[Row]:
    """A photo of 12 megapixels."""
    path = folder / "large.jpg"
    Image.open(photo).convert("RGB").resize(LARGE, Image.Resampling.LANCZOS).save(path, quality=92)
    rgb = read_image(path)
    guided_filter(quantize(rgb[:, :64, :64], 8).rgb, rgb[:1, :64, :64])  # what is compiled is compiled once
    start = time.perf_counter()
    guided_filter(quantize(rgb, 8).rgb, rgb.mean(0, keepdim=True))
    preview = time.perf_counter() - start
    command = ["-m", "dequant.cli", "transfer", str(path), "--palette", str(reference), "-n", "8"]
    final = seconds(*command, "-o", str(folder / "edited.jpg"))
    return [("large photo", "preview", preview, "s"), ("large photo", "result", final, "s")]


def batches(photos: list[Path], folder: Path) -> list[Row]:
    """A folder of small photos."""
    source = folder / "photos"
    source.mkdir()
    for number in range(FILES):
        image = Image.open(photos[number % len(photos)]).convert("RGB")
        image.thumbnail((SMALL, SMALL))
        image.save(source / f"{number}.png")
    rows: list[Row] = []
    for jobs in (1, 2):
        command = ["-m", "dequant.cli", "transfer", str(source), "--palette", "viridis", "-n", "8"]
        taken = seconds(*command, "--jobs", str(jobs), "-o", str(folder / f"edited{jobs}"))
        rows.append(("folder", f"{jobs} processes" if jobs > 1 else "1 process", 60 * FILES / taken, "files/min"))
    return rows


def evaluation(photos: Path, before: Path | None, folder: Path, count: int) -> list[Row]:
    """Pictures per minute, from the difference between few photos and more."""
    checkouts = {"now": ROOT} | ({"before": before} if before is not None else {})
    few, more = 2, 2 + count
    clock, processor, rates = dict[tuple[str, int], float](), dict[tuple[str, int], float](), dict[str, float]()
    for turn, most in ((0, few), (1, few), (1, more)):  # turn 0 warms up
        for name, place in checkouts.items():
            options = ["eval=palette_transfer", "data=folder", f"data.root={photos.resolve()}", "eval.size=256"]
            options += [f"eval.max_photos={most}", f"run_dir={folder / name / str(turn) / str(most)}"]
            used = processor_seconds()
            clock[name, most] = seconds("evaluate.py", *options, at=place.resolve())
            processor[name, most] = processor_seconds() - used
    for name in checkouts:
        files = (folder / name / "1" / str(more)).glob("measurements/*.csv")
        pictures = sum(len(file.read_text().splitlines()) - 1 for file in files)
        rates[name] = 60 * pictures * count / more / (clock[name, more] - clock[name, few])
    rows: list[Row] = [("evaluation", name, rate, "pictures/min") for name, rate in rates.items()]
    if before is not None:
        spent = [processor[name, more] - processor[name, few] for name in ("before", "now")]
        rows.append(("evaluation", "times faster", rates["now"] / rates["before"], ""))
        rows.append(("evaluation", "times faster, of processor time", spent[0] / spent[1], ""))
    return rows


def processor_seconds() -> float:
    """Of all programs that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@one_sentence()
def main(
    photos: Annotated[Path, typer.Argument(help="A folder of photos.")],
    before: Annotated[Path | None, typer.Option(help="A checkout of an earlier commit.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Photos of the evaluation, beside two.")] = 22,
    csv: Path | None = None,
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Publish from a changed tree.")] = False,
) -> None:
    """Print what it takes."""
    check_clean(csv, allow_dirty)
    paths, rows = sorted(photos.iterdir()), list[Row]()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for part in (
            startup,
            lambda: large(paths[0], paths[1], folder),
            lambda: batches(paths, folder),
            lambda: evaluation(photos, before, folder, count),
        ):
            for row in part():
                print(*row[:2], f"{row[2]:.2f}", row[3], flush=True)
                rows.append(row)
    if csv is not None:
        about = provenance(torch.device("cpu"))
        written = [dict(zip(COLUMNS, (*row[:2], f"{row[2]:.2f}", row[3]), strict=True)) | about for row in rows]
        write_csv(csv, (*COLUMNS, *ABOUT), written)


if __name__ == "__main__":
    typer.run(main)
