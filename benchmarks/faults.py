"""Programs that are stopped at random moments and started again: `python -m benchmarks.faults FOLDER [--times 50]`.

FOLDER holds small photos. A program runs once undisturbed. Then it is killed again and again, each time at a moment
drawn from the length of that run, and the same command resumes, until one of its starts reaches the end: its results
must be the undisturbed ones to the bit. Then this begins anew, until it was killed so many times.

    train       train.py with checkpoints, `ckpt_path=here`: the released weights
    evaluate    evaluate.py: the means of all cells and the pictures
    batch       `dequant transfer` of the folder with --resume: pictures and recipes
    serve       `dequant serve` amid an edit: the next server makes the same picture, and no other folder is left

A kill counts as lost where the next start fails, hangs, leaves files, or the results differ in the end.
"""

import itertools
import json
import os
import random
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Annotated, NamedTuple

import httpx2 as httpx
import torch
import typer
from diffusers import DDPMScheduler
from torch import nn

from dequant.cli.progress import say
from dequant.errors import InputError, one_sentence
from dequant.io.files import read_csv, write_csv
from dequant.models.base import DiffusionBase, new_unet
from dequant.provenance import check_clean, provenance
from tests.support.programs import Done, Program

KEY = ("what", "signal")
COLUMNS = (*KEY, "times", "resumed", "lost", "command", "commit", "hardware", "torch", "date")
PROGRAMS = ("train", "evaluate", "batch", "serve")
SIGNALS = (signal.SIGTERM, signal.SIGKILL)
PATIENCE = 120
TRAIN = (
    *("trainer=cpu", "trainer.max_steps=40", "trainer.val_check_interval=20", "trainer.log_every_n_steps=1"),
    *("data.size=32", "data.batch_size=1", "data.num_workers=1", "data.max_val=2", "callbacks.last.every_n_steps=4"),
    *("callbacks.pictures.rows=1", "ckpt_path=here"),
)
EVALUATE = ("data=folder", "eval.size=32", "eval.n_colors=[4]", "eval.batch_size=1", "eval.gallery.photos=2")
EDIT = {"palette": "viridis", "n_colors": 8, "settings": {"num_inference_steps": 4, "seed": 1}}


class Case(NamedTuple):
    """A program that resumes.

    Attributes:
        start: it, to work in a folder of its own.
        digest: of the results there.
    """

    start: Callable[[Path], Program]
    digest: Callable[[Path], dict[str, str]]


class Count(NamedTuple):
    """How often something was killed, and what became of it."""

    times: int = 0
    resumed: int = 0


def hashes(folder: Path, *patterns: str) -> dict[str, str]:
    """Of the files that match, by their paths."""
    found = sorted(path for pattern in patterns for path in folder.glob(pattern))
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in found}


def left(folder: Path) -> dict[str, str]:
    """Files that are not whole."""
    return {str(path): "left" for path in folder.rglob("*partial*")}


def trained(folder: Path) -> dict[str, str]:
    """The weights of a training, and the figures of its last validation."""
    metrics = json.loads((folder / "run" / "metrics.json").read_text())
    kept = {name: str(value) for name, value in metrics.items() if name.startswith(("step", "val/"))}
    return hashes(folder, "run/weights/*.safetensors") | kept


def means(folder: Path) -> dict[str, str]:
    """What an evaluation measured, and its pictures."""
    lines = (folder / "run" / "cells.csv").read_text().splitlines()
    columns = [lines[0].split(",").index(name) for name in ("variant", "metric", "n_colors", "mean", "n")]
    cells = sorted("/".join(line.split(",")[column] for column in columns) for line in lines[1:])
    return {"cells": "\n".join(cells), **hashes(folder, "run/**/*.png")}


def small_base(folder: Path) -> Path:
    """A base that is quick to train on."""
    torch.manual_seed(0)
    unet = new_unet(2, block_out_channels=[8, 16], layers_per_block=1, norm_num_groups=4)
    nn.init.normal_(unet.conv_out.weight, std=0.02)
    DiffusionBase(unet, DDPMScheduler(prediction_type="sample"), patch_size=2).save_pretrained(folder)
    return folder


