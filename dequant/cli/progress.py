"""How far a run is, on standard error: a bar on a terminal, lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from dequant.masking import escape, mask

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

EVERY = 10.0
"""Seconds between two lines."""


def say(text: str) -> None:
    """Print one line on standard error."""
    print(escape(mask(text)), file=sys.stderr, flush=True)


class Progress:
    """Counts the files of a run, and shows how many there are a second and how long the others will take."""

    def __init__(self, total: int, what: str = "files") -> None:
        self.total, self.what, self._done, self._worked = total, what, 0, 0
        self._shown = self._first = time.monotonic()
        self._bar = _bar(total, what) if total > 1 and sys.stderr.isatty() else None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """Print one line without disturbing the bar."""
        if self._bar is None:
            say(text)
        else:
            self._bar.console.print(escape(mask(text)), markup=False, highlight=False, soft_wrap=True)

    def advance(self, worked: bool) -> None:
        """Count one file.

        Args:
            worked: whether it took work; files that are skipped say nothing about the time that is left.
        """
        self._done, self._worked = self._done + 1, self._worked + worked
        if worked and self._worked == 1:
            self._first = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self._done, pace=self._pace())
        elif time.monotonic() - self._shown >= EVERY:
            self._shown = time.monotonic()
            say(f"{self._done} of {self.total} {self.what}{self._pace()}")

    def _pace(self) -> str:
        """As in ", 2.5 a second, 0:01:20 left"; empty after a single file, which loaded what all need."""
        seconds = time.monotonic() - self._first
        if self._worked < 2 or not seconds:
            return ""
        rate = (self._worked - 1) / seconds
        left = round((self.total - self._done) / rate)
        often = f"{rate:.1f} a second" if rate >= 1 else f"{1 / rate:.1f} seconds each"
        return f", {often}, {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"


def _bar(total: int, what: str) -> "Bar":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(what + "{task.fields[pace]}"))
    bar = Bar(*columns, console=Console(stderr=True), redirect_stdout=False, transient=True)
    bar.add_task("", total=total, pace="")
    return bar
