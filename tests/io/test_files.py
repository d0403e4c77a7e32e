import errno
import os
import stat
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from dequant.errors import InputError
from dequant.io.files import check_writable, read_csv, whole_file, whole_folder, whole_path, write_csv


def dead_process() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


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
    for left in (".base.partial", f".base.0a1b2c3d.{dead_process()}.partial"):
        (tmp_path / left).mkdir()
    (tmp_path / f".base.0a1b2c3d.{os.getpid()}.partial").mkdir()  # of another thread
    for content in ("old", "new"):
        with whole_folder(folder) as partial:
            (partial / f"{content}.txt").write_text(content)
    with pytest.raises(KeyError), whole_folder(folder) as partial:
        raise KeyError
    assert names(tmp_path) == [f".base.0a1b2c3d.{os.getpid()}.partial", "base", "base/new.txt"]


def test_table_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "results" / "a.csv"
    assert read_csv(path, ("a", "b")) == []
    write_csv(path, ("a", "b"), [{"a": 1, "b": "x, y"}])
    assert path.read_text() == 'a,b\n1,"x, y"\n'
    assert read_csv(path, ("a", "b")) == [{"a": "1", "b": "x, y"}]
    with pytest.raises(InputError, match="is not a CSV file with the columns a, c"):
        read_csv(path, ("a", "c"))


def test_files_keep_their_mode_and_new_ones_have_the_usual(tmp_path: Path) -> None:
    """Private files stay private; what another library makes for its user alone is released for all."""
    for mode in (0o600, 0o640, 0o664):
        (tmp_path / "a.csv").write_text("a\n1\n")
        (tmp_path / "a.csv").chmod(mode)
        write_csv(tmp_path / "a.csv", ("a",), [{"a": 2}])
        assert stat.S_IMODE((tmp_path / "a.csv").stat().st_mode) == mode
    (tmp_path / "usual").touch()
    with whole_path(tmp_path / "b.safetensors") as partial:
        partial.touch(0o600)
    with whole_folder(tmp_path / "c") as folder:
        (folder / "weights").touch(0o600)
    for path in (tmp_path / "b.safetensors", tmp_path / "c" / "weights"):
        assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_link_still_points_to_the_new_content(tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to("a.csv")
    write_csv(tmp_path / "link.csv", ("a",), [{"a": 2}])
    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "a.csv").read_text() == "a\n2\n"


@pytest.mark.parametrize("path", ["folder", "/dev/full", "file/new.csv", "marked.csv", "closed/new.csv"])
def test_what_cannot_be_written_is_refused_ahead(tmp_path: Path, path: str) -> None:
    """Also for root, whom modes do not stop."""
    for name, mode in (("folder", 0o755), ("closed", 0o555)):
        (tmp_path / name).mkdir(mode)
    for name, mode in (("file", 0o644), ("marked.csv", 0o444)):
        (tmp_path / name).touch(mode)
    with pytest.raises(InputError, match=r"cannot be written \(.*\): give another path\."):
        check_writable(tmp_path / path)
    for fine in ("file", "folder/new/a.csv"):
        check_writable(tmp_path / fine)


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    sentence = "no space left for .*: free some, and give the same command again"
    with pytest.raises(InputError, match=sentence), whole_path(tmp_path / "a"), Path("/dev/full").open("w") as file:
        file.write("a")
    with pytest.raises(InputError, match=sentence), whole_folder(tmp_path / "b"), Path("/dev/full").open("w") as file:
        file.write("a")
    with pytest.raises(InputError, match=sentence), whole_path(tmp_path / "c"), Path("/dev/full").open("wb") as file:
        torch.save(torch.zeros(9999), file)  # ends with an error of its own
    for whole in (whole_path, whole_folder):
        with pytest.raises(InputError, match=sentence), whole(tmp_path / "d"):
            raise SafetensorError("I/O error: No space left on device (os error 28)")
    assert names(tmp_path) == []


def test_what_cannot_be_written_is_named_as_it_was_given(tmp_path: Path) -> None:
    """And not by the name that it has until it is complete."""
    for whole in (whole_path, whole_folder):
        with pytest.raises(OSError) as caught, whole(tmp_path / "a.b.png") as partial:
            raise OSError(errno.EROFS, "Read-only file system", str(partial))
        assert caught.value.filename == str(tmp_path / "a.b.png")
