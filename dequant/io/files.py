"""Files that appear under their name whole or not at all, and tables of rows as CSV."""

import csv
import io
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import TextIO

from safetensors import SafetensorError

from dequant.errors import InputError

Row = dict[str, str]


def read_csv(path: Path, columns: Sequence[str]) -> list[Row]:
    """Rows of a CSV file, none where it does not exist.

    Raises:
        InputError: the file is something else.
    """
    if not path.exists():
        return []
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline=""))
        rows, header = list(reader), reader.fieldnames
    except (OSError, UnicodeDecodeError, csv.Error):
        rows, header = [], None
    if header is None or tuple(header) != tuple(columns):
        raise InputError(f"'{path}' is not a CSV file with the columns {', '.join(columns)}: give another path.")
    return rows


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV file whole or not at all, making its folder."""
    with whole_file(path) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@contextmanager
def whole_path(path: Path) -> Iterator[Path]:
    """A file that appears under its name when it is complete, or never.

    Yields:
        where to write it: beside `path`, with the same suffix. Folders are made, and what was there is replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{token_hex(4)}.partial{path.suffix}")
    try:
        yield partial
        _sync(partial)
        os.replace(partial, path)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # such as a full disk
            error.filename = str(path)
        raise
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

    Yields:
        an empty folder to write in, beside `folder`, which it replaces.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        for path in partial.rglob("*"):
            if path.is_file():
                _sync(path)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(partial, folder)
    except SafetensorError as error:
        raise OSError(f"The weights cannot be written to {folder}: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sync(path: Path) -> None:
    """Wait until a file is on the disk, so that its new name never outlives its content."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())
