"""Checkpoints that are written whole or not at all, the newest few kept, and their damage found."""

import hashlib
import io
import logging
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor
from torch.utils import _pytree

from dequant.errors import InputError
from dequant.io.files import whole_path
from dequant.models.finite import is_finite
from dequant.training.preemption import undivided

log = logging.getLogger(__name__)

DIGEST = b"sha256:"
DAMAGED = "is damaged or cut short"


class Diverged(InputError):
    """Training cannot continue, as its numbers are not finite."""


class WholeCheckpoints(TorchCheckpointIO):
    """Writes each checkpoint beside its final path and renames it, so that an interrupted save leaves the old file.

    Lightning's own save goes through the system's temporary folder. From there to another disk the move is a copy,
    which a kill or a full disk cuts short. The comment at the end of the file, a ZIP, is the digest of what is before.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save a checkpoint at a path.

        Raises:
            Diverged: weights or moments are not finite; nothing is written.
        """
        if not _holds_finite(checkpoint):
            raise Diverged(
                f"Training diverged: weights are not finite, so '{path}' is not written; "
                f"{last_sound([Path(path).parent])}; try a lower model.optimizer.lr."
            )
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        content = buffer.getbuffer()[:-2]  # without the length of the comment
        comment = DIGEST + hashlib.sha256(content).hexdigest().encode()
        with whole_path(Path(path)) as partial, partial.open("wb") as file:
            file.write(content)
            file.write(len(comment).to_bytes(2, "little") + comment)


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
        """Save if training was asked to stop and every process is between two steps."""
        alone = isinstance(exception, KeyboardInterrupt) and trainer.world_size == 1
        if getattr(exception, "whole", alone or isinstance(exception, SIGTERMException)):
            self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        if trainer.global_step <= self.saved:
            return
        path = self.folder / f"step_{trainer.global_step:06d}.ckpt"
        with undivided():
            trainer.save_checkpoint(path, weights_only=False)
            self.saved = trainer.global_step
            if trainer.is_global_zero:
                self._tidy(path)

    def _tidy(self, newest: Path) -> None:
        link = self.folder / ".last.ckpt.link"
        link.unlink(missing_ok=True)
        link.symlink_to(newest.name)
        os.replace(link, self.folder / "last.ckpt")
        left_by_kills = self.folder.glob(".*.partial.ckpt")
        for old in [*newest_first(self.folder)[self.keep :], *left_by_kills]:
            old.unlink(missing_ok=True)


def newest_first(folder: Path) -> list[Path]:
    """The checkpoints of `LastCheckpoint` in a folder, latest first."""
    return sorted(folder.glob("step_*.ckpt"), key=lambda path: path.stat().st_mtime_ns, reverse=True)


def fault(path: Path) -> str | None:
    """What is wrong with a checkpoint, as a predicate, or None.

    Its digest is checked. Files of earlier versions have none: they are read. A sharded one (a folder) needs its index.
    """
    if path.is_dir():
        return None if (path / ".metadata").is_file() else DAMAGED
    try:
        if (digest := _stored_digest(path)) is not None:
            return None if digest == _digest(path) else DAMAGED
        with zipfile.ZipFile(path) as file:
            if file.comment or file.testzip() is not None:
                return DAMAGED
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
            return "is not a checkpoint of train.py"
        return None if _holds_finite(checkpoint) else "has weights that are not finite"
    except Exception:  # whatever reading a damaged file raises
        return DAMAGED


def newest_whole(folder: Path) -> Path | None:
    """The newest sound checkpoint of a folder, or None. Logs a warning for each that it skips."""
    for path in newest_first(folder):
        if (wrong := fault(path)) is None:
            return path
        log.warning("The checkpoint %s %s: the one before is used.", path, wrong)
    return None


def last_sound(folders: Iterable[Path]) -> str:
    """Which checkpoint of these folders to resume from, in words: none is written of weights that are not finite."""
    newest = [path for folder in folders for path in newest_first(folder)[:1]]
    return f"the last sound checkpoint is '{newest[0]}'" if newest else "there is no checkpoint yet"


def _holds_finite(checkpoint: dict[str, Any]) -> bool:
    """Whether weights, their average and the optimizer's moments are finite."""
    parts = [checkpoint.get(name) for name in ("state_dict", "ema", "optimizer_states")]
    return is_finite(value for value in _pytree.tree_leaves(parts) if isinstance(value, Tensor))


def _stored_digest(path: Path) -> bytes | None:
    length = len(DIGEST) + 64
    with path.open("rb") as file:
        file.seek(-min(2 + length, path.stat().st_size), os.SEEK_END)
        end = file.read()
    return end[2 + len(DIGEST) :] if end.startswith(length.to_bytes(2, "little") + DIGEST) else None


def _digest(path: Path) -> bytes:
    """Digest of what is before the length of the comment."""
    sha256, left = hashlib.sha256(), path.stat().st_size - 2 - len(DIGEST) - 64
    with path.open("rb") as file:
        while left and (piece := file.read(min(left, 2**22))):
            sha256.update(piece)
            left -= len(piece)
    return sha256.hexdigest().encode()
