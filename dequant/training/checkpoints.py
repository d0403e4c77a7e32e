"""Checkpoints that are written whole or not at all, the newest few kept, and a stop that loses nothing."""

import io
import logging
import os
import signal
import zipfile
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import SIGTERMException

from dequant.io.files import whole_path

log = logging.getLogger(__name__)


class WholeCheckpoints(TorchCheckpointIO):
    """Writes each checkpoint beside its final path and renames it, so that an interrupted save leaves the old file.

    Lightning's own save goes through the system's temporary folder. From there to another disk the move is a copy,
    which a kill or a full disk cuts short.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save a checkpoint at a path."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        with whole_path(Path(path)) as partial:
            partial.write_bytes(buffer.getbuffer())


class LastCheckpoint(Checkpoint):
    """Saves every n steps, at the end, and when training is stopped by SIGTERM or Ctrl-C; keeps the newest few.

    Files are `step_<number>.ckpt`; `last.ckpt` links to the newest. Lightning runs a `Checkpoint` after all other
    callbacks, so the average of `EMA` is up to date.

    Lightning's `ModelCheckpoint(monitor="step", mode="max", save_on_exception=True)` is no substitute: it does not save
    the end of a run whose length is not a multiple of n, and it saves on every exception. If one of several processes
    fails, it then waits for the others at a barrier that they never reach.

    Args:
        folder: of the checkpoints.
        every_n_steps: optimizer steps between two saves.
        keep: number of checkpoints that stay.
    """

    def __init__(self, folder: str, every_n_steps: int, keep: int) -> None:
        self.folder = Path(folder)
        self.every_n_steps = every_n_steps
        self.keep = keep
        self.saved = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Skip the step that training starts from."""
        self.saved = trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Save every n steps."""
        if trainer.global_step % self.every_n_steps == 0:
            self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the end."""
        self._save(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Save if training was asked to stop. Ctrl-C interrupts several processes at different steps: skip it there."""
        if isinstance(exception, SIGTERMException) or (
            isinstance(exception, KeyboardInterrupt) and trainer.world_size == 1
        ):
            self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        if trainer.global_step <= self.saved:
            return
        self.saved = trainer.global_step
        path = self.folder / f"step_{trainer.global_step:06d}.ckpt"
        trainer.save_checkpoint(path, weights_only=False)
        if trainer.is_global_zero:
            link = self.folder / ".last.ckpt.link"
            link.unlink(missing_ok=True)
            link.symlink_to(path.name)
            os.replace(link, self.folder / "last.ckpt")
            left_by_kills = self.folder.glob(".*.partial.ckpt")
            for old in [*newest_first(self.folder)[self.keep :], *left_by_kills]:
                old.unlink(missing_ok=True)


class Preemption(Callback):
    """Ends training after the current step, in all processes, when one of them receives SIGTERM.

    Lightning's own handler communicates between processes in the middle of a step, where its messages meet others. It
    also stops in the middle of a validation, while the module holds the averaged weights.
    """

    def __init__(self) -> None:
        self.asked = False

    def on_train_start(self, *_: Any) -> None:
        """Replace the signal's handler; the trainer restores it at the end."""
        signal.signal(signal.SIGTERM, self._ask)

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Stop if any process was asked to."""
        if trainer.strategy.reduce_boolean_decision(self.asked, all=False):
            raise SIGTERMException

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        self.asked = True


def newest_first(folder: Path) -> list[Path]:
    """The checkpoints of `LastCheckpoint` in a folder, latest first."""
    return sorted(folder.glob("step_*.ckpt"), key=lambda path: path.stat().st_mtime_ns, reverse=True)


def is_whole(path: Path) -> bool:
    """Whether a checkpoint is complete and agrees with its own checksums. A sharded one (a folder) needs its index."""
    if path.is_dir():
        return (path / ".metadata").is_file()
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def newest_whole(folder: Path) -> Path | None:
    """The newest undamaged checkpoint of a folder, or None. Logs a warning for each damaged one that it skips."""
    for path in newest_first(folder):
        if is_whole(path):
            return path
        log.warning("The checkpoint %s is damaged or cut short: the one before is used.", path)
    return None
