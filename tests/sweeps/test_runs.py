"""The scripts behind `make reproduce`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

SCRIPTS = sorted((ROOT / "runs").glob("*.sh"))
FULL = ("full", "shards=S", "photos=P")


def run(scale: str, *settings: str, path: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{path}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    command = ["bash", str(ROOT / "runs" / f"{scale}.sh"), *settings]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    """A folder with a `python` that prints its arguments, and fails while there is a file `broken` in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python").write_text(f'#!/bin/sh\necho "ran $*"\ntest ! -e {folder}/broken\n')
    (folder / "python").chmod(0o755)
    return folder


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_are_valid(script: Path) -> None:
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0


def test_steps_keep_what_they_print_and_are_not_repeated(stub: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run("tiny", f"out={out}", path=stub)
    assert first.returncode == 0, first.stderr
    assert [path.stem for path in sorted((out / "printed").iterdir())] == ["evaluate", "report", "train"]
    command, printed, took = (out / "printed" / "train.txt").read_text().splitlines()
    assert command.startswith("$ python train.py -m variant=L,G,T data.size=64") and took.endswith(" s")
    assert command.endswith(f"hydra.sweep.dir={out} 'hydra.sweep.subdir=${{variant.name}}'")
    assert "trainer.max_steps=30 trainer.val_check_interval=15" in printed
    assert f"hydra.sweep.dir={out} hydra.sweep.subdir=${{variant.name}}" in printed
    again = run("tiny", f"out={out}", "photos=3", path=stub)
    assert "train is complete" in again.stdout and "eval.max_photos=3" in again.stdout
    assert again.stdout.count("ran ") == 1


def test_a_step_that_fails_is_repeated(stub: Path, tmp_path: Path) -> None:
    (stub / "broken").touch()
    failed = run("tiny", f"out={tmp_path}/out", path=stub)
    assert failed.returncode == 1
    assert failed.stderr == "error: train failed: the same command resumes it.\n"
    (stub / "broken").unlink()
    assert run("tiny", f"out={tmp_path}/out", path=stub).stdout.count("ran ") == 3


def test_the_paper_is_reproduced_with_another_base(stub: Path, tmp_path: Path) -> None:
    done = run(*FULL, "base=sd15", f"out={tmp_path}/out", path=stub)
    assert done.returncode == 0, done.stderr
    ran = [line for line in done.stdout.splitlines() if line.startswith("ran ")]
    assert len(ran) == 3 + 5 + 1
    assert "experiment=paper variant=L base=sd15 data=shards data.shards=S" in ran[0]
    assert "eval.protocols=[dequantization]" in ran[3] and "base=sd15 data=folder data.root=P" in ran[3]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("full", "photos=P"), "Settings are missing: expected shards=FOLDER photos=FOLDER."),
        (("tiny", "step=3"), "There is no setting 'step=3' of tiny.sh: expected NAME=VALUE, with NAME one of out"),
        (("tiny", "out steps=3"), "There is no setting 'out steps=3' of tiny.sh"),
        (("tiny", "steps=x[$(touch made)]"), "Expected a number of steps, got steps=x[$(touch made)]."),
        (("tiny", "steps"), "There is no setting 'steps' of tiny.sh"),
    ],
)
def test_bad_settings(arguments: tuple[str, ...], sentence: str, stub: Path) -> None:
    done = run(*arguments, path=stub)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"error: {sentence}") and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_tiny_writes_the_report(stub: Path, tmp_path: Path) -> None:
    """With one of the four variants in its tables, which take half a minute each."""
    less = "case $1 in evaluate.py) set -- \"$@\" 'eval.variants=[T]';; esac"
    (stub / "python").write_text(f'#!/bin/sh\n{less}\nexec {sys.executable} "$@"\n')
    done = run("tiny", "steps=2", "photos=2", f"out={tmp_path}/out", path=stub)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "report.html").read_text()
    for part in ("Training", "Tables 1 and 2", "Tables 3 and 4", "Figure 9", "Figures 14 to 17", "Commands"):
        assert part in page
    assert {path.name for path in (tmp_path / "out").glob("[LGT]")} == {"L", "G", "T"}
