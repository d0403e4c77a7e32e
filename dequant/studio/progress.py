"""What work in a thread says of itself while it runs, and how it is told to stop."""

import base64
import io
import time
from collections.abc import Callable
from threading import Event
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from dequant.studio.stopping import Stopped, TooLong

SIDE = 512
"""Longer side of the pictures that are shown of a step, at most."""

QUALITY = 80
"""Of them, as JPEG."""

Tell = Callable[[str, dict[str, Any]], None]
"""Name and content of an event."""


class Progress:
    """Of one piece of work. The work calls `check` or `step` wherever it can stop.

    Args:
        seconds: that it may take.
        tell: takes the events, in the thread of the work; None where nobody listens.
    """

    def __init__(self, seconds: float, tell: Tell | None = None) -> None:
        self._seconds, self._tell, self._stopping = seconds, tell, Event()
        self._began: float | None = None

    def stop(self) -> None:
        """Have the work stop at its next step; from any thread."""
        self._stopping.set()

    def begin(self) -> None:
        """The work begins now."""
        self._began = time.monotonic()

    def check(self) -> None:
        """Go on, unless it is to stop.

        Raises:
            Stopped: nobody waits for the work any more.
            TooLong: its time is over.
        """
        if self._stopping.is_set():
            raise Stopped
        if self._began is not None and time.monotonic() - self._began > self._seconds:
            raise TooLong

    def step(self, step: int, of: int, rgb: Tensor) -> None:
        """See a step of a network, as `painting.Watch`.

        Raises:
            Stopped: as `check`, as the next.
            TooLong: its time is over.
        """
        self.check()
        if self._tell is not None:
            about = {"step": step, "of": of, "seconds_left": self.left(step, of)}
            self._tell("step", about | {"picture": base64.b64encode(as_jpeg(rgb)).decode()})

    def losses(self, stage: str, done: tuple[int, int], values: dict[str, float], left: float) -> None:
        """See a step of a tuning.

        Args:
            stage: of it.
            done: steps that are done, and of all.
            values: its losses.
            left: seconds.

        Raises:
            Stopped: as `check`, as the next.
            TooLong: its time is over.
        """
        self.check()
        if self._tell is not None:
            about = {"stage": stage, "step": done[0], "of": done[1], "losses": values}
            self._tell("losses", about | {"seconds_left": round(left, 1)})

    def left(self, step: int, of: int) -> float:
        """Seconds that are left after a step, if all take as long."""
        took = 0.0 if self._began is None else time.monotonic() - self._began
        return round(took / max(step, 1) * (of - step), 1)


def as_jpeg(rgb: Tensor) -> bytes:
    """A picture (3, h, w) in [0, 1] as JPEG, at most `SIDE` on a side."""
    levels = (rgb.clamp(0, 1) * 255).round().byte().movedim(0, -1).contiguous().cpu().numpy()
    image, file = Image.fromarray(np.ascontiguousarray(levels)), io.BytesIO()
    image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
