"""Pack a folder of photos with a manifest into WebDataset shards, licence and attribution beside each photo.

The folder holds `manifest.csv` with the columns of `COLUMNS`. A photo's key is `scene/<file name>` or, for sources of
objects, `object/<file name>`, so that training can weight the two; a name that occurs in two folders is preceded by its
folder. The digest of the original photo (column `blob`) decides the split: a detail crop goes to the split of its
original.
"""

import codecs
import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor

from dequant.data.checks import shown
from dequant.data.segment_maps import segment_photo
from dequant.data.splits import SPLITS, splits_by_digest
from dequant.errors import InputError
from dequant.io.files import whole_folder, write_csv
from dequant.io.formats import SUFFIXES
from dequant.io.images import decode, to_tensor

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


MAX_MANIFEST_MB = 100
"""Some 300,000 photos; in memory a manifest takes about ten times as much."""


Row = Mapping[str, str]


def read_manifest(photos: Path, groups: Collection[str] = (), max_mb: float = MAX_MANIFEST_MB) -> list[Row]:
    """Rows of `photos/manifest.csv` whose group is, or begins with, one of `groups` and "_"; all if none.

    Read as spreadsheets write it: UTF-8, UTF-16 with a byte order mark or Windows-1252; separated by commas,
    semicolons or tabs; columns in any order and case.

    Raises:
        InputError: no manifest, one that is not read or larger than `max_mb` (10^6 bytes), missing columns, a wrong
            line, or no row left.
    """
    path = photos / "manifest.csv"
    if not path.is_file():
        raise InputError(f"There is no {shown(path)}: the folder of photos needs a manifest.csv.")
    if path.stat().st_size > max_mb * 1e6:
        raise InputError(f"{shown(path)} has more than {max_mb:g} MB: split it over several folders of photos.")
    rows: list[Row] = list(_rows(path))
    if groups:
        rows = [row for row in rows if any(f"{row['group']}_".startswith(f"{name}_") for name in groups)]
    if not rows:
        raise InputError(f"No row of {shown(path)} is in the groups asked for: {', '.join(groups) or 'any'}.")
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
    photos: Path,
    rows: Iterable[Row],
    out: Path,
    max_shard_bytes: float = MAX_SHARD_BYTES,
    segment: bool = False,
    caption: Callable[[Tensor], str] | None = None,
) -> None:
    """Write photos as shards per split, and their `manifest.csv`.

    Image bytes are stored unchanged. The folder appears complete or not at all.

    Args:
        photos: the folder of the manifest.
        rows: from `select`.
        out: the folder, new or empty.
        max_shard_bytes: a shard is closed when it exceeds this.
        segment: add the maps of `dequant.data.segment_maps` to the photos of split train.
        caption: describes rgb (3, H, W) in [0, 1]; what it says is stored beside each photo.

    Raises:
        InputError: `out` is in use, or a photo is missing or differs from its sha256.
    """
    import webdataset  # slow to import

    check_new(out)
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
                    if segment and split == "train":
                        sample |= _maps(photos, row)
                    if caption is not None:
                        sample["txt"] = caption(to_tensor(_photo(photos, row)))
                    writer.write(sample)
        write_csv(work / "manifest.csv", OUTPUT_COLUMNS, ({name: row[name] for name in OUTPUT_COLUMNS} for row in rows))


