"""Shards break, loading processes and the trainer are killed: every run ends, and every sample counts once."""

import json
import logging
import os
import random
import re
import signal
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch

from dequant.data.module import ImageData
from dequant.data.remote_shards import RemoteShards
from dequant.data.shard_stream import ShardStream
from dequant.training.checkpoints import LastCheckpoint, WholeCheckpoints, newest_whole
from tests.support.paths import ROOT
from tests.support.programs import Program
from tests.support.shards import SIDE, number_of, shard

COUNTS = (23, 17, 30, 12, 25, 19, 28, 21)
LANES, BATCH, ROUNDS = 2, 5, 20
BREAKABLE = (1, 4, 6)
Sample = dict[str, torch.Tensor]


def condition(rgb: torch.Tensor, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    return {"target": torch.tensor([number_of(rgb), os.getpid()])}


def with_pass(walk: Callable[..., Iterator[Sample]]) -> Callable[..., Iterator[Sample]]:
    """Let each sample say which pass of its lane it belongs to."""

    def numbered(self: ShardStream, lane: Any, cursor: Any) -> Iterator[Sample]:
        for sample in walk(self, lane, cursor):
            yield sample | {"pass": torch.tensor(cursor.epoch)}

    return numbered


class Ledger(L.LightningModule):
    """Writes down what each step is trained on."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.weight = path, torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Sample, batch_idx: int) -> torch.Tensor:
        row = {"step": self.global_step, "loader": batch["target"][0, 1].item(), "pid": os.getpid()}
        row |= {"samples": batch["target"][:, 0].tolist(), "passes": batch["pass"].tolist()}
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        time.sleep(0.005)
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def train(folder: Path, steps: int) -> None:
    """Resume from the newest whole checkpoint, or start."""
    handler = logging.FileHandler(folder / "log")
    logging.getLogger("dequant").addHandler(handler)
    logging.getLogger("dequant").setLevel(logging.INFO)
    warnings.simplefilter("ignore")
    ShardStream._walk = with_pass(ShardStream._walk)
    data = ImageData(
        source=RemoteShards(
            f"{folder}/shards/{{0..7}}.tar", retries=1, wait=0.001, held_out=0.0, most=1, least={}
        ),
        condition=condition, size=SIDE, batch_size=BATCH, num_workers=2, seed=1,
        stream=partial(ShardStream, lanes=LANES, shuffle=8, resample=False),
    )  # fmt: skip
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    last = LastCheckpoint(str(folder / "checkpoints"), every_n_steps=3, keep=3)
    trainer = L.Trainer(
        accelerator="cpu", max_steps=steps, default_root_dir=folder, callbacks=[last], plugins=[WholeCheckpoints()],
        check_val_every_n_epoch=None, limit_val_batches=0, **quiet,
    )  # fmt: skip
    trainer.fit(Ledger(folder / "ledger"), data, ckpt_path=newest_whole(folder / "checkpoints"), weights_only=True)


def in_a_process(folder: Path, steps: int) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        train(folder, steps)
        code = 0
    finally:
        os._exit(code)


def ledger(folder: Path) -> list[dict[str, Any]]:
    path = folder / "ledger"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def break_something(folder: Path, rng: random.Random) -> None:
    path = folder / "shards" / f"{rng.choice(BREAKABLE)}.tar"
    if not path.exists():
        return
    data = path.read_bytes()
    kind, offset = rng.choice(("cut", "corrupt", "remove")), rng.randrange(len(data))
    if kind == "remove":
        path.unlink()
        return
    partial_file = path.with_suffix(".partial")
    partial_file.write_bytes(data[:offset] if kind == "cut" else data[:offset] + b"\x5a" * 600 + data[offset + 600 :])
    os.replace(partial_file, path)


def one_round(folder: Path, rng: random.Random, steps: int) -> None:
    """Start or resume; after some steps break a shard, then kill the trainer or one of its loading processes."""
    before, child = len(ledger(folder)), in_a_process(folder, steps)
    goal, deadline = before + rng.randint(1, 8), time.monotonic() + 120
    while len(rows := ledger(folder)) < goal or rows[-1]["pid"] != child:
        ended, status = os.waitpid(child, os.WNOHANG)
        assert not ended, f"ended by itself with {status}: {(folder / 'output').read_text()[-2000:]}"
        assert time.monotonic() < deadline, "hangs"
        time.sleep(0.01)
    break_something(folder, rng)
    time.sleep(rng.random() * 0.1)
    os.kill(rng.choice((child, rows[-1]["loader"])), signal.SIGKILL)
    while not os.waitpid(child, os.WNOHANG)[0]:
        assert time.monotonic() < deadline, "hangs after a kill"
        time.sleep(0.01)


@pytest.mark.slow
def test_every_run_ends_and_every_sample_counts_once(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    firsts = np.cumsum([0, *COUNTS]).tolist()
    for index, count in enumerate(COUNTS):
        shard(tmp_path / "shards" / f"{index}.tar", range(firsts[index], firsts[index] + count))
    rng, steps = random.Random(0), 400
    for _ in range(ROUNDS):
        one_round(tmp_path, rng, steps)
    child = in_a_process(tmp_path, steps := ledger(tmp_path)[-1]["step"] + 60)
    _, status = os.waitpid(child, 0)
    assert status == 0, (tmp_path / "output").read_text()[-3000:]

    history = {row["step"]: row for row in ledger(tmp_path)}  # a step done again counts once
    assert sorted(history) == list(range(steps))
    seen: dict[int, Counter[int]] = defaultdict(Counter)
    for row in history.values():
        for number, sample in zip(row["passes"], row["samples"], strict=True):
            seen[number][sample] += 1
    sound = {n for index, count in enumerate(COUNTS) if index not in BREAKABLE
             for n in range(firsts[index], firsts[index] + count)}  # fmt: skip
    log = (tmp_path / "log").read_text()
    reports = {
        int(number): int(count) for number, count in re.findall(r"pass (\d+) over the shards: (\d+) samples", log)
    }
    assert len(reports) >= 2
    for number, read in reports.items():
        assert set(seen[number].values()) == {1}, "seen twice"
        assert set(seen[number]) >= sound, "lost"
        assert seen[number].total() == read, "counts"
    unfinished = int(re.findall(r"since the last whole pass over the shards: (\d+) samples", log)[-1])
    assert sum(counts.total() for number, counts in seen.items() if number not in reports) == unfinished


FAILS = """
import lightning as L, torch, warnings
from torch.utils.data import DataLoader
from dequant.training.checkpoints import LastCheckpoint, WholeCheckpoints
from dequant.training.preemption import Preemption

class Fails(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        if self.global_step == 3 and self.global_rank == 1:
            raise ValueError("one process fails")
        return self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

warnings.simplefilter("ignore")
trainer = L.Trainer(
    accelerator="cpu", devices=2, strategy="ddp", max_steps=9, logger=False, enable_progress_bar=False,
    callbacks=[LastCheckpoint("checkpoints", 2, 3), Preemption()], plugins=[WholeCheckpoints()],
)
trainer.fit(Fails(), DataLoader(torch.zeros(40, 1)))
"""


@pytest.mark.slow
def test_a_run_ends_when_one_of_its_processes_fails(tmp_path: Path) -> None:
    """Nobody waits at a barrier for the others to save."""
    (tmp_path / "fails.py").write_text(FAILS)
    done = Program(str(tmp_path / "fails.py"), cwd=tmp_path, PYTHONPATH=str(ROOT)).wait(timeout=120)
    assert done.returncode != 0
    assert "one process fails" in done.stderr
    assert [path.name for path in (tmp_path / "checkpoints").glob("step_*")] == ["step_000002.ckpt"]
