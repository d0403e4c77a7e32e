"""How fast training runs, and how long it waits for data."""

import time
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.throughput import get_available_flops
from lightning.pytorch.callbacks import Callback
from torch.utils.flop_counter import FlopCounterMode

PRECISIONS = {"16": torch.float16, "bf16": torch.bfloat16, "32": torch.float32, "64": torch.float64}


class Throughput(Callback):
    """Logs throughput, averaged since the last log and without the time of validations.

    - `speed/samples_per_second`: of all processes together.
    - `speed/data_wait`: share of the time spent waiting for batches.
    - `speed/gpu_memory_gib`: peak memory so far, on a GPU.
    - `speed/mfu`: model FLOPs utilization, where the device's peak is known. The operations are counted once, in the
      first step, which runs without torch.compile.

    These are logged metrics like any other, so the progress bar, `metrics.json` and all loggers have them. Lightning's
    `ThroughputMonitor` logs to the loggers only, puts those of a validation at the number of the validation batch in
    place of the step, and measures no waiting.

    Args:
        peak_flops: of the device, per second; None for the manufacturer's figure at the trainer's precision.
    """

    def __init__(self, peak_flops: float | None) -> None:
        self.peak_flops = peak_flops
        self.flops = 0
        self.values: dict[str, float] = {}
        self._counter: FlopCounterMode | None = None
        self._begin(0.0)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look up the peak and start the clock."""
        if self.peak_flops is None and pl_module.device.type == "cuda":
            self.peak_flops = get_available_flops(pl_module.device, PRECISIONS[str(trainer.precision).split("-")[0]])
        self._begin(time.perf_counter())

    def on_train_batch_start(self, *_: Any) -> None:
        """Add the time that the batch took to arrive; count the operations of the first step."""
        self._waited += time.perf_counter() - self._ended
        if self.peak_flops and not self.flops:
            torch.compiler.set_stance("force_eager")  # compiled operations cannot be counted
            self._counter = FlopCounterMode(display=False)
            self._counter.__enter__()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: dict[str, Any], batch_idx: int
    ) -> None:
        """Log, and measure anew every `log_every_n_steps` steps."""
        if self._counter is not None:
            self._counter.__exit__(None, None, None)
            torch.compiler.set_stance("default")
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
        """Start it again."""
        now = time.perf_counter()
        self._began += now - self._paused
        self._ended = now

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