def check_new(out: Path) -> None:
    """Check that shards can go to a folder.

    Raises:
        InputError: it is in use.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{shown(out)} exists and is not an empty folder: remove it or choose another.")


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """Checked rows of a manifest, the columns of `COLUMNS` each."""
    text = re.sub(r'\A"?sep=."?[,;\t]*\r?\n', "", _text(path), flags=re.IGNORECASE)  # Excel's
    first, *_ = text.lstrip().splitlines() or [""]
    reader = csv.reader(io.StringIO(text.lstrip(), newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    try:
        columns = [name.strip().lower() for name in next(reader, [])]
        missing = [name for name in COLUMNS if columns.count(name) != 1]
        if missing:
            raise InputError(
                f"{shown(path)} lacks the columns {', '.join(missing)}: expected each once in its first line."
            )
        for values in reader:
            if any(value.strip() for value in values):
                where = f"{shown(path)}, line {reader.line_num}"
                if len(values) < len(columns) or any(values[len(columns) :]):
                    raise InputError(
                        f"{where}: expected {len(columns)} values as in its first line, got {len(values)}."
                    )
                row = {name: value.strip() for name, value in zip(columns, values, strict=False) if name in COLUMNS}
                _check_row(row, where)
                yield row
    except csv.Error as error:
        raise InputError(
            f"{shown(path)}, line {reader.line_num} is no line of a CSV file ({error}): mend it."
        ) from None


def _text(path: Path) -> str:
    """A text file as a spreadsheet may have written it."""
    data = path.read_bytes()
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if utf16 else ("utf-8-sig", "cp1252"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise InputError(f"{shown(path)} is no text that can be read: save it as CSV in UTF-8.")


def _check_row(row: Row, where: str) -> None:
    """Raise an InputError unless a row can be packed."""
    file, number = PurePosixPath(row["file"]), row["bytes"]
    if (
        not row["file"]
        or not re.fullmatch(r"[0-9a-fA-F]{12,}", row["blob"])
        or not re.fullmatch(r"[0-9]{1,15}", number)
    ):
        raise InputError(
            f"{where}: give file, blob (digest of the original, at least 12 hexadecimal digits) and bytes (a number)."
        )
    if file.is_absolute() or ".." in file.parts:
        raise InputError(f"{where}: {shown(row['file'])} is outside the folder of photos: give a path in it.")
    if file.suffix.lower() not in SUFFIXES:
        raise InputError(f"{where}: {shown(row['file'])} must end in one of {', '.join(sorted(SUFFIXES))}.")


def _named(rows: Sequence[Row], objects: Collection[str]) -> list[dict[str, str]]:
    """Rows with their key, split, source and parent."""
    stems = Counter(_stem(PurePosixPath(row["file"])) for row in rows)
    named: dict[str, dict[str, str]] = {}
    for row, split in zip(rows, splits_by_digest([row["blob"].lower() for row in rows]), strict=True):
        path = PurePosixPath(row["file"])
        category = "object" if path.parent.name in objects else "scene"
        source = f"{row['source_repo']}/{row['source_path']}"
        folder = f"{path.parent.as_posix()}/" if stems[_stem(path)] > 1 and path.parent.name else ""
        key = f"{category}/{folder}{_stem(path)}"
        if key in named:
            raise InputError(
                f"Two photos have the key {shown(key)}, {shown(named[key]['file'])} and {shown(row['file'])}: "
                f"list each once, with a name of its own."
            )
        named[key] = dict(row) | {"key": key, "split": split, "source": source, "parent": row["blob"]}
    return list(named.values())


def _stem(path: PurePosixPath) -> str:
    return path.stem.replace(".", "_")


def _priority(row: Row) -> tuple[bool, bool, bool, str, str]:
    is_object = row["key"].startswith("object/")
    return row["crop"] != "whole", is_object, is_object and row["split"] == "train", row["blob"], row["key"]


def _sample(photos: Path, row: Row) -> dict[str, object]:
    path = photos / row["file"]
    if not path.is_file():
        raise InputError(f"There is no photo {shown(path)}, although the manifest lists it.")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != row["sha256"].lower():
        raise InputError(f"{shown(path)} differs from the sha256 in the manifest: restore the original file.")
    return {"__key__": row["key"], path.suffix.lower().lstrip("."): data, "json": _record(row)}


def _maps(photos: Path, row: Row) -> dict[str, bytes]:
    return {f"{name}.png": data for name, data in segment_photo(_photo(photos, row)).items()}


def _photo(photos: Path, row: Row) -> Image.Image:
    path = photos / row["file"]
    return decode(path.read_bytes(), str(path))


def _record(row: Row) -> dict[str, str]:
    return {name: row[name] for name in OUTPUT_COLUMNS[2:]}


def _tar_bytes(size: int) -> int:
    """Bytes of one member of a tar file: a header and whole blocks of 512."""
    return 512 + -(-size // 512) * 512


def _sample_bytes(row: Row) -> int:
    """Upper estimate of what a sample takes: image, licence record and line of the manifest."""
    record = 20 * len(OUTPUT_COLUMNS) + sum(len(row[name].encode()) for name in OUTPUT_COLUMNS)
    return _tar_bytes(int(row["bytes"])) + _tar_bytes(record) + record
