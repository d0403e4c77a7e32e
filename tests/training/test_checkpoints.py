"""Checkpoints that are whole, the newest few of them, random states, and throughput."""

import logging
import os
import random
import time
import warnings
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from dequant.training.checkpoints import (
    LastCheckpoint,
    RandomStates,
    WholeCheckpoints,
    is_whole,
    newest_first,
    newest_whole,
)
from dequant.training.throughput import Throughput


def save(path: Path, step: int) -> None:
    WholeCheckpoints().save_checkpoint({"step": step, "weights": torch.arange(1000.0)}, path)


def test_failed_save_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    save(path, 1)
    with pytest.raises(Exception, match="pickle"):
        WholeCheckpoints().save_checkpoint({"step": lambda: None}, path)
    assert torch.load(path, weights_only=True)["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_full_disk_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    save(path, 1)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save(path, 2)
    assert torch.load(path, weights_only=True)["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def damage_by_cutting(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def damage_by_zeros(data: bytes) -> bytes:
    return bytes(len(data))


def damage_one_byte(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("damage", [damage_by_cutting, damage_by_zeros, damage_one_byte, lambda data: b""])
def test_the_checkpoint_before_a_damaged_one_is_used(tmp_path: Path, damage, caplog) -> None:
    for step in (1, 2, 3):
        save(tmp_path / f"step_{step:06d}.ckpt", step)
        os.utime(tmp_path / f"step_{step:06d}.ckpt", (step, step))
    assert [path.name[5:11] for path in newest_first(tmp_path)] == ["000003", "000002", "000001"]
    newest = tmp_path / "step_000003.ckpt"
    newest.write_bytes(damage(newest.read_bytes()))
    os.utime(newest, (3, 3))
    with caplog.at_level(logging.WARNING):
        assert newest_whole(tmp_path) == tmp_path / "step_000002.ckpt"
    assert "step_000003.ckpt is damaged or cut short: the one before is used." in caplog.text
    assert newest_whole(tmp_path / "nowhere") is None


def test_folders_of_a_sharded_checkpoint_have_an_index(tmp_path: Path) -> None:
    (tmp_path / "step_000001.ckpt").mkdir()
    assert not is_whole(tmp_path / "step_000001.ckpt")
    (tmp_path / "step_000001.ckpt" / ".metadata").write_bytes(b"")
    assert is_whole(tmp_path / "step_000001.ckpt")


class Noisy(L.LightningModule):
    """Draws from all three global generators."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.drawn: list[tuple[float, float, float]] = []

    def training_step(self, batch, batch_idx):
        self.drawn.append((random.random(), float(np.random.rand()), float(torch.rand(()))))
        return self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(folder: Path, steps: int, callbacks: list[L.Callback], ckpt_path: Path | None = None) -> Noisy:
    L.seed_everything(3, verbose=False)
    model = Noisy()
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    trainer = L.Trainer(accelerator="cpu", max_steps=steps, default_root_dir=folder, **quiet, callbacks=callbacks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(model, DataLoader([{"target": torch.zeros(3)}] * 50), ckpt_path=ckpt_path, weights_only=True)
    return model


def test_random_states_go_on_and_the_newest_few_checkpoints_stay(tmp_path: Path) -> None:
    whole = fit(tmp_path, 9, [RandomStates()]).drawn
    begun = fit(tmp_path, 5, [RandomStates(), LastCheckpoint(str(tmp_path), every_n_steps=1, keep=2)])
    assert begun.drawn == whole[:5]
    assert sorted(path.name for path in tmp_path.glob("*.ckpt")) == [
        "last.ckpt",
        "step_000004.ckpt",
        "step_000005.ckpt",
    ]
    assert (tmp_path / "last.ckpt").resolve().name == "step_000005.ckpt"
    assert fit(tmp_path, 9, [RandomStates()], tmp_path / "last.ckpt").drawn == whole[5:]


def test_throughput(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """3 seconds of waiting and 1 of work a batch of 4, and 10 of validation that do not count."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    meter, model = Throughput(peak_flops=1000.0), Noisy()
    trainer = L.Trainer(accelerator="cpu", logger=False, log_every_n_steps=2, enable_checkpointing=False)
    logged: list[dict[str, float]] = []
    monkeypatch.setattr(model, "log_dict", lambda values, **_: logged.append(dict(values)))
    meter.on_train_start(trainer, model)
    for step in range(4):
        now[0] += 3
        meter.on_train_batch_start(trainer, model)
        torch.ones(5, 10) @ torch.ones(10, 10)
        now[0] += 1
        meter.on_train_batch_end(trainer, model, None, {"target": torch.zeros(4, 3, 8, 8)}, step)
        if step == 2:
            meter.on_validation_start()
            now[0] += 10
            meter.on_validation_end()
    assert meter.flops == 2 * 5 * 10 * 10
    assert len(logged) == 3
    expected = {"speed/samples_per_second": 1.0, "speed/data_wait": 0.75, "speed/mfu": 0.25}
    assert logged[0] == logged[-1] == pytest.approx(expected)
