"""The measurements of an evaluation, one line of a CSV file each, which survive when a run is killed.

Each line ends in a checksum of what stands before it. A line without the right one, such as one that was cut off or
damaged on the disk, does not count: what it measured is measured again.
"""

import csv
import hashlib
import io
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dequant.io.files import Row, check_writable, locked, named_if_full, whole_file

log = logging.getLogger(__name__)

Key = tuple[str, str, str]


KEY = ("variant", "settings", "case")
"""Columns that identify a measurement: what made the picture, with which settings, of which case."""


CHECKSUM = "checksum"
"""The last column of a file."""


class Measurements:
    """All measurements in a folder, of any number of processes; new ones go to this process's files.

    There is one file per variant and rank, and each is written under a lock, so that several processes can work in one
    folder. Damaged lines are dropped, and so is a file with other columns, such as one without checksums.

    Args:
        folder: created if it does not exist.
        columns: of the files, `KEY` among them.
        rank: of this process.
        has: whether what belongs to a measurement is there, such as its features; without, it is measured again.

    Raises:
        InputError: the folder cannot be written.
    """

    def __init__(
        self, folder: str | Path, columns: Sequence[str], rank: int = 0, has: Callable[[Key], bool] | None = None
    ) -> None:
        self.folder, self.columns, self.rank, self._has = Path(folder), tuple(columns), rank, has
        self._rows: dict[Key, Row] = {}
        self._header = _line([*self.columns, CHECKSUM])
        self._known: set[Path] = set()
        self._whole: set[Path] = set()
        check_writable(self.folder / "identity.csv", "choose another folder with run_dir=PATH")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.read()

    def __contains__(self, key: Key) -> bool:
        return key in self._rows

    def __getitem__(self, key: Key) -> Row:
        return self._rows[key]

    def read(self) -> None:
        """Read what is in the folder now."""
        for path in sorted(self.folder.glob("[!.]*.csv")):
            with locked(self.folder):
                rows, lost = self._sound(path)
            found = {_key(row): row for row in rows if self._has is None or self._has(_key(row))}
            lost += len(rows) - len(found)
            self._rows |= found
            if lost and path not in self._known:
                log.warning("damaged or outdated lines in %s, which are measured again: %d", path, lost)
            self._known.add(path)

    def add(self, rows: Sequence[Row]) -> None:
        """Append rows to their files at once; columns that a row lacks stay empty."""
        rows = [dict.fromkeys(self.columns, "") | {name: _plain(value) for name, value in row.items()} for row in rows]
        for variant in dict.fromkeys(row["variant"] for row in rows):
            path = self.folder / (f"{variant}.rank{self.rank}.csv" if self.rank else f"{variant}.csv")
            new = "".join(_signed(_line(row.values())) for row in rows if row["variant"] == variant)
            with locked(self.folder):
                if path not in self._whole or not path.is_file():
                    sound = [_signed(_line(row.values())) for row in self._sound(path)[0]]
                    with whole_file(path) as file:
                        file.writelines([f"{self._header}\n", *sound])
                    self._whole.add(path)
                with named_if_full(path), path.open("a", newline="", encoding="utf-8") as file:
                    file.write(new)
        self._rows |= {_key(row): row for row in rows}

    def _sound(self, path: Path) -> tuple[list[Row], int]:
        """The rows of a file with the right checksum, and the number of other lines."""
        if not path.is_file():
            return [], 0
        header, *lines = path.read_bytes().decode(errors="replace").splitlines(keepends=True) or [""]
        whole = [text for line in lines if _signed(text := line.rpartition(",")[0]) == line]
        if header != f"{self._header}\n":
            return [], len(lines)
        rows = [dict(zip(self.columns, values, strict=True)) for values in csv.reader(whole)]
        return rows, len(lines) - len(rows)


def _line(values: Iterable[str]) -> str:
    """Values as a line of a CSV file, without its end."""
    file = io.StringIO()
    csv.writer(file, lineterminator="").writerow(values)
    return file.getvalue()


def _signed(line: str) -> str:
    """A line with its checksum and its end."""
    return f"{line},{hashlib.sha256(line.encode()).hexdigest()[:12]}\n"


def _plain(value: str) -> str:
    """A value on one line, which UTF-8 can hold: the name of a photo may be anything."""
    return " ".join(value.splitlines()).encode("utf-8", "backslashreplace").decode()


def _key(row: Row) -> Key:
    variant, settings, case = (row[column] for column in KEY)
    return variant, settings, case
