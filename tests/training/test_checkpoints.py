"""Checkpoints that are whole, and the newest few of them."""

import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor
from torch.utils.data import DataLoader

from dequant.training.checkpoints import LastCheckpoint, WholeCheckpoints, is_whole, newest_first, newest_whole


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
def test_the_checkpoint_before_a_damaged_one_is_used(
    tmp_path: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
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


class Constant(L.LightningModule):
    """One weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(folder: Path, steps: int, *callbacks: L.Callback, ckpt_path: Path | None = None) -> None:
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=steps,
        default_root_dir=folder,
        callbacks=[*callbacks],
        plugins=[WholeCheckpoints()],
        **quiet,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(Constant(), DataLoader([{"target": torch.zeros(3)}] * 50), ckpt_path=ckpt_path, weights_only=True)


def test_the_newest_few_checkpoints_stay_with_the_end(tmp_path: Path) -> None:
    partial = tmp_path / ".step_000002.0a1b.partial.ckpt"
    partial.write_bytes(b"left by a kill")
    fit(tmp_path, 5, LastCheckpoint(str(tmp_path), every_n_steps=2, keep=2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.ckpt", "step_000004.ckpt", "step_000005.ckpt"]
    assert (tmp_path / "last.ckpt").resolve().name == "step_000005.ckpt"
    fit(tmp_path, 6, LastCheckpoint(str(tmp_path), every_n_steps=2, keep=2), ckpt_path=tmp_path / "last.ckpt")
    assert [path.name for path in newest_first(tmp_path)] == ["step_000006.ckpt", "step_000005.ckpt"]


class Fails(L.Callback):
    """Raises at the end of step 3."""

    def __init__(self, exception: BaseException) -> None:
        self.exception = exception

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        if trainer.global_step == 3:
            raise self.exception


@pytest.mark.parametrize(
    ("exception", "kept"), [(SIGTERMException(), [3, 2]), (KeyboardInterrupt(), [3, 2]), (ValueError("NaN"), [2])]
)
def test_a_run_that_is_stopped_is_saved_and_one_that_fails_is_not(
    tmp_path: Path, exception: BaseException, kept: list[int]
) -> None:
    with pytest.raises((type(exception), SystemExit)):
        fit(tmp_path, 5, LastCheckpoint(str(tmp_path), every_n_steps=2, keep=2), Fails(exception))
    assert [int(path.stem[5:]) for path in newest_first(tmp_path)] == kept
