"""Which files the inputs of a command name."""

import io
import os
from collections import Counter
from pathlib import Path

import pytest

from dequant.cli.sources import RESULTS, Found, find, without_results
from dequant.errors import InputError


class Pipe:
    """Standard input that is no terminal."""

    def __init__(self, content: bytes, terminal: bool = False) -> None:
        self.buffer, self._terminal = io.BytesIO(content), terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with photos."""
    names = ["a.jpg", "B.PNG", "c.gif", "sub/d.webp", "sub/ü ö.jpg", "e.txt", "f.nef", ".hidden.jpg", ".git/g.jpg"]
    for name in [*names, "dir.jpg/h.tif", "-i.jpg"]:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


ALL = ["-i.jpg", "B.PNG", "a.jpg", "c.gif", "dir.jpg/h.tif", "sub/d.webp", "sub/ü ö.jpg"]


def names(found: Found) -> list[str]:
    return [source.path.as_posix().removeprefix("photos/") for source in found.sources]


def test_folders_are_read_recursively() -> None:
    found = find(["photos"])
    assert names(found) == ALL
    assert [source.tree.as_posix() for source in found.sources] == [".", ".", ".", ".", "dir.jpg", "sub", "sub"]
    assert found.left_out == Counter(TXT=1, NEF=1) and found.folder == Path("photos") and not found.single


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("photos/*.jpg", ["-i.jpg", "a.jpg", "dir.jpg/h.tif"]),
        ("photos/**/*.jpg", ["-i.jpg", "a.jpg", "dir.jpg/h.tif", "sub/ü ö.jpg"]),
        ("photos/**", ALL),
        ("photos/?.*", ["B.PNG", "a.jpg", "c.gif"]),
        ("photos/[ab].*", ["a.jpg"]),
        ("*/sub", ["sub/d.webp", "sub/ü ö.jpg"]),
        ("photos/*.txt", ["e.txt"]),
        ("photos/.hid*", [".hidden.jpg"]),
    ],
)
def test_patterns(pattern: str, expected: list[str]) -> None:
    assert names(find([pattern])) == expected


def test_pattern_keeps_the_tree_below_its_fixed_part(tree: Path) -> None:
    found = find([str(tree / "**" / "*.webp")])
    assert found.sources[0].tree == Path("sub") and found.folder == tree


def test_names_that_look_like_patterns_and_options(tree: Path) -> None:
    for name in ("[x].jpg", "star*.jpg", "@at.jpg", "{dir}.jpg", "new\nline.jpg", " .jpg"):
        (tree / name).write_text("")
        found = find([f"photos/{name}"])
        assert names(found) == [name] and found.single
    os.chdir(tree)
    assert names(find(["-i.jpg"])) == names(find(["./-i.jpg"])) == ["-i.jpg"]
    assert names(find(["./@at.jpg"])) == ["@at.jpg"]


def test_bytes_that_are_no_text(tree: Path) -> None:
    name = os.fsdecode(b"\xff\xfe.jpg")
    (tree / name).write_text("")
    assert name in names(find(["photos"]))
    (tree.parent / "list.txt").write_bytes(b"photos/\xff\xfe.jpg\n")
    assert names(find(["@list.txt"])) == [name]


def test_named_files_need_no_suffix() -> None:
    found = find(["photos/e.txt"])
    assert names(found) == ["e.txt"] and found.single


def test_no_file_comes_twice(tree: Path) -> None:
    (tree / "link.jpg").symlink_to("a.jpg")
    (tree / "loop").symlink_to(".")
    os.link(tree / "B.PNG", tree / "hard.png")
    found = find(["photos", "photos/a.jpg", str(tree / "a.jpg"), "photos/../photos", "photos/*.jpg"])
    assert names(found) == sorted([*ALL, "hard.png"])
    assert found.sources[2].named


def test_loops_of_links_end(tree: Path) -> None:
    for name in ("one", "two"):
        (tree / "sub" / name).symlink_to("..")
    (tree / "x.jpg").symlink_to("y.jpg")
    (tree / "y.jpg").symlink_to("x.jpg")
    assert names(find(["photos/**/*.webp"])) == ["sub/d.webp"]
    assert names(find(["photos"])) == [*ALL, "x.jpg", "y.jpg"]  # they fail when they are read


@pytest.mark.parametrize("beginning", [b"", b"\xef\xbb\xbf"])
def test_lists(tree: Path, beginning: bytes) -> None:
    lines = ["a.jpg", "", "  ", "# c.gif", "sub/ü ö.jpg\r", "dir.jpg", str(tree / "B.PNG"), "a.jpg"]
    (tree / "list.txt").write_bytes(beginning + "\n".join(lines).encode())
    found = find(["@photos/list.txt"])
    trees = {source.path.name: source.tree.as_posix() for source in found.sources}
    assert trees == {"B.PNG": ".", "a.jpg": ".", "h.tif": ".", "ü ö.jpg": "sub"}
    assert not found.single


def test_list_of_one_is_no_single_file(tree: Path) -> None:
    (tree / "list.txt").write_text("a.jpg")
    assert not find(["@photos/list.txt"]).single


def test_list_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Pipe(b"photos/a.jpg\n"))
    assert names(find(["@-"])) == ["a.jpg"]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Pipe(b"content"))
    found = find(["-"])
    assert found.single and found.sources[0].data == b"content"
    with pytest.raises(InputError, match="name no other input"):
        find(["-", "photos"])
    monkeypatch.setattr("sys.stdin", Pipe(b"", terminal=True))
    with pytest.raises(InputError, match="pipe an image"):
        find(["-"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nowhere.jpg", "'nowhere.jpg' does not exist"),
        ("", "'' does not exist"),
        ("photos/a.jpg/", "does not exist"),
        ("photos/*.bmp", "matches no file"),
        ("photos/a**b", "is not a pattern"),
        ("nowhere/*", "matches no file"),
        ("empty", "There is no image in 'empty'"),
        ("texts", r"There is no image in 'texts' \(but 1 TXT\)"),
        ("broken.jpg", "is a link to nothing"),
        ("pipe.jpg", "is not an ordinary file"),
        ("@nowhere.txt", "The list 'nowhere.txt' cannot be read"),
        ("@photos", "cannot be read"),
        ("@comments.txt", "There is no image in '@comments.txt'"),
        ("@wrong.txt", r"'nowhere.jpg' does not exist \(line 2 of 'wrong.txt'\)"),
        ("@utf16.txt", "not a text in UTF-8"),
    ],
)
def test_what_names_nothing(text: str, sentence: str, tree: Path) -> None:
    for folder in ("empty", "texts"):
        (tree.parent / folder).mkdir()
    (tree.parent / "texts" / "a.txt").write_text("")
    (tree.parent / "broken.jpg").symlink_to("nothing")
    os.mkfifo(tree.parent / "pipe.jpg")
    (tree.parent / "comments.txt").write_text("# only\n")
    (tree.parent / "wrong.txt").write_text("photos/a.jpg\nnowhere.jpg\n")
    (tree.parent / "utf16.txt").write_text("photos/a.jpg", encoding="utf-16")
    with pytest.raises(InputError, match=sentence):
        find(["photos/a.jpg", text])


def test_results_are_no_sources(tree: Path) -> None:
    found = find(["photos"])
    kept = without_results(found, tree / "sub", {str(tree / "a.jpg"), str(tree / "e.txt")})
    assert names(kept) == ["-i.jpg", "B.PNG", "c.gif", "dir.jpg/h.tif"]
    assert kept.left_out[RESULTS] == 3
    assert names(without_results(find(["photos/a.jpg"]), tree, {str(tree / "a.jpg")})) == ["a.jpg"]


@pytest.mark.parametrize("root", ["photos", "."])
def test_a_folder_of_results_that_holds_the_sources(root: str, tree: Path) -> None:
    assert names(without_results(find(["photos"]), tree.parent / root, set())) == ALL


def test_only_results_are_nothing(tree: Path) -> None:
    with pytest.raises(InputError, match=r"There is no image in 'photos/sub' \(but 2 results of earlier runs\)"):
        without_results(find(["photos/sub"]), None, {str(tree / "sub" / name) for name in ("d.webp", "ü ö.jpg")})
