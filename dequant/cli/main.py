"""The command `dequant`, also `python -m dequant.cli`. The version is shown at once, without the other commands."""

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import dequant

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, that of the process or these arguments, and exit with one sentence where it fails.

    A command over many files returns its exit status.
    """
    if arguments is None and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given == ["--version"]:
        print(f"dequant {dequant.__version__}")
        return
    try:
        status = _run(given)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    if status:
        sys.exit(status)


def _run(arguments: list[str]) -> int | None:
    """The exit status of a command."""
    import typer

    from dequant.cli.app import app

    try:
        status: int | None = app(arguments, prog_name="dequant", standalone_mode=False)
    except typer.TyperException as error:
        print(f"error: {error.format_message().rstrip('.')}. Add --help to see what is expected.", file=sys.stderr)
        return 2
    except typer.Abort:
        raise KeyboardInterrupt from None
    return status


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """Ctrl-C: the end at once while something is imported, which may catch an exception, or break by it."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, b"interrupted\n")
            os._exit(INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt
