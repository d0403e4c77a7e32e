"""Averaged weights, the progress bar and the metrics file of a training."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from torch import Tensor

from dequant.errors import InputError
from dequant.io.files import whole_file
from dequant.training import fsdp
from dequant.training.learner import Learner
from dequant.training.preemption import undivided

log = logging.getLogger(__name__)

SHOWN = {
    "speed/samples_per_second": ("speed", "{:.1f}/s"),
    "speed/data_wait": ("data wait", "{:.0%}"),
    "speed/gpu_memory_gib": ("GPU", "{:.1f} GiB"),
    "speed/mfu": ("MFU", "{:.0%}"),
}
"""Metrics of `Throughput` that the progress bar shows: label and format."""


class EMA(Callback):
    """Exponential moving average of the trained weights, used for validation and release.

    The decay warms up: `min(decay, (1 + n) / (10 + n))` after n steps. Saved in checkpoints under `ema`.

    Args:
        decay: weight of the previous average, from 0 to 1.

    Raises:
        InputError: `decay` is something else.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not isinstance(decay, int | float) or not 0 <= decay <= 1:
            raise InputError(f"The decay of the average is {decay}: expected a number from 0 to 1.")
        self.decay = decay
        self.average: dict[str, Tensor] = {}
        self.steps = 0
        self.validating = False

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start from the current weights, or from the average of a checkpoint."""
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
        self._swap(pl_module, validating=True)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the weights back."""
        self._swap(pl_module)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Put the weights back if a validation is interrupted, before a checkpoint is saved."""
        if self.validating:
            self.on_validation_end(trainer, pl_module)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the average in the module, for release and a validation after the end."""
        self._swap(pl_module)
        self.average = {}

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the average."""
        checkpoint["ema"] = {name: fsdp.gathered(value).cpu() for name, value in self.average.items()}

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Load the average."""
        self.average = checkpoint["ema"]
        self._place(pl_module)  # a strategy that shards loads after on_fit_start

    def _place(self, pl_module: L.LightningModule) -> None:
        weights = _trained(pl_module)
        self.average = {name: fsdp.split_like(value, weights[name]) for name, value in self.average.items()}

    @torch.no_grad()
    def _swap(self, pl_module: L.LightningModule, validating: bool = False) -> None:
        with undivided():
            for name, value in _trained(pl_module).items() if self.average else ():
                weights = value.clone()
                value.copy_(self.average[name])
                self.average[name].copy_(weights)
            self.validating = validating


class Progress(RichProgressBar):
    """Progress bar in optimizer steps, on one line.

    Behind it are loss, validation PSNR with its gain, and speed: of these, what the terminal has room for.
    """

    BAR = 8

    @property
    def total_train_batches(self) -> int:
        """Steps of the whole run, those before a resumption included."""
        return self.trainer.max_steps

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the number of steps."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, trainer.global_step - 1)

    def configure_columns(self, trainer: L.Trainer) -> list[Any]:
        """What, bar, steps, time that is left."""
        return [
            TextColumn("{task.description}"),
            BarColumn(bar_width=self.BAR),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
        ]

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        """The text behind the bar."""
        metrics = trainer.callback_metrics
        shown = {"loss": f"{metrics['train/loss']:.3f}"} if "train/loss" in metrics else {}
        if "val/psnr" in metrics:
            shown["val"] = f"{metrics['val/psnr']:.2f} dB ({metrics['val/gain']:+.2f})"
        shown |= {name: form.format(metrics[key]) for key, (name, form) in SHOWN.items() if key in metrics}
        if self._console is None:
            return shown
        room = self._console.width - len(f"Validation {trainer.max_steps}/{trainer.max_steps} -:--:-- ") - self.BAR - 1
        fitting = {}
        for name, text in shown.items():
            if (width := len(f"{name}: {text}")) <= room:
                fitting[name] = text
                room -= width + 1
        return fitting

    def _get_train_description(self, current_epoch: int) -> str:
        return "Training  "


def _trained(pl_module: L.LightningModule) -> dict[str, torch.nn.Parameter]:
    assert isinstance(pl_module, Learner)
    return dict(pl_module.trained.named_parameters())


def validation(metrics: Mapping[str, float]) -> str:
    """What the metrics of a validation say, for people."""
    if "val/psnr" in metrics:
        psnr, before, gain = (metrics[f"val/{key}"] for key in ("psnr", "psnr_input", "gain"))
        return f"validation PSNR {psnr:.2f} dB, of the input {before:.2f} dB: {gain:+.2f} dB"
    mine = {name: value for name, value in metrics.items() if name.startswith("val/")}
    return "validation " + ", ".join(f"{name.removeprefix('val/')} {value:.3f}" for name, value in mine.items())


class LastMetrics(Callback):
    """Writes all metrics of the last validation, and its step, to a JSON file, and logs a line.

    Args:
        path: of the file.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remove metrics of a step that this training has not reached."""
        if trainer.is_global_zero and self.path.is_file():
            try:
                ahead = json.loads(self.path.read_text())["step"] > trainer.global_step
            except (ValueError, KeyError, TypeError):
                ahead = True
            if ahead:
                self.path.unlink()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the file and the line."""
        if trainer.is_global_zero and not trainer.sanity_checking:
            values = {name: value.item() for name, value in trainer.callback_metrics.items()}
            with whole_file(self.path) as file:
                json.dump({"step": trainer.global_step} | values, file, indent=1)
            log.info("step %d: %s", trainer.global_step, validation(values))
