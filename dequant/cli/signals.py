"""Ctrl-C and SIGTERM end a batch at once, but never in the middle of a step that must be whole."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

WATCHED = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):  # noqa: N818
    """A signal asks the program to stop. Handlers of ordinary exceptions let it through.

    Attributes:
        status: the exit status: 130 after Ctrl-C, 143 after SIGTERM.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.status = 128 + signum


class Stoppable:
    """While it is entered, the first signal raises `Stopped` in the main thread; later ones change nothing."""

    def __init__(self) -> None:
        self._whole = False
        self._received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {signum: signal.signal(signum, self._receive) for signum in WATCHED}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """A step at whose end, and not within which, a signal is obeyed."""
        self._whole = True
        try:
            yield
        finally:
            self._whole = False
        if self._received is not None:
            raise Stopped(self._received)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if self._received is None:
            self._received = signum
            if not self._whole:
                raise Stopped(signum)


@contextmanager
def blocked() -> Iterator[None]:
    """Keep signals from processes that are started here, which leave with their parent; they reach it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
