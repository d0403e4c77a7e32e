"""Runs in several processes, and how they end: by signals, and by files that kill their process."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from dequant.cli.jobs import sha256
from tests.support.paths import GOLDEN, ROOT

COMMAND = [sys.executable, "-m", "tests.support.operations"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with twelve files that `copy` copies."""
    for i in range(12):
        path = tmp_path / "in" / f"{i % 3}" / f"ä {i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{i}")
    return tmp_path


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """The command in a process group of its own."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=pipe,
        stderr=pipe,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def go(folder: Path, *arguments: str) -> tuple[int, str, str]:
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def results(folder: Path) -> dict[str, str]:
    """Everything below a folder but the manifest, also what is hidden, and its hash."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".jsonl"]
    return {path.relative_to(folder).as_posix(): sha256(path) for path in paths}


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def wait_for(pattern: str, folder: Path) -> None:
    """Until there is such a file."""
    until = time.monotonic() + 60
    while not list(folder.glob(pattern)):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_processes_make_the_same_as_one(folder: Path) -> None:
    (folder / "in" / "x.jpg").write_text("bad")
    (folder / "in" / "0" / "ä 0.jpg").write_text("print")
    made = dict[str, dict[str, str]]()
    for jobs in ("0", "1", "2"):
        status, out, err = go(folder, "copy", "in", "-o", f"out{jobs}", "--jobs", jobs, "--json")
        assert status == 1 and "13 files: 12 written, 1 failed." in err
        assert {json.loads(line)["status"] for line in out.splitlines()} == {"written", "failed"}
        made[jobs] = results(folder / f"out{jobs}")
    assert made["0"] == made["1"] == made["2"] and len(made["0"]) == 24


def test_file_that_kills_its_process_fails_alone(folder: Path) -> None:
    for name in ("a.jpg", "z.jpg"):
        (folder / "in" / name).write_text("die")
    status, _, err = go(folder, "copy", "in", "-o", "out", "--jobs", "2")
    assert status == 1 and "14 files: 12 written, 2 failed." in err
    assert err.count("The process that worked on it ended by SIGKILL; perhaps the memory was full.") == 2
    assert len(results(folder / "out")) == 24


@pytest.mark.parametrize(
    ("signum", "status", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "stopped by SIGTERM")],
)
@pytest.mark.parametrize("jobs", ["0", "2"])
def test_signals_leave_what_is_complete(signum: int, status: int, word: str, jobs: str, folder: Path) -> None:
    """Of a terminal, to all processes: what is complete stays, and nothing else."""
    process = start(folder, "copy", "in", "-o", "out", "--jobs", jobs, "-k", "2", "--delay", "0.2")
    wait_for("out/*/*.txt", folder)
    os.killpg(process.pid, signum)
    _, err = process.communicate(timeout=20)
    assert process.returncode == status and "Traceback" not in err
    assert err.splitlines()[-1] == word and " not tried" in err
    made = results(folder / "out")
    assert 0 < len(made) < 48 and len(made) % 4 == 0 and not list(folder.rglob(".dequant-*"))
    assert go(folder, "copy", "in", "-o", "out", "-k", "2", "--resume")[0] == 0
    assert len(results(folder / "out")) == 48


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["0", "2"])
def test_killed_ten_times_and_resumed(jobs: str, folder: Path) -> None:
    """SIGKILL at random moments; in the end everything is as in one go."""
    rng = random.Random(f"killed {jobs}")
    for i in range(12, 24):
        (folder / "in" / f"{i}.jpg").write_text(f"{i}")
    arguments = ("copy", "in", "-k", "2", "--delay", "0.03", "--jobs", jobs)
    assert go(folder, *arguments, "-o", "whole")[0] == 0
    manifest, counts = folder / "out" / "dequant.jsonl", [0]
    for i in range(10):
        before = size(manifest)
        process = start(folder, *arguments, "-o", "out", "--resume")
        while i % 3 and size(manifest) == before and process.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.2))
        with suppress(ProcessLookupError):  # it may have ended
            (os.killpg if i % 2 else os.kill)(process.pid, signal.SIGKILL)
        process.communicate()
        counts.append(len(results(folder / "out")))
    assert len(set(counts)) > 4
    status, _, err = go(folder, *arguments, "-o", "out", "--resume")
    assert status == 0 and "skipped" in err
    assert results(folder / "out") == results(folder / "whole")
    assert go(folder, *arguments, "-o", "out", "--resume")[2].splitlines()[-1] == "24 files: 24 skipped."


@pytest.mark.slow
def test_photos_in_a_tree_with_all_that_goes_wrong(folder: Path) -> None:
    """A real operation: photos become palettes, the same in one process and in two, and what is bad is listed."""
    photos = folder / "photos"
    (photos / "dir.png").mkdir(parents=True)
    for name in ("ü ö.png", "-dash.png", "dir.png/a.png"):
        (photos / name).write_bytes((GOLDEN / "caps.png").read_bytes())
    (photos / "broken.png").write_bytes((GOLDEN / "caps.png").read_bytes()[:5000])
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "loop").symlink_to(".")
    made = dict[str, dict[str, str]]()
    for jobs in ("1", "2"):
        status, _, err = go(folder, "quantize", "photos", "-o", f"out{jobs}", "--jobs", jobs, "--no-recipe")
        failures = err.splitlines()[-2:]
        assert status == 1 and "'photos/broken.png' is damaged" in failures[0] and "empty" in failures[1]
        made[jobs] = results(folder / f"out{jobs}")
    assert made["1"] == made["2"] and list(made["1"]) == ["-dash.png", "dir.png/a.png", "ü ö.png"]
    status, _, err = go(photos, "quantize", "--jobs", "0", "-o", "../new.png", "--", "-dash.png")
    assert status == 0 and sha256(folder / "new.png") == made["1"]["-dash.png"]


def test_reader_that_leaves_is_no_traceback(folder: Path) -> None:
    process = start(folder, "copy", "in", "-o", "out", "--jobs", "0", "--json", "--delay", "0.1")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(timeout=20) == 141 and "Traceback" not in err
    assert err.splitlines()[-1] == "Nobody reads standard output any more."


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    from dequant.cli.workers import _share

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    assert [_share(processes) for processes in (1, 2, 4, 9)] == [None, 3, 1, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert _share(2) is None
