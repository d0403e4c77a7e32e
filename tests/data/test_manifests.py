"""Manifests as spreadsheets and people write them."""

import csv
import hashlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dequant.data.packing import COLUMNS, Row, pack, read_manifest, select
from dequant.data.sources import Shards
from dequant.errors import InputError
from tests.support.paths import CASES
from tests.support.shards import photo


def rows_of(*files: str) -> list[dict[str, str]]:
    return [
        dict.fromkeys(COLUMNS, "x")
        | {"file": file, "blob": hashlib.sha1(file.encode()).hexdigest(), "bytes": "7", "attribution": 'Ann, Ö "O\'N"'}
        for file in files
    ]


def written(rows: list[dict[str, str]], **dialect: str) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, rows[0], **dialect)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def read(folder: Path, data: bytes) -> list[Row]:
    (folder / "manifest.csv").write_bytes(data)
    return read_manifest(folder)


ROWS = rows_of("a.jpg", "hills/b.png")
TEXT = written(ROWS)


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        b"\xfe\xff" + TEXT.encode("utf-16-be"),
        TEXT.encode("cp1252"),
        written(ROWS, delimiter=";").encode("cp1252"),
        written(ROWS, delimiter="\t").encode("utf-16"),
        b"sep=;\r\n" + written(ROWS, delimiter=";").encode(),
        TEXT.replace("\r\n", "\n").encode(),
        TEXT.replace("\r\n", "\r").encode(),
        TEXT.replace("\r\n", "\r\n\r\n,,,,\r\n").encode(),
        b"\r\n" + TEXT.encode(),
        TEXT.replace("file,group", "File, GROUP").encode(),
        TEXT.replace("\r\n", ",,\r\n").encode(),
        written([{"more": "y"} | row for row in reversed(ROWS)][::-1]).encode(),
        written(ROWS, quoting=csv.QUOTE_ALL).encode(),  # type: ignore[arg-type]
    ],
    ids=range(16),
)
def test_every_way_to_write_a_manifest_reads_alike(tmp_path: Path, data: bytes) -> None:
    assert read(tmp_path, data) == ROWS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("a.jpg", "a"), "line 2: 'a' must end in one of"),
        (lambda text: text.replace("a.jpg", "a.img"), "line 2: 'a.img' must end in one of"),
        (lambda text: text.replace("a.jpg", "../a.jpg"), "line 2: '../a.jpg' is outside the folder"),
        (lambda text: text.replace("a.jpg", "/a.jpg"), "line 2: '/a.jpg' is outside the folder"),
        (lambda text: text.replace("a.jpg", '"a\x1b[2J\n.txt"'), r"line 3: 'a\\x1b\[2J\\n.txt' must end in"),
        (lambda text: text.replace('"Ann', "Ann"), r"line 2: expected 10 values as in its first line, got 11"),
        (lambda text: text.replace(",7,x", ""), "line 2: expected 10 values as in its first line, got 8"),
        (lambda text: text.replace(",7,", ",²,"), "line 2: give file, blob"),
        (lambda text: text.replace(",7,", f",{'9' * 5000},"), "line 2: give file, blob"),
        (lambda text: text.replace(ROWS[0]["blob"], "no digest at all"), "line 2: give file, blob"),
        (lambda text: text.replace("x\r\n", '"x\r\n'), "is no line of a CSV file"),
        (lambda text: text.replace("a.jpg", "a" * 200_000 + ".jpg"), "is no line of a CSV file"),
        (lambda text: text.replace("group", "file"), "lacks the columns file, group: expected each once"),
        (lambda text: "", "lacks the columns file, group"),
        (lambda text: text.replace("a.jpg", "a\0.jpg"), "is no text that can be read: save it as CSV in UTF-8"),
        (lambda text: text.split("\r\n")[0], "No row of '.*manifest.csv' is in the groups asked for: any"),
    ],
)
def test_what_is_wrong_is_named_by_its_line(tmp_path: Path, change: Callable[[str], str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, change(TEXT).encode())


def test_other_files_are_refused(tmp_path: Path) -> None:
    for data in (photo(1), b"\xff\xfe\0", TEXT.encode("utf-16-le"), b"PK\3\4" + bytes(range(256)) * 9):
        with pytest.raises(InputError, match="is no text that can be read|lacks the columns"):
            read(tmp_path, data)
    (tmp_path / "manifest.csv").write_text(TEXT * 9)
    with pytest.raises(InputError, match="has more than 0.001 MB: split it over several folders"):
        read_manifest(tmp_path, max_mb=0.001)


def test_equal_names_in_two_folders_keep_their_folders() -> None:
    rows = rows_of("a/1.jpg", "b/1.jpg", "./b/2.jpg", "1.jpg")
    assert sorted(row["key"] for row in select(rows, ["b"])) == ["object/2", "object/b/1", "scene/1", "scene/a/1"]
    with pytest.raises(InputError, match="Two photos have the key 'scene/1', '1.jpg' and '1.png': list each once"):
        select(rows_of("1.jpg", "1.png"))


@pytest.mark.parametrize("case", ["manifest_bom", "manifest_jfif"])
def test_what_people_bring_is_packed_and_read(tmp_path: Path, case: str) -> None:
    rows = select(read_manifest(CASES / case))
    pack(CASES / case, rows, tmp_path / "out")
    source = Shards(tmp_path / "out")
    assert len(source.keys("all")) == 8 and source.keys("train")


def test_equal_names_come_back_from_the_shards(tmp_path: Path) -> None:
    rows = rows_of("a/1.png", "b/1.png")
    for number, row in enumerate(rows):
        path = tmp_path / "photos" / row["file"]
        path.parent.mkdir(parents=True)
        path.write_bytes(photo(number))
        row["sha256"] = hashlib.sha256(photo(number)).hexdigest().upper()
    pack(tmp_path / "photos", select(rows), tmp_path / "out")
    source = Shards(tmp_path / "out")
    assert {key: source.read(key) for key in source.keys("all")} == {
        "scene/a/1.png": photo(0),
        "scene/b/1.png": photo(1),
    }


def test_mutated_manifests_end_in_rows_or_one_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texts = [TEXT.encode(), TEXT.encode("utf-16"), written(ROWS, delimiter=";").encode("utf-8-sig")]
    for number in range(300):
        survives(tmp_path, texts[number % 3], rng)


def survives(folder: Path, data: bytes, rng: np.random.Generator) -> None:
    new = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        place, kind = int(rng.integers(len(new))), int(rng.integers(4))
        if kind == 0:
            new[place] = int(rng.integers(256))
        elif kind == 1:
            del new[place : place + int(rng.integers(1, 40))]
        else:
            new[place:place] = rng.choice([b'"', b",", b"\r\n", b"\0", b"\xff\xfe", b";", b"..", b"9" * 30])
        new = new or bytearray(b"x")
    try:
        rows = select(read(folder, bytes(new)))
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert all(set(COLUMNS) <= set(row) for row in rows)
        shutil.rmtree(folder / "out", ignore_errors=True)
        with pytest.raises(InputError, match="There is no photo|differs from the sha256"):
            pack(folder, rows, folder / "out")
