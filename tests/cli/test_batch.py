"""A run over many files, in this process."""

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from dequant.cli import batch, jobs
from dequant.cli.batch import run
from dequant.cli.jobs import sha256
from dequant.cli.options import BatchOptions
from tests.support.operations import Copy

Say = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with files that `Copy` copies."""
    for name in ("a.jpg", "b.jpg", "sub/c.jpg"):
        write(tmp_path / "photos" / name, name)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def go(*inputs: str, text: str = "", count: int = 1, **options: Any) -> int:
    settings: dict[str, Any] = {"jobs": 0, "recipe": False}
    return run(Copy(count, text=text), inputs or ["photos"], BatchOptions(**(settings | options)))


def files(folder: str = "out") -> dict[str, str]:
    """Everything below a folder but manifests, and its content."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file() and path.suffix != ".jsonl")
    return {path.relative_to(folder).as_posix(): sha256(path) for path in paths}


def records(path: str = "out/dequant.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def said(capsys: Say) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_tree_is_kept_and_recorded(capsys: Say) -> None:
    assert go(out="out") == 0
    assert list(files()) == ["a.txt", "b.txt", "sub/c.txt"]
    assert said(capsys)[-1] == "3 files: 3 written."
    first, *_ = records()
    assert first["input"] == "photos/a.jpg" and first["error"] is None and first["warnings"] == []
    assert first["input_sha256"] == sha256(Path("photos/a.jpg"))
    assert first["outputs"] == [{"path": "a.txt", "sha256": files()["a.txt"]}]
    assert [path.name for path in Path("out").iterdir() if path.name.startswith(".")] == []


def test_single_file_has_no_manifest_and_says_where(capsys: Say) -> None:
    assert go("photos/a.jpg") == 0
    assert capsys.readouterr().err.splitlines()[-1] == "photos/a.jpg -> photos/a.copy.txt"
    assert not list(Path("photos").glob("*.jsonl"))
    assert go("photos/b.jpg", out="new.txt", manifest=Path("m.jsonl")) == 0
    assert len(records("m.jsonl")) == 1


def test_seed_depends_on_content_alone(photos: Path) -> None:
    write(photos / "other" / "name.jpg", "a.jpg")
    assert go(out="out") == go("photos/a.jpg", out="alone.txt") == 0
    assert Path("out/a.txt").read_text() == Path("out/other/name.txt").read_text() == Path("alone.txt").read_text()
    assert len({record["seed"] for record in records()}) == 3
    assert go(out="out2", seed=1) == 0
    assert Path("out2/a.txt").read_text() != Path("out/a.txt").read_text()


def test_one_bad_file_stops_nothing(photos: Path, capsys: Say) -> None:
    write(photos / "0.jpg", "bad")
    write(photos / "defect.jpg", "defect")
    write(photos / "nothing.jpg", "nothing")
    (photos / "x.jpg").symlink_to("x.jpg")
    os.mkfifo(photos / "pipe.jpg")
    assert go(out="out") == 1
    assert list(files()) == ["a.txt", "b.txt", "sub/c.txt"]
    lines = said(capsys)
    assert lines[-6] == "8 files: 3 written, 5 failed."
    assert lines[-5:] == [
        "failed: photos/0.jpg: 'out/0.txt' cannot be written: it is bad.",
        "failed: photos/defect.jpg: ZeroDivisionError: of the operation",
        "failed: photos/nothing.jpg: RuntimeError: The operation has written nothing",
        "failed: 'photos/pipe.jpg' is not an ordinary file: leave it out.",
        "failed: Too many levels of symbolic links: photos/x.jpg.",
    ]
    assert {record["input"] for record in records() if record["error"]} == {
        f"photos/{name}.jpg" for name in ("0", "defect", "nothing", "pipe", "x")
    }


def test_debug_shows_where_a_defect_is(photos: Path, capsys: Say) -> None:
    write(photos / "a.jpg", "defect")
    write(photos / "b.jpg", "bad")
    assert go(out="out", debug=True) == 1
    text = capsys.readouterr().err
    assert text.count("Traceback") == 1 and "in __call__" in text


def test_failures_leave_no_folders(photos: Path) -> None:
    write(photos / "sub" / "c.jpg", "bad")
    assert go(out="out/far") == 1
    assert not Path("out/far/sub").exists()


def test_stops_after_some_failures(photos: Path, capsys: Say) -> None:
    for name in ("0.jpg", "1.jpg"):
        write(photos / name, "bad")
    assert go(out="out", max_failures=2) == 1
    assert "5 files: 2 failed, 3 not tried." in said(capsys)
    assert files() == {}


def test_warnings_are_said_and_recorded(photos: Path, capsys: Say) -> None:
    write(photos / "a.jpg", "warn")
    assert go(out="out") == 0
    assert "photos/a.jpg: was warned" in said(capsys)
    assert records()[0]["warnings"] == ["was warned"]


@pytest.mark.parametrize(
    ("inputs", "options", "sentence"),
    [
        (["nowhere.jpg"], {}, "'nowhere.jpg' does not exist"),
        (["photos"], {"shard": "0/2"}, "Expected a part such as --shard 3/16"),
        (["photos"], {"out": "new/{stem}.txt", "overwrite": True}, "would have the same result 'new/a.txt'"),
        (["photos"], {"out": "-"}, "Standard output (-o -) takes one image"),
        (["photos/a.jpg"], {"out": "new.png"}, "must end in .txt"),
        (["photos"], {"manifest": Path("photos")}, "cannot be read (Is a directory)"),
        (["photos"], {"manifest": Path("photos/a.jpg"), "resume": True}, "is not a manifest of dequant"),
        (["photos/a.jpg"], {"out": "-", "json": True}, "cannot take the image and --json"),
    ],
)
def test_wrong_usage_does_nothing(
    inputs: list[str], options: dict[str, Any], sentence: str, photos: Path, capsys: Say
) -> None:
    write(photos / "sub" / "a.jpg", "")
    before = files(".")
    assert go(*inputs, **options) == 2
    (line,) = said(capsys)
    assert line.startswith("error: ") and sentence in line
    assert files(".") == before


def test_nothing_is_overwritten_unless_asked(capsys: Say) -> None:
    mine = write(Path("out/b.txt"), "mine")
    assert go(out="out") == 2
    assert "'out/b.txt' exists: add --resume" in capsys.readouterr().err
    assert go(out="out", resume=True) == 1
    assert (
        "'out/b.txt' exists, and is not known to be what this command makes: add --overwrite" in capsys.readouterr().err
    )
    assert mine.read_text() == "mine" and list(files()) == ["a.txt", "b.txt", "sub/c.txt"]
    assert go(out="out", overwrite=True) == 0
    assert mine.read_text() != "mine"


def test_file_that_appears_meanwhile_stays(monkeypatch: pytest.MonkeyPatch, capsys: Say) -> None:
    def publish(outcome: jobs.Outcome, stdout: bool) -> None:
        write(outcome.staged[0][1], "mine")
        jobs.publish(outcome, stdout)

    monkeypatch.setattr(batch, "publish", publish)
    assert go("photos/a.jpg", out="new.txt") == 1
    assert "'new.txt' has appeared in the meantime" in capsys.readouterr().err
    assert Path("new.txt").read_text() == "mine"


def test_what_is_replaced_keeps_its_mode_and_its_link() -> None:
    real = write(Path("far/real.txt"), "old")
    real.chmod(0o640)
    write(Path("out/b.txt"), "old").chmod(0o600)
    Path("out/a.txt").symlink_to("../far/real.txt")
    assert go(out="out", overwrite=True) == 0
    assert Path("out/a.txt").is_symlink() and real.read_text().startswith("a.jpg")
    assert [oct(path.stat().st_mode)[-3:] for path in (real, Path("out/b.txt"))] == ["640", "600"]


def test_source_is_never_its_own_output(photos: Path, capsys: Say) -> None:
    write(photos / "a.txt", "source")
    assert go("photos/a.txt", out="photos/a.txt", overwrite=True) == 2
    assert "would replace the source" in capsys.readouterr().err


def test_resume_skips_what_is_done(photos: Path, capsys: Say) -> None:
    write(photos / "b.jpg", "bad")
    assert go(out="out", resume=True) == 1
    write(photos / "b.jpg", "good now")
    before = {name: Path("out", name).stat().st_mtime_ns for name in files()}
    assert go(out="out", resume=True) == 0
    assert said(capsys)[-1] == "3 files: 1 written, 2 skipped."
    assert all(Path("out", name).stat().st_mtime_ns == time for name, time in before.items())


@pytest.mark.parametrize("change", ["input", "recipe", "seed", "output", "missing"])
def test_resume_repeats_what_has_changed(change: str, photos: Path, capsys: Say) -> None:
    assert go(out="out") == 0
    if change == "input":
        write(photos / "a.jpg", "changed")
    if change == "output":
        write(Path("out/a.txt"), "changed")
    if change == "missing":
        Path("out/a.txt").unlink()
    again: dict[str, Any] = {"recipe": {"text": "new"}, "seed": {"seed": 1}}.get(change, {})
    refused = 0 if change == "missing" else 1
    assert go(out="out", resume=True, **again) == refused
    assert go(out="out", resume=True, overwrite=True, **again) == 0
    assert files() == (go(out="fresh", **again), files("fresh"))[1]


def test_results_that_are_partly_there_are_completed() -> None:
    assert go(out="out", count=2) == 0
    whole = files()
    assert list(whole)[:2] == ["a.2.txt", "a.txt"]
    Path("out/a.2.txt").unlink()
    assert go(out="out", count=2, resume=True) == 0
    assert files() == whole


def test_fewer_results_than_asked_for_are_enough(photos: Path, capsys: Say) -> None:
    write(photos / "a.jpg", "one")
    assert go("photos/a.jpg", out="out/", count=3, resume=True) == go(out="out", count=3, resume=True) == 0
    assert [name for name in files() if name.startswith("a")] == ["a.txt"]
    assert said(capsys)[-1] == "3 files: 2 written, 1 skipped."


def test_results_of_earlier_runs_are_no_sources(capsys: Say) -> None:
    assert go() == 0
    assert go(resume=True) == 0
    assert said(capsys)[-1] == "3 files: 3 skipped."
    assert go(out="photos/out") == go(out="photos/out", resume=True) == 0
    assert said(capsys)[-1] == "3 files: 3 skipped."
    write(Path("photos/dequant.jsonl.jpg"), "no manifest")
    assert go("photos/sub", out="new") == 0
    assert list(files("new")) == ["c.txt"]


def test_recipes_lie_beside_results() -> None:
    assert go("photos/a.jpg", count=2, recipe=True) == 0
    names = ["a.copy.2.txt", "a.copy.2.txt.yaml", "a.copy.txt", "a.copy.txt.yaml"]
    assert [name for name in files("photos") if "copy" in name] == names
    assert Path("photos/a.copy.txt.yaml").read_text().startswith("seed: ")


def test_recipes_that_are_wanted_later(capsys: Say) -> None:
    assert go(out="out") == 0
    assert go(out="out", recipe=True, resume=True) == 1
    assert go(out="out", recipe=True, resume=True, overwrite=True) == 0
    assert len(files()) == 6


def test_dry_run_writes_nothing(capsys: Say) -> None:
    before = files(".")
    assert go(out="out", dry_run=True, count=2) == 0
    assert capsys.readouterr().out.splitlines()[0] == "photos/a.jpg -> out/a.txt, out/a.2.txt"
    assert files(".") == before and not Path("out").exists()
    assert go("photos/a.jpg", out="out/") == go("photos/a.jpg", out="out/", resume=True) - 1 == 0
    assert go(out="out", dry_run=True, resume=True) == 1


def test_dry_run_says_what_is_done(capsys: Say) -> None:
    assert go("photos/sub", out="out") == go(out="out", dry_run=True, resume=True) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "photos/a.jpg -> out/a.txt",
        "photos/b.jpg -> out/b.txt",
        "photos/sub/c.jpg -> out/sub/c.txt",
    ]
    assert go(out="out", resume=True) == go(out="out", dry_run=True, resume=True) == 0
    assert capsys.readouterr().out.splitlines()[0] == "photos/a.jpg -> out/a.txt (done already)"


