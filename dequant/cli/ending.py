"""How the commands end that are no batch: with one sentence and the statuses of a batch."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dequant.cli.batch import ENDS, SOME_FAILED, USAGE
from dequant.errors import InputError, sentence

INTERRUPTED = 130


class Failed(Exception):  # noqa: N818
    """A file that was given rightly could not be worked on."""


@contextmanager
def told() -> Iterator[None]:
    """Turn errors of the user and of the file system into `error: ...` on stderr, and end with an exit status.

    It is 2 after wrong usage, 1 where a file failed or could not be written, and 130 after Ctrl-C. Anything else is a
    defect of the program and keeps its traceback.
    """
    try:
        yield
    except KeyboardInterrupt:
        print(ENDS[INTERRUPTED], file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if (said := sentence(error)) is None:
            raise
        print(f"error: {said}", file=sys.stderr)
        sys.exit(USAGE if isinstance(error, InputError) else SOME_FAILED)


@contextmanager
def working() -> Iterator[None]:
    """Bad input is not wrong usage from here on: it lies in a file."""
    try:
        yield
    except InputError as error:
        raise Failed(str(error)) from error


def check_file(path: Path) -> None:
    """Check that a file is there.

    Raises:
        InputError: it is not.
    """
    if not path.is_file():
        raise InputError(f"There is no file '{path}': give the path of an existing one.")


def check_new(paths: list[Path], overwrite: bool) -> None:
    """Refuse to replace files unless that was asked for.

    Raises:
        InputError: one exists.
    """
    existing = [path for path in paths if path.exists() or path.is_symlink()]
    if existing and not overwrite:
        raise InputError(f"'{existing[0]}' exists: give another path, or --overwrite.")