def cases(photos: Path, base: Path) -> dict[str, Case]:
    """The programs by name."""

    def train(folder: Path) -> Program:
        places = (f"base.path={base}", f"hydra.run.dir={folder}/run", f"run_dir={folder}/run")
        return Program("train.py", *TRAIN, *places, cwd=folder)

    def evaluate(folder: Path) -> Program:
        places = (f"data.root={photos}", f"run_dir={folder}/run", f"hydra.run.dir={folder}/logs", "device=cpu")
        return Program("evaluate.py", *EVALUATE, *places, cwd=folder)

    def batch(folder: Path) -> Program:
        options = ("--palette", "viridis", "-n", "8", "-o", "run/", "--resume")
        return Program("dequant.cli", "transfer", str(photos), *options, cwd=folder)

    return {
        "train": Case(train, trained),
        "evaluate": Case(evaluate, means),
        "batch": Case(batch, lambda folder: hashes(folder, "run/**/*.png", "run/**/*.yaml") | left(folder)),
    }


def ended(process: Program, seconds: float) -> bool:
    """Whether a program ends in that time."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    return process.poll() is not None


def complain(what: str, done: Done | None = None) -> None:
    """Say what was lost, and the program's own last words."""
    say(f"lost: {what}" + (f"\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}" if done is not None else ""))


def undisturbed(case: Case, folder: Path) -> tuple[dict[str, str], float]:
    """The results of a run that nothing disturbs, and its seconds.

    Raises:
        InputError: it fails.
    """
    folder.mkdir()
    start = time.monotonic()
    done = case.start(folder).wait(10 * PATIENCE)
    if done.returncode:
        raise InputError(f"The undisturbed run fails: {done.stderr[-500:]}")
    return case.digest(folder), time.monotonic() - start


def chain(
    case: Case, folder: Path, how: int, most: int, truth: tuple[dict[str, str], float], rng: random.Random
) -> Count:
    """Kill a program until it reaches the end, or `most` times and then never."""
    results, seconds = truth
    folder.mkdir()
    kills = 0
    while True:
        process = case.start(folder)
        if ended(process, rng.uniform(0, seconds) if kills < most else 10 * PATIENCE):
            done = process.wait()
            break
        process.send_signal(how)
        if not ended(process, PATIENCE):
            done = process.wait(0.1)
            break
        process.wait()
        kills += 1
    if done.returncode:
        complain(f"start {kills + 1} ends with {done.returncode}", done)
        return Count(kills, max(0, kills - 1))
    if (found := case.digest(folder)) != results:
        complain(f"{sorted(name for name in {*found, *results} if found.get(name) != results.get(name))} differ")
        return Count(kills, 0)
    return Count(kills, kills)


def resumed(case: Case, folder: Path, how: int, times: int, rng: random.Random) -> Count:
    """Kill a program so many times in all."""
    truth, total, number = undisturbed(case, folder / "undisturbed"), Count(), 0
    say(f"undisturbed in {truth[1]:.1f} s")
    while total.times < times:
        one = chain(case, folder / str(number), how, times - total.times, truth, rng)
        total, number = Count(total.times + one.times, total.resumed + one.resumed), number + 1
        say(f"{signal.Signals(how).name}: {total.resumed} of {total.times} resumed")
    return total


def servers() -> list[Path]:
    """The folders of servers that live or were killed."""
    return [*Path(tempfile.gettempdir()).glob("dequant-*")]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def served(folder: Path) -> Iterator[tuple[Program, httpx.Client]]:
    """A server that answers, and a client of it."""
    port = free_port()
    process = Program("dequant.cli", "serve", "--port", str(port), cwd=folder)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and process.poll() is None:
            with suppress(httpx.TransportError):
                client.get("/v1/info")
                break
            time.sleep(0.05)
        yield process, client


