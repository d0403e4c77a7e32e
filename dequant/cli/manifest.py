"""The manifest of a run: a JSON line for each file, by which an interrupted run is resumed."""

import contextlib
import errno
import glob
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from dequant.errors import InputError
from dequant.io.files import named_if_full

NAME = "dequant.jsonl"

BEGINNING = b'{"input": '
"""Of each line."""


class Output(NamedTuple):
    """One file that was made.

    Attributes:
        path: absolute; in the manifest relative to its folder where it lies below.
        sha256: of its content, None where there was nothing to write, as for the third of two possible results.
    """

    path: str
    sha256: str | None


@dataclass(frozen=True)
class Record:
    """What happened to one file.

    Attributes:
        input: its path, as it was named.
        input_sha256: of its content, empty where it could not be read.
        recipe_sha256: of what was done.
        seed: of its random numbers.
        outputs: what was made of it, in the order of the plan; none where it failed.
        seconds: that it took.
        warnings: sentences for the user.
        error: why it failed, or None.
    """

    input: str
    recipe_sha256: str
    input_sha256: str = ""
    seed: int = 0
    outputs: tuple[Output, ...] = ()
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    error: str | None = None


class History(NamedTuple):
    """What the manifests of earlier runs say.

    Attributes:
        made: the records of files that did not fail, by the absolute path of their first output.
        outputs: absolute paths of everything that was made.
        damaged: how many lines could not be read. Their files are made again.
    """

    made: dict[str, list[Record]]
    outputs: set[str]
    damaged: int


def read(own: Iterable[Path], others: Iterable[Path] = ()) -> History:
    """Read manifests.

    Args:
        own: of the run, as far as they exist. Damaged lines are counted.
        others: files that may be manifests, of runs whose results are to be known.

    Raises:
        InputError: one of its own is no manifest.
    """
    made, outputs, damaged = dict[str, list[Record]](), set[str](), 0
    pages = [_lines(path) for path in own]
    for path in others:
        with contextlib.suppress(InputError):
            pages.append((_lines(path)[0], 0))
    for records, lost in pages:
        damaged += lost
        for record in records:
            if record.error is None and record.outputs:
                made.setdefault(record.outputs[0].path, []).append(record)
                outputs.update(output.path for output in record.outputs)
    return History(made, outputs, damaged)


def append(path: Path, record: Record) -> None:
    """Add a line in one write, and wait until it is on the disk. A line that was cut off before it is ended first."""
    folder = os.path.abspath(path.parent)
    outputs = [Output(_relative(output.path, folder), output.sha256)._asdict() for output in record.outputs]
    fields = asdict(record) | {"outputs": outputs}
    fields = {name: fields[name] for name in ("input", *sorted(fields.keys() - {"input"}))}
    line = json.dumps(fields | {"check": _check(fields)}).encode() + b"\n"
    with named_if_full(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+", buffering=0) as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else b"\n" + line
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, "A line could not be written whole")
            os.fsync(file.fileno())


def sharded(path: Path, number: int, count: int) -> Path:
    """The manifest of one shard: each has its own, as processes on several machines cannot append to one file."""
    return path.with_name(f"{path.stem}.{number}-of-{count}{path.suffix}")


def with_shards(path: Path) -> list[Path]:
    """A manifest and those of its shards, as far as they exist."""
    pattern = f"{glob.escape(path.stem)}.*-of-*{glob.escape(path.suffix)}"
    shards = sorted(path.parent.glob(pattern)) if path.parent.is_dir() else []
    return [one for one in (path, *shards) if os.path.lexists(one)]


def above(folder: Path) -> list[Path]:
    """The manifests in a folder and in those that hold it."""
    absolute = Path(os.path.abspath(folder))
    return [one for parent in (absolute, *absolute.parents) for one in with_shards(parent / NAME)]


def _lines(path: Path) -> tuple[list[Record], int]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"The manifest '{path}' cannot be read ({error.strerror}): give another --manifest.") from None
    folder = os.path.abspath(path.parent)
    lines = [line for line in content.split(b"\n") if line.strip()]
    records = [record for line in lines if (record := _record(line, folder))]
    if lines and not records and not any(line[:10] == BEGINNING[: len(line)] for line in lines):
        raise InputError(f"'{path}' is not a manifest of dequant: give another --manifest, or remove it.")
    return records, len(lines) - len(records)


def _record(line: bytes, folder: str) -> Record | None:
    """The record of a line, None where the line is damaged."""
    try:
        fields: dict[str, Any] = json.loads(line)
        if fields.pop("check") != _check(fields):
            return None
        outputs = tuple(Output(os.path.join(folder, one["path"]), one["sha256"]) for one in fields["outputs"])
        return Record(**fields | {"outputs": outputs, "warnings": tuple(fields["warnings"])})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _check(fields: dict[str, Any]) -> str:
    """Tells whether a line is as it was written."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def _relative(path: str, folder: str) -> str:
    below = path.startswith(folder.rstrip(os.sep) + os.sep)
    return Path(os.path.relpath(path, folder)).as_posix() if below else path
