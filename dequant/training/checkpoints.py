"""Checkpoints: written whole or not at all, the newest few kept, a damaged one found out, random states included."""

import io
import logging
import os
import random
import signal
import zipfile
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import SIGTERMException

log = logging.getLogger(__name__)


PATTERN = "step_*.ckpt"


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there, so that it is whole or the old one is still there.

    Lightning's own way writes to the system's temporary folder; from there to another disk a move is a copy, which a
    kill or a full disk cuts short.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save a checkpoint at a path."""
        path = Path(path)
        partial = path.with_name(f".{path.name}.partial")
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.write(buffer.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


class LastCheckpoint(Callback):
    """Saves every n steps, at the end, and where training is stopped by SIGTERM or Ctrl-C; keeps the newest few.

    They are `step_<number>.ckpt`, and `last.ckpt` is a link to the newest. Listed after `EMA`, whose average it saves.

    Args:
        folder: of the checkpoints.
        every_n_steps: optimizer steps between two saves.
        keep: so many checkpoints stay.
    """

    def __init__(self, folder: str, every_n_steps: int, keep: int) -> None:
        self.folder = Path(folder)
        self.every_n_steps = every_n_steps
        self.keep = keep
        self.saved = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """What training starts from need not be saved."""
        self.saved = trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Save every n steps."""
        if trainer.global_step % self.every_n_steps == 0:
            self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the end."""
        self._save(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Save where training was asked to stop; Ctrl-C finds several processes at different places."""
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
            for old in newest_first(self.folder)[self.keep :]:
                old.unlink(missing_ok=True)


class Preemption(Callback):
    """Ends training after the present step, in all processes, when one of them is sent SIGTERM.

    Lightning's own handler exchanges messages between processes in the middle of a step, where they meet others, and
    stops in the middle of a validation, whose weights are the average. Listed after `LastCheckpoint`, which saves.
    """

    def __init__(self) -> None:
        self.asked = False

    def on_train_start(self, *_: Any) -> None:
        """Take over the signal; the trainer gives it back at its end."""
        signal.signal(signal.SIGTERM, self._ask)

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Stop if any process was asked to."""
        if trainer.strategy.reduce_boolean_decision(self.asked, all=False):
            raise SIGTERMException

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        self.asked = True


class RandomStates(Callback):
    """Lets the global generators of Python, NumPy and PyTorch go on where a checkpoint left them.

    Nothing in this package draws from them in training; a base or callback of your own may.
    """

    def __init__(self) -> None:
        self.resumed: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """The states, as plain numbers and tensors."""
        numpy_state: Any = np.random.get_state()
        name, keys, *rest = numpy_state
        return {
            "python": random.getstate(),
            "numpy": [name, keys.tolist(), *rest],
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep them for the first batch: until then, starting up draws as well."""
        self.resumed = state_dict

    def on_train_batch_start(self, *_: Any) -> None:
        """Take them up, once."""
        if not self.resumed:
            return
        version, numbers, gauss = self.resumed["python"]
        random.setstate((version, tuple(numbers), gauss))
        numpy_state: Any = tuple(self.resumed["numpy"])
        np.random.set_state(numpy_state)
        torch.set_rng_state(self.resumed["torch"].cpu())
        if len(self.resumed["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([state.cpu() for state in self.resumed["cuda"]])
        self.resumed = {}


def newest_first(folder: Path) -> list[Path]:
    """The checkpoints of `LastCheckpoint` in a folder, those saved last first."""
    return sorted(folder.glob(PATTERN), key=lambda path: path.stat().st_mtime_ns, reverse=True)


def is_whole(path: Path) -> bool:
    """Whether a checkpoint is there to its end and unchanged, by the checksums in it (a folder: has its index)."""
    if path.is_dir():
        return (path / ".metadata").is_file()
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def newest_whole(folder: Path) -> Path | None:
    """The newest whole checkpoint of a folder; says so where a newer one is damaged. None if there is none."""
    for path in newest_first(folder):
        if is_whole(path):
            return path
        log.warning("The checkpoint %s is damaged or cut short: the one before is used.", path)
    return None
