"""The measurements of an evaluation, one line of a CSV file each, which survive when a run is killed."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from dequant.errors import InputError
from dequant.io.files import Row, write_csv

Key = tuple[str, str, str]


KEY = ("variant", "settings", "case")
"""Columns that identify a measurement: what made the picture, with which settings, of which case."""


class Measurements:
    """All measurements in a folder, of any number of processes; new ones go to this process's files.

    There is one file per variant and rank, so that several processes can work in one folder. A truncated last line is
    dropped, and so is a file with other columns.

    Args:
        folder: created if it does not exist.
        columns: of the files, `KEY` among them.
        rank: of this process.

    Raises:
        InputError: the folder cannot be written.
    """

    def __init__(self, folder: str | Path, columns: Sequence[str], rank: int = 0) -> None:
        self.folder, self.columns, self.rank = Path(folder), tuple(columns), rank
        self._rows: dict[Key, Row] = {}
        self._sound: set[Path] = set()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self.folder, os.W_OK):
                raise PermissionError(None, "Permission denied")
        except OSError as error:
            raise InputError(
                f"'{folder}' cannot be written ({error.strerror}): choose another folder with run_dir=PATH."
            ) from None
        self.read()

    def __contains__(self, key: Key) -> bool:
        return key in self._rows

    def __getitem__(self, key: Key) -> Row:
        return self._rows[key]

    def read(self) -> None:
        """Read what is in the folder now."""
        for path in sorted(self.folder.glob("*.csv")):
            self._rows |= {_key(row): row for row in self._complete(path)}

    def add(self, rows: Sequence[Row]) -> None:
        """Append rows to their files at once; columns that a row lacks stay empty."""
        rows = [dict.fromkeys(self.columns, "") | row for row in rows]
        for variant in dict.fromkeys(row["variant"] for row in rows):
            path = self.folder / (f"{variant}.rank{self.rank}.csv" if self.rank else f"{variant}.csv")
            if path not in self._sound:
                write_csv(path, self.columns, self._complete(path))
                self._sound.add(path)
            with path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self.columns, lineterminator="\n")
                writer.writerows(row for row in rows if row["variant"] == variant)
        self._rows |= {_key(row): row for row in rows}

    def _complete(self, path: Path) -> list[Row]:
        """Rows of a file up to the last line end."""
        if not path.is_file():
            return []
        whole, end, _ = path.read_text(encoding="utf-8", errors="replace").rpartition("\n")
        reader = csv.DictReader(io.StringIO(whole + end, newline=""))
        if tuple(reader.fieldnames or ()) != self.columns:
            return []
        return [row for row in reader if None not in row and None not in row.values()]


def _key(row: Row) -> Key:
    variant, settings, case = (row[column] for column in KEY)
    return variant, settings, case
