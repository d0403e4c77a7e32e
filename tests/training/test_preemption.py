"""SIGTERM and Ctrl-C are obeyed within seconds, whatever training is doing."""

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dequant.training.checkpoints import LastCheckpoint, WholeCheckpoints, newest_first
from dequant.training.preemption import Preemption, Stop, undivided
from tests.support.paths import ROOT

LONG = 40.0
"""Seconds that something takes unless it is interrupted."""


class Numbers(Dataset[Tensor]):
    """Eight numbers; getting the one at `slow` takes long."""

    def __init__(self, slow: int | None = None) -> None:
        self.slow = slow

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Tensor:
        time.sleep(LONG if index == self.slow else 0)
        return torch.tensor([float(index)])


class Slow(L.LightningModule):
    """One weight, which counts the steps; steps and validations take as long as they are told to."""

    def __init__(self, step: float = 0.0, validation: float = 0.0) -> None:
        super().__init__()
        self.step, self.validation = step, validation
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        time.sleep(self.step if batch_idx == 3 else 0)
        return self.weight.sum()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        time.sleep(self.validation)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1.0)


def stopped(
    folder: Path, model: Slow, photos: Numbers, workers: int, *signals: tuple[float, int]
) -> tuple[Stop, float]:
    """What a training raises that receives signals after so many seconds, and how long it took from the last."""
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    last = LastCheckpoint(str(folder), every_n_steps=100, keep=2)
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=1, callbacks=[Preemption(), last], plugins=[WholeCheckpoints()],
        num_sanity_val_steps=0, limit_val_batches=1 if model.validation else 0, val_check_interval=4, **quiet,
    )  # fmt: skip
    timers = [threading.Timer(after, os.kill, (os.getpid(), signum)) for after, signum in signals]
    began = time.monotonic()
    for timer in timers:
        timer.start()
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with warnings.catch_warnings(), pytest.raises(Stop) as caught:
        warnings.simplefilter("ignore")
        trainer.fit(model, DataLoader(photos, num_workers=workers), DataLoader(Numbers()))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    return caught.value, time.monotonic() - began - signals[-1][0]


def saved(folder: Path) -> tuple[int, int]:
    """Step of the newest checkpoint, and how many its weight has made."""
    checkpoint = torch.load(newest_first(folder)[0], weights_only=True)
    return checkpoint["global_step"], -round(checkpoint["state_dict"]["weight"].item())


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(("signum", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")])
def test_waiting_for_data_is_interrupted(tmp_path: Path, signum: int, name: str, workers: int) -> None:
    stop, seconds = stopped(tmp_path, Slow(), Numbers(slow=5), workers, (4.0, signum))
    assert (stop.name, stop.whole) == (name, True)
    assert seconds < 15
    assert saved(tmp_path) == (5, 5)


@pytest.mark.slow
def test_a_validation_is_interrupted(tmp_path: Path) -> None:
    _, seconds = stopped(tmp_path, Slow(validation=LONG), Numbers(), 0, (2.0, signal.SIGTERM))
    assert seconds < 10
    assert saved(tmp_path) == (4, 4)


@pytest.mark.slow
def test_a_step_is_finished_first(tmp_path: Path) -> None:
    stop, _ = stopped(tmp_path, Slow(step=5.0), Numbers(), 0, (2.0, signal.SIGINT))
    assert stop.whole
    assert saved(tmp_path) == (4, 4)


@pytest.mark.slow
def test_the_second_ctrl_c_does_not_wait_and_saves_nothing(tmp_path: Path) -> None:
    two = ((2.0, signal.SIGINT), (3.0, signal.SIGINT))
    stop, seconds = stopped(tmp_path, Slow(step=LONG), Numbers(), 0, *two)
    assert not stop.whole
    assert seconds < 10
    assert newest_first(tmp_path) == []


def test_what_is_undivided_ends_first() -> None:
    callback = Preemption()
    callback.asked = "SIGTERM"
    with undivided():
        callback._interrupt(signal.SIGALRM, None)
    with pytest.raises(Stop):
        callback._interrupt(signal.SIGALRM, None)


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_program_that_starts_up_says_that_it_was_stopped(tmp_path: Path, signum: int) -> None:
    command = [sys.executable, str(ROOT / "train.py"), "trainer.max_steps=2"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    time.sleep(1.0)
    process.send_signal(signum)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode != 0
    assert stderr.strip() == f"stopped by {'SIGTERM' if signum == signal.SIGTERM else 'Ctrl-C'}"
