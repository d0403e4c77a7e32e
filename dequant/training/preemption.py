"""SIGTERM and Ctrl-C: training stops within seconds, whatever it is doing, and loses nothing."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from dequant.errors import SIGNALS

PATIENCE = 2.0
"""Seconds that something other than a training step gets to end, before it is interrupted."""

_undivided = 0


@contextmanager
def undivided() -> Iterator[None]:
    """What is done in here is not interrupted half way."""
    global _undivided
    _undivided += 1
    try:
        yield
    finally:
        _undivided -= 1


class Stop(SIGTERMException):
    """Training was asked to stop.

    Args:
        name: of the signal.
        whole: whether every process is between two steps, so that a checkpoint can be saved.
    """

    def __init__(self, name: str, whole: bool) -> None:
        super().__init__(name)
        self.name = name
        self.whole = whole


class Preemption(Callback):
    """Ends training when one of its processes receives SIGTERM or Ctrl-C.

    A training step is finished first, in all processes. Anything else, such as a validation or waiting for data, is
    interrupted after `PATIENCE` seconds. A second Ctrl-C interrupts whatever it is at once, and saves nothing.

    Lightning's own handler communicates between processes in the middle of a step, where its messages meet others. It
    also stops in the middle of a validation, while the module holds the averaged weights, and saves what Ctrl-C left in
    the middle of a step.
    """

    def __init__(self) -> None:
        self.asked = ""
        self.stepping = False
        self.world_size = 1
        self._process = os.getpid()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Replace the signals' handlers; the trainer restores them at the end."""
        self._process, self.world_size = os.getpid(), trainer.world_size
        for signum in SIGNALS:
            signal.signal(signum, self._ask)
        signal.signal(signal.SIGALRM, self._interrupt)

    def on_train_batch_start(self, *_: Any) -> None:
        """From here on the step is finished."""
        self.stepping = True

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Stop if any process was asked to."""
        self.stepping = False
        if trainer.strategy.reduce_boolean_decision(bool(self.asked), all=False):
            raise Stop(self.asked or "the signal of another process", whole=True)

    def on_train_end(self, *_: Any) -> None:
        """All is trained: what follows takes its time."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def on_exception(self, *_: Any) -> None:
        """The interruption has arrived."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a loading process, which Ctrl-C reaches as well
            return
        if self.asked and signum == signal.SIGINT:
            raise Stop(self.asked, whole=False)
        self.asked = SIGNALS[signal.Signals(signum)]
        signal.setitimer(signal.ITIMER_REAL, PATIENCE, PATIENCE)

    def _interrupt(self, signum: int, frame: FrameType | None) -> None:
        if not self.stepping and not _undivided and os.getpid() == self._process:
            raise Stop(self.asked, whole=self.world_size == 1)
