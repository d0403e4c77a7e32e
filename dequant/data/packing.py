"""Pack a folder of photos with a manifest into WebDataset shards, licence and attribution beside each photo.

The folder holds `manifest.csv` with the columns of `COLUMNS`. A photo's key is `scene/<file name>` or, for sources of
objects, `object/<file name>`, so that training can weight the two. The digest of the original photo (column `blob`)
decides the split: a detail crop goes to the split of its original.
"""

import csv
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from dequant.data.segment_maps import segment_photo
from dequant.data.sources import SPLITS, splits_by_digest
from dequant.errors import InputError
from dequant.io.files import whole_folder, write_csv
from dequant.io.images import decode

COLUMNS = (
    "file",
    "group",
    "licence",
    "attribution",
    "source_repo",
    "source_path",
    "blob",
    "crop",
    "bytes",
    "sha256",
)


OUTPUT_COLUMNS = ("key", "split", "licence", "attribution", "source", "group", "crop", "parent", "sha256")


MAX_SHARD_BYTES = 1e9


Row = Mapping[str, str]


def read_manifest(photos: Path, groups: Collection[str] = ()) -> list[Row]:
    """Rows of `photos/manifest.csv` whose group is, or begins with, one of `groups` and "_"; all if none.

    Raises:
        InputError: no manifest, missing columns, or no row left.
    """
    path = photos / "manifest.csv"
    if not path.is_file():
        raise InputError(f"There is no '{path}': the folder of photos needs a manifest.csv.")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise InputError(f"'{path}' lacks the columns {', '.join(missing)}: add them.")
        rows: list[Row] = list(reader)
    for number, row in enumerate(rows, start=2):
        if not row["file"] or not row["blob"] or not (row["bytes"] or "").isdigit():
            raise InputError(f"'{path}', line {number}: give file, blob (digest of the original) and bytes (a number).")
    if groups:
        rows = [row for row in rows if any(f"{row['group']}_".startswith(f"{name}_") for name in groups)]
    if not rows:
        raise InputError(f"No row of '{path}' is in the groups asked for: {', '.join(groups) or 'any'}.")
    return rows


def select(
    rows: Sequence[Row],
    objects: Collection[str] = (),
    *,
    max_bytes: int | None = None,
    max_objects: int | None = None,
    max_eval_objects: int | None = None,
    whole_eval: bool = False,
    leave_out: Collection[str] = (),
) -> list[dict[str, str]]:
    """Choose rows and give each its key, split and source, the columns of `OUTPUT_COLUMNS` beside its own.

    Whole scenes come first, then whole objects (those of val and test first), then detail crops, each in the
    order of their digests, as far as `max_bytes` goes.

    Args:
        rows: manifest rows.
        objects: names of the sources (folders of the photos) that show objects; the others show scenes.
        max_bytes: size of the shards and manifest together; None sets no limit.
        max_objects: so many objects at most; None takes all.
        max_eval_objects: so many objects at most in each of val and test; None sets no limit.
        whole_eval: leave detail crops out of val and test.
        leave_out: keys of photos to leave out, together with their detail crops.

    Raises:
        InputError: two photos with the same key.
    """
    chosen: list[dict[str, str]] = []
    used, counts = sum(_tar_bytes(0) * 20 for _ in SPLITS), dict.fromkeys(SPLITS, 0)
    for row in sorted(_named(rows, objects), key=_priority):
        split, is_object = row["split"], row["key"].startswith("object/")
        if any(f"{row['key']}_".startswith(f"{key}_") for key in leave_out):
            continue
        if whole_eval and split != "train" and row["crop"] != "whole":
            continue
        if is_object and max_objects is not None and sum(counts.values()) >= max_objects:
            continue
        limit = None if split == "train" else max_eval_objects
        if is_object and limit is not None and counts[split] >= limit:
            continue
        size = _sample_bytes(row)
        if max_bytes is not None and used + size > max_bytes:
            continue
        used += size
        counts[split] += is_object
        chosen.append(row)
    return chosen


