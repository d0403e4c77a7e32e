import os
from pathlib import Path

import pytest

from dequant.errors import InputError
from dequant.io.files import read_csv, whole_file, whole_folder, whole_path, write_csv


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.npz"
    with whole_path(path) as partial:
        partial.write_bytes(b"1")
        assert not path.exists()
        assert partial.parent == path.parent and partial.suffix == ".npz"
    assert path.read_bytes() == b"1"
    assert names(tmp_path) == ["new", "new/a.npz"]


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with whole_file(path) as one, whole_file(path) as two:
        one.write("one")
        two.write("two")
    assert path.read_text() == "one"
    assert names(tmp_path) == ["a.txt"]


def test_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyError), whole_file(path) as file:
        file.write("new")
        raise KeyError
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_content_reaches_the_disk_before_the_name_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"), whole_file(tmp_path / "a.txt") as file:
        file.write("new")
    with pytest.raises(OSError, match="disk full"), whole_folder(tmp_path / "b") as folder:
        (folder / "c.txt").write_text("new")
    assert names(tmp_path) == []


def test_folder_is_replaced_or_kept(tmp_path: Path) -> None:
    folder = tmp_path / "base"
    (tmp_path / ".base.partial").mkdir()  # left by a killed process
    for content in ("old", "new"):
        with whole_folder(folder) as partial:
            (partial / f"{content}.txt").write_text(content)
    with pytest.raises(KeyError), whole_folder(folder) as partial:
        raise KeyError
    assert names(tmp_path) == ["base", "base/new.txt"]


def test_table_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "results" / "a.csv"
    assert read_csv(path, ("a", "b")) == []
    write_csv(path, ("a", "b"), [{"a": 1, "b": "x, y"}])
    assert path.read_text() == 'a,b\n1,"x, y"\n'
    assert read_csv(path, ("a", "b")) == [{"a": "1", "b": "x, y"}]
    with pytest.raises(InputError, match="is not a CSV file with the columns a, c"):
        read_csv(path, ("a", "c"))
