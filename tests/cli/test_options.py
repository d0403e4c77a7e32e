"""The options that commands over files share, as they are typed."""

import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dequant.cli import app as commands
from dequant.cli.main import main
from dequant.cli.options import BatchOptions, shard
from dequant.errors import InputError
from tests.support.operations import app
from tests.support.paths import ROOT


@pytest.fixture(autouse=True)
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with two files, and the command line of `tests.support.operations`."""
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "app", app)


def status(*arguments: str) -> int:
    try:
        main(arguments)
    except SystemExit as end:
        assert isinstance(end.code, int)
        return end.code
    return 0


def test_shared_options_stand_behind_a_commands_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("copy", "--text", "x", "a.jpg", "--out", "new.txt", "--seed", "5") == 0
    assert Path("new.txt").read_text().split()[2:] == ["x", "0"]
    assert Path("new.txt.yaml").is_file()
    assert status("copy", "--help") == 0
    text = capsys.readouterr().out
    names = {f"--{name.replace('_', '-')}" for name in get_type_hints(BatchOptions)}
    assert all(name in text for name in names | {"--no-recipe", "--text"})
    assert "Copy files." in text and "SOURCE..." in text


def test_exit_status_is_that_of_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    Path("b.jpg").write_text("bad")
    assert status("copy", ".", "-o", "out/", "--jobs", "0") == 1
    assert status("copy", "nowhere", "-o", "out/") == 2
    assert status("copy", "a.jpg", "--text", "impossible") == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: Expected a text that is possible."


def test_interrupt_ahead_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dequant.cli.batch.run", interrupted)
    assert status("copy", "a.jpg") == 130


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a.jpg", "--jobs", "-1"],
        ["a.jpg", "--jobs", "two"],
        ["a.jpg", "--max-failures", "0"],
        ["a.jpg", "--seed", "1.5"],
        ["a.jpg", "--shard", "17/16"],
        ["a.jpg", "--out"],
        ["a.jpg", "--nothing"],
        ["-a.jpg"],
    ],
)
def test_wrong_options_are_one_sentence(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert status("copy", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert sorted(path.name for path in Path().iterdir()) == ["a.jpg", "b.jpg"]


def test_names_with_a_leading_dash() -> None:
    Path("-c.jpg").write_text("c")
    assert status("copy", "-o", "one.txt", "--", "-c.jpg") == status("copy", "./-c.jpg", "-o", "two.txt") == 0
    assert Path("one.txt").read_text() == Path("two.txt").read_text()


def test_parts() -> None:
    assert shard(None) is None and shard("3/16") == (3, 16) and shard("1/1") == (1, 1)
    for text in ("", "3", "0/16", "17/16", "-1/2", "1/0", "1/2/3", " 1/2", "1 /2", "٣/4", "1/2\n", "1/9999999999"):
        with pytest.raises(InputError, match="Expected a part such as --shard 3/16"):
            shard(text)


@given(st.text(alphabet="0123456789/- +e.\n", max_size=8))
def test_parts_are_right_or_refused(text: str) -> None:
    try:
        part = shard(text)
    except InputError:
        return
    assert part is not None and 1 <= part[0] <= part[1] and tuple(map(int, text.split("/"))) == part


WORDS = ["a.jpg", "b.jpg", ".", "-", "--", "*", "@a.jpg", "-o", "out/", "new.txt", "{stem}.txt", "{", "", "--seed", "7"]
WORDS += [
    "--jobs",
    "0",
    "--shard",
    "1/2",
    "--resume",
    "--json",
    "--dry-run",
    "--no-recipe",
    "--manifest",
    "\udcff",
    "ü",
]


@given(st.lists(st.sampled_from(WORDS), max_size=7))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_words_end_with_a_status(words: list[str]) -> None:
    """No arguments end in a traceback, or change a source."""
    assert status("copy", *words, "--dry-run") in (0, 1, 2)
    assert (Path("a.jpg").read_text(), Path("b.jpg").read_text()) == ("a.jpg", "b.jpg")
    assert sorted(path.name for path in Path().iterdir()) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("arguments", [["--help"], ["copy", "--help"], ["copy", "a.jpg", "--dry-run"]])
def test_no_torch_ahead_of_the_work(arguments: list[str]) -> None:
    code = f"import sys; from tests.support.operations import app; app({arguments!r}, standalone_mode=False)"
    code += "; print(*{'torch', 'scipy', 'diffusers'} & set(sys.modules), end='', file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}
    )
    assert done.returncode == 0 and done.stderr == ""
