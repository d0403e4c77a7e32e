"""Throughput, on a clock that the test sets."""

import time

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from dequant.training.throughput import Throughput


class Clock:
    """What `time.perf_counter` says, in seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)


class Square(nn.Module):
    """A matrix product."""

    def forward(self, x: Tensor) -> Tensor:
        return x @ torch.ones(10, 10)


class Compiled(L.LightningModule):
    """Counts its compilations and keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = Square()
        self.layer.compile(backend=self.compiled)
        self.compilations = 0
        self.logged: list[dict[str, float]] = []

    def compiled(self, graph: GraphModule, inputs: list[Tensor]) -> GraphModule:
        self.compilations += 1
        return graph

    def log_dict(self, values: dict[str, float], batch_size: int) -> None:
        self.logged.append(dict(values))


def test_waiting_counts_and_validation_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """3 seconds of waiting and 1 of work for each batch of 4, and a validation of 10."""
    clock, meter, model = Clock(monkeypatch), Throughput(peak_flops=1000.0), Compiled()
    trainer = L.Trainer(accelerator="cpu", logger=False, log_every_n_steps=2, enable_checkpointing=False)
    meter.on_train_start(trainer, model)
    for step in range(4):
        clock.now += 3
        meter.on_train_batch_start(trainer, model)
        model.layer(torch.ones(5, 10))
        assert model.compilations == (step > 0)
        clock.now += 1
        meter.on_train_batch_end(trainer, model, None, {"target": torch.zeros(4, 3, 8, 8)}, step)
        if step == 2:
            meter.on_validation_start()
            clock.now += 10
            meter.on_validation_end()
    assert meter.flops == 2 * 5 * 10 * 10
    assert len(model.logged) == 3
    expected = {"speed/samples_per_second": 1.0, "speed/data_wait": 0.75, "speed/mfu": 0.25}
    assert model.logged[0] == model.logged[-1] == pytest.approx(expected)
