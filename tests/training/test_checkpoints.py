"""Checkpoints that are whole, and the newest few of them."""

import logging
import os
import random
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor
from torch.utils.data import DataLoader

from dequant.errors import InputError
from dequant.training.checkpoints import (
    Diverged,
    LastCheckpoint,
    WholeCheckpoints,
    fault,
    newest_first,
    newest_whole,
)
from tests.support.paths import CASES


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
    with pytest.raises(InputError, match="no space left for '.*last.ckpt'"):
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


def test_any_flipped_bit_is_found(tmp_path: Path) -> None:
    """Wherever it is, also where the ZIP's own checksums do not reach."""
    path = tmp_path / "step_000001.ckpt"
    save(path, 1)
    data, rng = path.read_bytes(), random.Random(0)
    assert fault(path) is None
    for place in [*rng.sample(range(len(data)), 300), *range(len(data) - 100, len(data))]:
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :])
        assert fault(path) == "is damaged or cut short", place


def earlier(path: Path, content: object) -> Path:
    """A checkpoint as versions without digests wrote it."""
    torch.save(content, path)
    return path


def test_checkpoints_of_earlier_versions(tmp_path: Path) -> None:
    sound = {"state_dict": {"weight": torch.ones(3)}}
    assert fault(earlier(tmp_path / "sound.ckpt", sound)) is None
    nan = {"state_dict": {}, "ema": {"weight": torch.tensor([1, torch.nan])}}
    assert fault(earlier(tmp_path / "nan.ckpt", nan)) == "has weights that are not finite"
    assert fault(earlier(tmp_path / "other.ckpt", [1, 2])) == "is not a checkpoint of train.py"
    assert fault(CASES / "faults" / "flip_in_directory.ckpt") == "is damaged or cut short"


def foreign_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("word/document.xml", "<text/>")


def encrypted_name(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + bytes(range(256)) * 9)


@pytest.mark.parametrize("write", [foreign_zip, encrypted_name])
def test_a_file_of_another_kind_is_no_checkpoint(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path / "step_000001.ckpt")
    assert fault(tmp_path / "step_000001.ckpt") == "is damaged or cut short"


def test_weights_that_are_not_finite_are_never_written(tmp_path: Path) -> None:
    save(tmp_path / "step_000001.ckpt", 1)
    for part in ("state_dict", "ema", "optimizer_states"):
        with pytest.raises(Diverged, match="last sound checkpoint is .*step_000001.ckpt"):
            broken = {part: {"weight": torch.tensor([0.0, torch.inf])}}
            WholeCheckpoints().save_checkpoint(broken, tmp_path / "step_000002.ckpt")
    assert [path.name for path in tmp_path.iterdir()] == ["step_000001.ckpt"]


def test_folders_of_a_sharded_checkpoint_have_an_index(tmp_path: Path) -> None:
    (tmp_path / "step_000001.ckpt").mkdir()
    assert fault(tmp_path / "step_000001.ckpt") == "is damaged or cut short"
    (tmp_path / "step_000001.ckpt" / ".metadata").write_bytes(b"")
    assert fault(tmp_path / "step_000001.ckpt") is None


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
