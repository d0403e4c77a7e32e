"""What happens beside training: averaged weights, whole checkpoints, progress."""

import io
import logging
import os
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from dequant import fsdp
from dequant.dequantizer import Dequantizer

log = logging.getLogger(__name__)


class EMA(Callback):
    """Exponential moving average of the trained weights, used for validation and release.

    The rate warms up: `min(decay, (1 + n) / (10 + n))` after n steps. Saved in checkpoints under `ema`.

    Args:
        decay: weight of the past.
    """

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = decay
        self.average: dict[str, Tensor] = {}
        self.steps = 0

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start from the present weights, or go on from a checkpoint's average."""
        if self.average:
            self._place(pl_module)
        else:
            self.average = {k: v.detach().clone() for k, v in _trained(pl_module).items()}
        self.steps = trainer.global_step

    @torch.no_grad()
    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Move the average towards the weights after each optimizer step."""
        if trainer.global_step == self.steps:
            return
        self.steps = trainer.global_step
        rate = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(list(self.average.values()), list(_trained(pl_module).values()), rate)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validate the average."""
        self._swap(pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Go on training the weights."""
        self._swap(pl_module)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the module with the average, for release."""
        self._swap(pl_module)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the average."""
        checkpoint["ema"] = {name: fsdp.gathered(value) for name, value in self.average.items()}

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take up the average."""
        self.average = checkpoint["ema"]
        self._place(pl_module)  # a strategy that shards loads after the start of the fit

    def _place(self, pl_module: L.LightningModule) -> None:
        weights = _trained(pl_module)
        self.average = {name: fsdp.split_like(value, weights[name]) for name, value in self.average.items()}

    @torch.no_grad()
    def _swap(self, pl_module: L.LightningModule) -> None:
        if not self.average:
            return
        for name, value in _trained(pl_module).items():
            weights = value.clone()
            value.copy_(self.average[name])
            self.average[name].copy_(weights)


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
            partial.write_bytes(buffer.getbuffer())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


class LastCheckpoint(Callback):
    """Keeps the newest checkpoint: every n steps, at the end, and where training is stopped by SIGTERM or Ctrl-C.

    Listed after `EMA`, whose average it saves.

    Args:
        path: of the checkpoint.
        every_n_steps: optimizer steps between two saves.
    """

    def __init__(self, path: str, every_n_steps: int) -> None:
        self.path = path
        self.every_n_steps = every_n_steps
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
        """Save where training was asked to stop."""
        if isinstance(exception, SIGTERMException | KeyboardInterrupt):
            self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        if trainer.global_step > self.saved:
            self.saved = trainer.global_step
            trainer.save_checkpoint(self.path, weights_only=False)


class Progress(RichProgressBar):
    """Rate, time left, loss and validation PSNR beside the input's; a log line at each validation."""

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        """What stands behind the bar."""
        metrics = trainer.callback_metrics
        shown = {"loss": f"{metrics['train/loss']:.3f}"} if "train/loss" in metrics else {}
        if "val/psnr" in metrics:
            shown["val"] = f"{metrics['val/psnr']:.2f} dB, input {metrics['val/psnr_input']:.2f} dB"
        return shown

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave a line in the log."""
        super().on_validation_end(trainer, pl_module)
        if not trainer.is_global_zero:
            return
        metrics = trainer.callback_metrics
        log.info(
            "step %d: validation PSNR %.2f dB, input %.2f dB, gain %+.2f dB",
            trainer.global_step,
            *(metrics[f"val/{key}"].item() for key in ("psnr", "psnr_input", "gain")),
        )

    def _get_train_description(self, current_epoch: int) -> str:
        return "Training  "


def _trained(pl_module: L.LightningModule) -> dict[str, torch.nn.Parameter]:
    assert isinstance(pl_module, Dequantizer)
    return dict(pl_module.trained.named_parameters())