def pack(
    photos: Path, rows: Iterable[Row], out: Path, max_shard_bytes: float = MAX_SHARD_BYTES, segment: bool = False
) -> None:
    """Write photos as shards per split, and their `manifest.csv`.

    Image bytes are stored unchanged. The folder appears complete or not at all.

    Args:
        photos: the folder of the manifest.
        rows: from `select`.
        out: the folder, new or empty.
        max_shard_bytes: a shard is closed when it exceeds this.
        segment: add the maps of `dequant.data.segment_maps` to the photos of split train.

    Raises:
        InputError: `out` is in use, or a photo is missing or differs from its sha256.
    """
    import webdataset  # slow to import

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"'{out}' exists and is not an empty folder: remove it or choose another.")
    rows = sorted(rows, key=lambda row: row["key"])
    with whole_folder(out) as work:
        for split in SPLITS:
            members = [row for row in rows if row["split"] == split]
            if not members:
                continue
            pattern = str(work).replace("%", "%%") + f"/{split}-%06d.tar"
            owner = {"user": "dequant", "group": "dequant", "mtime": 0}
            with webdataset.ShardWriter(pattern, maxsize=max_shard_bytes, verbose=0, **owner) as writer:
                for row in track(members, f"packing {split}", console=Console(stderr=True), transient=True):
                    sample = _sample(photos, row)
                    writer.write(sample | _maps(photos, row) if segment and split == "train" else sample)
        write_csv(work / "manifest.csv", OUTPUT_COLUMNS, ({name: row[name] for name in OUTPUT_COLUMNS} for row in rows))


def _named(rows: Sequence[Row], objects: Collection[str]) -> list[dict[str, str]]:
    """Rows with their key, split, source and parent."""
    named: dict[str, dict[str, str]] = {}
    for row, split in zip(rows, splits_by_digest([row["blob"] for row in rows]), strict=True):
        path = Path(row["file"])
        category = "object" if path.parent.name in objects else "scene"
        source = f"{row['source_repo']}/{row['source_path']}"
        key = f"{category}/{path.stem.replace('.', '_')}"
        if key in named:
            raise InputError(f"Two photos have the key '{key}': file names must be unique.")
        named[key] = dict(row) | {"key": key, "split": split, "source": source, "parent": row["blob"]}
    return list(named.values())


def _priority(row: Row) -> tuple[bool, bool, bool, str, str]:
    is_object = row["key"].startswith("object/")
    return row["crop"] != "whole", is_object, is_object and row["split"] == "train", row["blob"], row["key"]


def _sample(photos: Path, row: Row) -> dict[str, object]:
    path = photos / row["file"]
    if not path.is_file():
        raise InputError(f"There is no photo '{path}', although the manifest lists it.")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        raise InputError(f"'{path}' differs from the sha256 in the manifest: restore the original file.")
    return {"__key__": row["key"], path.suffix.lower().lstrip("."): data, "json": _record(row)}


def _maps(photos: Path, row: Row) -> dict[str, bytes]:
    path = photos / row["file"]
    return {f"{name}.png": data for name, data in segment_photo(decode(path.read_bytes(), str(path))).items()}


def _record(row: Row) -> dict[str, str]:
    return {name: row[name] for name in OUTPUT_COLUMNS[2:]}


def _tar_bytes(size: int) -> int:
    """Bytes of one member of a tar file: a header and whole blocks of 512."""
    return 512 + -(-size // 512) * 512


def _sample_bytes(row: Row) -> int:
    """Upper estimate of what a sample takes: image, licence record and line of the manifest."""
    record = 20 * len(OUTPUT_COLUMNS) + sum(len(row[name].encode()) for name in OUTPUT_COLUMNS)
    return _tar_bytes(int(row["bytes"])) + _tar_bytes(record) + record