def edited(client: httpx.Client, photo: bytes) -> bytes:
    """The picture that a server makes of a photo."""
    name = client.post("/v1/photos?n_colors=8", content=photo).json()["id"]
    return client.get(client.post(f"/v1/photos/{name}/transfer", json=EDIT).json()["url"]).content


def attempt(client: httpx.Client, photo: bytes) -> None:
    """`edited` by a server that may go away."""
    with suppress(httpx.TransportError, KeyError, ValueError):
        edited(client, photo)


def serving(photos: Path, folder: Path, how: int, times: int, rng: random.Random) -> Count:
    """Kill servers amid an edit. The server after each must have no folder but its own, and make the same picture."""
    photo = next(iter(sorted(photos.glob("*.png")))).read_bytes()
    resumed, truth, seconds = 0, None, 1.0
    for number in range(times + 1):
        with served(folder) as (process, client):
            start = time.monotonic()
            try:
                picture = edited(client, photo)
            except (httpx.TransportError, KeyError, ValueError) as error:
                complain(f"the server after kill {number} does not answer: {error}", process.wait(1))
                continue
            truth, seconds = truth or picture, time.monotonic() - start
            folders = len(servers())
            if picture == truth and folders == 1:
                resumed += number > 0
            else:
                complain(f"{folders} folders after kill {number}, picture the same: {picture == truth}")
            user = threading.Thread(target=attempt, args=(client, photo))
            user.start()
            time.sleep(rng.uniform(0, seconds))
            process.send_signal(how)
            if not ended(process, PATIENCE):
                complain(f"kill {number + 1} does not end the server")
            process.wait(1)
            user.join()
        if how == signal.SIGTERM and servers():
            complain(f"a server that was told to stop has left {servers()}")
            resumed -= 1
    return Count(times, resumed)


def stopped(what: str, photos: Path, how: int, times: int, seed: int) -> Count:
    """Stop one program so many times in one way."""
    rng = random.Random(f"{what} {how} {seed}")
    with tempfile.TemporaryDirectory() as name:
        if what == "serve":
            return serving(photos, Path(name), how, times, rng)
        return resumed(cases(photos, small_base(Path(name) / "base"))[what], Path(name), how, times, rng)


@one_sentence()
def main(
    photos: Annotated[Path, typer.Argument(help="A folder of small photos.")],
    what: Annotated[str, typer.Option(help="Which, with commas.")] = ",".join(PROGRAMS),
    times: Annotated[int, typer.Option(help="So many kills of each, with each signal.")] = 50,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
    csv: Annotated[Path | None, typer.Option(help="Table whose rows are replaced.")] = None,
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Publish from a changed tree.")] = False,
) -> None:
    """Kill programs at random moments, and count what is lost."""
    check_clean(csv, allow_dirty)
    names = what.split(",")
    if unknown := [name for name in names if name not in PROGRAMS]:
        raise InputError(f"There is no program '{unknown[0]}': choose of {', '.join(PROGRAMS)}.")
    os.environ["TMPDIR"] = tempfile.tempdir = tempfile.mkdtemp()  # also of the programs
    Finalize(None, shutil.rmtree, (tempfile.tempdir, True), exitpriority=-200)  # after what multiprocessing has there
    Program("dequant.cli", "--version", cwd=photos).wait()  # the first start is slow
    for name, how in itertools.product(names, SIGNALS):
        count = stopped(name, photos.absolute(), how, times, seed)
        row = {"what": name, "signal": how.name, "times": count.times, "resumed": count.resumed}
        publish({key: str(value) for key, value in (row | {"lost": count.times - count.resumed}).items()}, csv)


def publish(row: dict[str, str], csv: Path | None) -> None:
    """Print a row, and put it into a table."""
    print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    if csv is not None:
        kept = [one for one in read_csv(csv, COLUMNS) if any(one[name] != row[name] for name in KEY)]
        write_csv(csv, COLUMNS, [*kept, {**row, **provenance(torch.device("cpu"))}])


if __name__ == "__main__":
    typer.run(main)
