"""Reads the file that Weights & Biases keeps of an offline run: records of its protocol in LevelDB's log format."""

import json
import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

BLOCK = 32768
WHOLE, FIRST, LAST = 1, 2, 4


def records(path: Path) -> Iterator[Record]:
    """All records of a run-ID.wandb file, up to one that was cut off."""
    data, place, parts = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while place + 7 <= len(data):
        if BLOCK - place % BLOCK < 7:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        parts = (b"" if kind in (WHOLE, FIRST) else parts) + data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (WHOLE, LAST) and place <= len(data):
            yield Record.FromString(parts)


def _values(items: Iterable[Any]) -> dict[str, Any]:
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


class OfflineRun:
    """What is in a folder offline-run-DATE-ID: id, group and type, config, history and artifacts.

    What a history's key holds, such as the path of a table, is under `KEY.path`.
    """

    def __init__(self, folder: Path) -> None:
        (path,) = folder.glob("run-*.wandb")
        for _ in range(40):  # its process may still be writing the end
            if any(record.WhichOneof("record_type") == "exit" for record in records(path)):
                break
            time.sleep(0.25)
        self.folder = folder
        self.history: list[dict[str, Any]] = []
        self.config: dict[str, Any] = {}
        self.artifacts: list[Any] = []
        for record in records(path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                self.id, self.group, self.job_type = record.run.run_id, record.run.run_group, record.run.job_type
            elif kind == "config":
                self.config |= _values(record.config.update)
            elif kind == "history":
                self.history.append(_values(record.history.item))
            elif kind == "artifact":
                self.artifacts.append(record.artifact)
            elif kind == "request" and record.request.WhichOneof("request_type") == "log_artifact":
                self.artifacts.append(record.request.log_artifact.artifact)

    @property
    def keys(self) -> set[str]:
        """All that was logged."""
        return {key for row in self.history for key in row}

    def values(self, key: str) -> list[Any]:
        """All values of one key, in order."""
        return [row[key] for row in self.history if key in row]

    def path(self, key: str) -> Path:
        """The file of the last picture or table of this key, which shows no pictures that are in it."""
        return self.folder / "files" / self.values(f"{key}.path")[-1]

    def artifact(self, kind: str) -> dict[str, Path]:
        """The files of the last artifact of a type, by their path inside it; tables are of type run_table."""
        last = [artifact for artifact in self.artifacts if artifact.type == kind][-1]
        return {entry.path: Path(entry.local_path) for entry in last.manifest.contents}


def offline_runs(folder: Path) -> list[OfflineRun]:
    """The runs that were logged offline in a folder, oldest first."""
    return [
        OfflineRun(path) for path in sorted((folder / "wandb").glob("offline-run-*"), key=lambda p: p.stat().st_mtime)
    ]
