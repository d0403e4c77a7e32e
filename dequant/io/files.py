"""Files that appear under their name whole or not at all, and tables of rows as CSV."""

import csv
import glob
import io
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import TextIO

from filelock import FileLock
from safetensors import SafetensorError

from dequant.errors import InputError, is_full

Row = dict[str, str]


def read_csv(path: Path, columns: Sequence[str]) -> list[Row]:
    """Rows of a CSV file, none where it does not exist.

    Raises:
        InputError: the file is something else.
    """
    if not path.exists():
        return []
    try:
        if not path.is_file():
            raise FileExistsError
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline=""))
        rows, header = list(reader), reader.fieldnames
    except (OSError, UnicodeDecodeError, csv.Error):
        rows, header = [], None
    whole = all(None not in row and None not in row.values() for row in rows)
    if header is None or tuple(header) != tuple(columns) or not whole:
        raise InputError(f"'{path}' is not a CSV file with the columns {', '.join(columns)}: give another path.")
    return rows


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV file whole or not at all, making its folder."""
    with whole_file(path) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def check_writable(path: Path, advice: str = "give another path") -> None:
    """Refuse a path where no file can be written or replaced. Call it ahead of the work.

    What is marked read-only counts, although root could write it all the same.

    Args:
        path: of the file, which need not exist, nor its folder.
        advice: the end of the sentence.

    Raises:
        InputError: there is something else than a file, or the file or its folder is read-only.
    """
    path = path.resolve()
    folder = next(parent for parent in path.parents if parent.exists())
    if path.exists() and not path.is_file():
        raise InputError(f"'{path}' cannot be written (it is not an ordinary file): {advice}.")
    if not folder.is_dir():
        raise InputError(f"'{path}' cannot be written ('{folder}' is not a folder): {advice}.")
    for place in (path, folder):
        if place.exists() and not (os.access(place, os.W_OK) and place.stat().st_mode & 0o222):
            raise InputError(f"'{path}' cannot be written ('{place}' is read-only): {advice}.")


def locked(path: Path) -> FileLock:
    """The lock of a file or folder, for all processes that read, change and write it: `.NAME.lock` beside it.

    The kernel releases it when a process dies.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f".{path.name}.lock"))


@contextmanager
def whole_path(path: Path) -> Iterator[Path]:
    """A file that appears under its name when it is complete, or never.

    What was there is replaced, and its mode kept; behind a symbolic link, that is the file it points to.

    Yields:
        where to write it: beside `path`, with the same suffix. Folders are made.
    """
    path = path.resolve() if path.is_symlink() else path
    partial = path.with_name(f".{path.stem}.{token_hex(4)}.partial{path.suffix}")
    with named_if_full(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            _sync(partial)
            partial.chmod(stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~_umask())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """`whole_path` of a text file, opened for writing."""
    with whole_path(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        yield file


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder that appears under its name when it is complete, or never.

    What processes that were killed left beside it is removed.

    Yields:
        an empty folder to write in, beside `folder`, which it replaces.
    """
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*partial"):
        if not _is_running(left.suffixes[-2:-1]):
            shutil.rmtree(left, ignore_errors=True)
    partial = folder.with_name(f".{folder.name}.{token_hex(4)}.{os.getpid()}.partial")
    with named_if_full(folder):
        partial.mkdir(parents=True)
        try:
            yield partial
            for path in partial.rglob("*"):
                if path.is_file():
                    _sync(path)
                    path.chmod(0o666 & ~_umask())  # safetensors makes files that only their owner can read
            if folder.exists():
                shutil.rmtree(folder)
            os.replace(partial, folder)
        except SafetensorError as error:
            raise OSError(f"The weights cannot be written to {folder}: {error}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def named_if_full(path: Path) -> Iterator[None]:
    """Say which path could not be written, in place of a hidden one beside it, and of a full disk what to do.

    Raises:
        InputError: the disk is full.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if is_full(error):
            raise InputError(
                f"There is no space left for '{path}': free some, and give the same command again."
            ) from error
        if isinstance(error, OSError) and str(error.filename).startswith(str(path.with_name(f".{path.stem}."))):
            error.filename = str(path)
        raise


def _is_running(suffix: Sequence[str]) -> bool:
    """Whether the process exists whose number is this suffix, such as [".123"]."""
    try:
        os.kill(int(suffix[0].removeprefix(".")), 0)
    except PermissionError:
        return True
    except (LookupError, ValueError, OverflowError, ProcessLookupError):
        return False
    return True


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _sync(path: Path) -> None:
    """Wait until a file is on the disk, so that its new name never outlives its content."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())
