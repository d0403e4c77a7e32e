import csv
import hashlib
import json
import os
import tarfile
from pathlib import Path

import pytest
import webdataset

from dequant.data.packing import COLUMNS, OUTPUT_COLUMNS, pack, read_manifest, select
from dequant.data.sources import Shards, bundled
from dequant.errors import InputError
from tests.support.manifests import photo_row


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """30 scenes with two detail crops each, and 20 groceries; the last 5 of these in another group."""
    folder = tmp_path / "photos"
    rows: list[dict[str, str]] = []
    for number in range(30):
        rows.append(photo_row(folder, f"hills/hill_{number}.jpg", number, f"hill {number}"))
        for detail in (1, 2):
            name = f"hills/hill_{number}_c{detail}.jpg"
            rows.append(photo_row(folder, name, 100 * detail + number, f"hill {number}", "detail crop"))
    for number in range(20):
        group = "A_free" if number < 15 else "B_named"
        rows.append(photo_row(folder, f"grocery/milk_{number}.jpg", 300 + number, f"milk {number}", group=group))
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_parents_and_their_detail_crops_share_a_split(photos: Path) -> None:
    rows = select(read_manifest(photos), ["grocery"])
    assert len(rows) == 110 and {row["split"] for row in rows} == {"train", "val", "test"}
    assert len({(row["parent"], row["split"]) for row in rows}) == len({row["parent"] for row in rows}) == 50


def test_keys_name_the_category(photos: Path) -> None:
    keys = {row["key"] for row in select(read_manifest(photos), ["grocery"])}
    assert {"scene/hill_3", "scene/hill_3_c1", "object/milk_7"} <= keys
    assert all(row["key"].startswith("scene/") for row in select(read_manifest(photos)))


def test_groups_are_chosen_by_name_or_beginning(photos: Path) -> None:
    assert len(read_manifest(photos, ["A"])) == len(read_manifest(photos, ["A_free"])) == 105
    assert len(read_manifest(photos, ["A", "B_named"])) == 110
    with pytest.raises(InputError, match="is in the groups asked for: C"):
        read_manifest(photos, ["C"])


def test_selection_limits(photos: Path) -> None:
    rows = read_manifest(photos)
    some = select(rows, ["grocery"], max_objects=6, max_eval_objects=1, whole_eval=True, leave_out=["scene/hill_1"])
    objects = [row for row in some if row["key"].startswith("object/")]
    assert len(objects) == 6
    assert all(sum(row["split"] == split for row in objects) <= 1 for split in ("val", "test"))
    assert {row["crop"] for row in some if row["split"] != "train"} == {"whole"}
    names = {row["key"] for row in some}
    assert "scene/hill_10" in names and not names & {"scene/hill_1", "scene/hill_1_c1", "scene/hill_1_c2"}
    assert sum(key.startswith("scene/") and "_c" not in key for key in names) == 29


def test_size_limit_holds_and_whole_scenes_come_first(photos: Path, tmp_path: Path) -> None:
    limit = 150_000
    rows = select(read_manifest(photos), ["grocery"], max_bytes=limit, max_objects=5)
    pack(photos, rows, tmp_path / "out")
    total = sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert 0.7 * limit < total <= limit
    assert sum(row["key"].startswith("scene/") and row["crop"] == "whole" for row in rows) == 30


def test_packed_photos_come_back_unchanged_with_their_licences(photos: Path, tmp_path: Path) -> None:
    rows = select(read_manifest(photos), ["grocery"])
    pack(photos, rows, tmp_path / "out", max_shard_bytes=60_000)
    source, seen = Shards(tmp_path / "out"), dict[str, dict[str, str]]()
    assert len(list((tmp_path / "out").glob("train-*.tar"))) > 1
    for row in rows:
        assert source.read(f"{row['key']}.jpg") == (photos / row["file"]).read_bytes()
        assert f"{row['key']}.jpg" in source.keys(row["split"])
    for tar in (tmp_path / "out").glob("*.tar"):
        dataset = webdataset.WebDataset(str(tar), shardshuffle=False, empty_check=False)
        seen |= {sample["__key__"]: json.loads(sample["json"]) for sample in dataset}
    assert set(seen) == {row["key"] for row in rows}
    for line in manifest(tmp_path / "out"):
        assert tuple(line) == OUTPUT_COLUMNS
        assert seen[line["key"]] == {name: line[name] for name in OUTPUT_COLUMNS[2:]}
        assert line["licence"] == "CC0" and line["attribution"].startswith("Ann, Ö.")


def test_packing_twice_gives_the_same_bytes(photos: Path, tmp_path: Path) -> None:
    rows = select(read_manifest(photos))
    for name in ("one", "two"):
        pack(photos, rows, tmp_path / name)
    one, two = ([path.read_bytes() for path in sorted((tmp_path / name).iterdir())] for name in ("one", "two"))
    assert one == two


def test_a_failure_leaves_nothing_behind(photos: Path, tmp_path: Path) -> None:
    rows = select(read_manifest(photos))
    (photos / "hills" / "hill_7.jpg").write_bytes(b"changed")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(InputError, match="hill_7.jpg' differs from the sha256 in the manifest"):
        pack(photos, rows, tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == before
    (photos / "hills" / "hill_7.jpg").unlink()
    with pytest.raises(InputError, match="There is no photo '.*hill_7.jpg', although the manifest lists it"):
        pack(photos, rows, tmp_path / "out")
    with pytest.raises(InputError, match="exists and is not an empty folder"):
        pack(photos, rows, photos)


def test_manifest_errors(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no '.*manifest.csv'"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.csv").write_text("file,group,blob\n")
    with pytest.raises(InputError, match="lacks the columns licence, attribution"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.csv").write_text(f"{','.join(COLUMNS)}\na.jpg,A,CC0,Ann,r,p,abc,whole,,00\n")
    with pytest.raises(InputError, match=r"line 2: give file, blob"):
        read_manifest(tmp_path)
    rows = read_manifest(photos)
    with pytest.raises(InputError, match="Two photos have the key 'scene/hills/hill_0', 'hills/hill_0.jpg' and"):
        select([*rows, rows[0]])


def test_bundled_shards_are_small_free_and_complete() -> None:
    folder = Path(bundled())
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 10_000_000
    rows = {row["key"]: row for row in manifest(folder)}
    source = Shards(folder)
    assert {Path(key).with_suffix("").as_posix() for key in source.keys("all")} == set(rows)
    for key in source.keys("all"):
        row = rows[key.removesuffix(".jpg")]
        assert key in source.keys(row["split"])
        assert hashlib.sha256(source.read(key)).hexdigest() == row["sha256"]
        assert row["licence"].startswith(("CC0", "Public domain", "MIT")) and row["source"]
        assert row["attribution"] or key.startswith("object/")
    for path in folder.glob("*.tar"):
        with tarfile.open(path) as tar:
            names = tar.getnames()
        assert {name for name in names if name.endswith(".json")} == {
            name.replace(".jpg", ".json") for name in names if name.endswith(".jpg")
        }
    splits = {row["parent"]: row["split"] for row in rows.values()}
    assert all(splits[row["parent"]] == row["split"] for row in rows.values())
    licences = (folder / "LICENSES.md").read_text()
    assert all(row["source"].split("/")[1] in licences for row in rows.values())
