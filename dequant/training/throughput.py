"""How fast training runs, and what it waits for."""

import time
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.throughput import get_available_flops
from lightning.pytorch.callbacks import Callback
from torch.utils.flop_counter import FlopCounterMode

PRECISIONS = {"16": torch.float16, "bf16": torch.bfloat16, "32": torch.float32, "64": torch.float64}


class Throughput(Callback):
    """Logs, averaged since the last log: samples per second, waiting for data, memory, model FLOPs utilization.

    The keys are `speed/samples_per_second` (all processes), `speed/data_wait` (share of the time), and on a GPU
    `speed/gpu_memory_gib` (highest so far). `speed/mfu` is the share of the device's peak that the operations of the
    first step, counted while it ran, make up; it is there where the peak is known. Listed last. Validation is left out.

    Args:
        peak_flops: of the device, per second; None takes the maker's figure for the trainer's precision.
    """

    def __init__(self, peak_flops: float | None) -> None:
        self.peak_flops = peak_flops
        self.flops = 0
        self.values: dict[str, float] = {}
        self._counter: FlopCounterMode | None = None
        self._compiled: dict[torch.nn.Module, Any] = {}
        self._begin(0.0)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look up the peak; count the operations of the first step."""
        if self.peak_flops is None and pl_module.device.type == "cuda":
            self.peak_flops = get_available_flops(pl_module.device, PRECISIONS[str(trainer.precision).split("-")[0]])
        self._counter = FlopCounterMode(display=False) if self.peak_flops else None
        self._begin(time.perf_counter())

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """The batch is there."""
        self._waited += time.perf_counter() - self._ended
        if self._counter is not None:
            self._compiled = {part: part._compiled_call_impl for part in pl_module.modules()}
            self._call({part: None for part in self._compiled})  # what is compiled cannot be counted
            self._counter.__enter__()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: dict[str, Any], batch_idx: int
    ) -> None:
        """The batch is done."""
        if self._counter is not None:
            self._counter.__exit__(None, None, None)
            self._call(self._compiled)
            self.flops, self._counter = self._counter.get_total_flops(), None
        self._ended = time.perf_counter()
        self._batches += 1
        every: int = vars(trainer)["log_every_n_steps"]  # set by Lightning, but not declared
        if self._batches >= every * trainer.accumulate_grad_batches:
            self._measure(trainer, len(batch["target"]))
            self._begin(self._ended)
        if self.values:
            pl_module.log_dict(self.values, batch_size=1)

    def on_validation_start(self, *_: Any) -> None:
        """Stop the clock."""
        self._paused = time.perf_counter()

    def on_validation_end(self, *_: Any) -> None:
        """Let it run again."""
        now = time.perf_counter()
        self._began += now - self._paused
        self._ended = now

    def _call(self, ways: dict[torch.nn.Module, Any]) -> None:
        for part, way in ways.items():
            part._compiled_call_impl = way

    def _begin(self, now: float) -> None:
        self._began = self._ended = self._paused = now
        self._waited, self._batches = 0.0, 0

    def _measure(self, trainer: L.Trainer, batch_size: int) -> None:
        seconds = max(self._ended - self._began, 1e-9)
        per_second = self._batches / seconds
        self.values = {
            "speed/samples_per_second": per_second * batch_size * trainer.world_size,
            "speed/data_wait": self._waited / seconds,
        }
        device = trainer.strategy.root_device
        if device.type == "cuda":
            self.values["speed/gpu_memory_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
        if self.peak_flops:
            self.values["speed/mfu"] = self.flops * per_second / self.peak_flops
