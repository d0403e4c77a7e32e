"""How far a run is, on a terminal and elsewhere."""

import io
import re
import sys

import pytest

from dequant.cli import progress
from dequant.cli.progress import Progress


class Terminal(io.StringIO):
    """Standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_lines_say_rate_and_time_left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seconds = iter(range(0, 10_000, 5))
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))
    with Progress(1000) as shown:
        for _ in range(4):
            shown.advance(worked=False)
        for _ in range(6):
            shown.advance(worked=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "2 of 1000 files"
    assert re.fullmatch(r"\d+ of 1000 files, 1\d\.\d seconds each, \d:\d\d:\d\d left", lines[-1])


def test_short_runs_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(3) as shown:
        for _ in range(3):
            shown.advance(worked=True)
    assert capsys.readouterr().err == ""


def test_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with Progress(3) as shown:
        for _ in range(3):
            shown.advance(worked=True)
        shown.say("[red] a.jpg\x1b: \udcff failed")
    text = terminal.getvalue()
    assert "3/3" in text and "a second" in text and "left" in text
    assert r"[red] a.jpg\x1b: " in text


def test_lines_hide_secrets_and_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    progress.say("a\nb https://me:secret@host \x1b[31m")
    (line,) = capsys.readouterr().err.splitlines()
    assert "secret" not in line and "\x1b" not in line