def test_json_is_a_line_for_each_file(photos: Path, capsys: Say) -> None:
    write(photos / "b.jpg", "bad")
    assert go("photos", out="out", json=True) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["input"], line["status"]) for line in lines] == [
        ("photos/a.jpg", "written"),
        ("photos/b.jpg", "failed"),
        ("photos/sub/c.jpg", "written"),
    ]
    assert lines[0]["report"] == {"bytes": 5} and lines[1]["outputs"] == [] and "bad" in lines[1]["error"]
    assert lines[0]["outputs"] == [{"path": "out/a.txt", "sha256": files()["a.txt"]}]
    assert go(out="new", json=True, dry_run=True) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["status"] for line in lines] == ["planned"] * 3
    assert lines[0]["outputs"] == [{"path": "new/a.txt", "sha256": None}]


def test_shards_are_disjoint_and_complete() -> None:
    for i in range(8):
        write(Path(f"photos/{i}.jpg"), f"{i}")
    assert go(out="whole") == 0
    parts = list[set[str]]()
    for part in (3, 1, 4, 2):
        before = set(files())
        assert go(out="out", shard=f"{part}/4") == 0
        parts.append(set(files()) - before)
    assert files() == files("whole") and sorted(map(len, parts)) == [2, 3, 3, 3]
    assert go(out="out", resume=True) == go("photos/0.jpg", out="single.txt", shard="2/2") == 0
    assert not Path("single.txt").exists()


def test_read_only_folder_is_refused_ahead(capsys: Say) -> None:
    Path("out").mkdir(mode=0o555)
    assert go(out="out") == 2
    assert "is read-only): give another --manifest" in capsys.readouterr().err
    assert go(out="out", manifest=Path("m.jsonl")) == 1
    assert capsys.readouterr().err.count("/out' is read-only)") == 3 and files() == {}


def test_standard_input_and_output(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    class Pipe:
        def __init__(self) -> None:
            self.buffer = io.BytesIO(b"content")

        def isatty(self) -> bool:
            return False

    for count, status, output in ((2, 2, b""), (1, 0, b"content ")):
        monkeypatch.setattr("sys.stdin", Pipe())
        assert go("-", count=count) == status
        assert capfdbinary.readouterr().out.startswith(output)
    assert go("photos/a.jpg", out="-", resume=True) == 0
    assert capfdbinary.readouterr().out.startswith(b"a.jpg ")
    monkeypatch.setattr("sys.stdin", Pipe())
    assert go("-", out="new/") == 0
    assert list(files(".")) == ["new/stdin.txt", *(f"photos/{name}" for name in files("photos"))]
