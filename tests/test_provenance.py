"""Where numbers come from: which trees are dirty, and what is refused from them."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from dequant import provenance
from dequant.errors import InputError

Write = Callable[[str], None]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """No commit remembered, before or after."""
    provenance.commit.cache_clear()
    yield
    provenance.commit.cache_clear()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one commit, taken for that of the package."""
    for name in ("dequant/code.py", "results/table.csv", "docs/page.md", "README.md", "conf/train.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("committed")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *arguments], check=True)
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "dirty"),
    [
        ("dequant/code.py", True),
        ("README.md", True),
        ("conf/train.yaml", True),
        ("results/table.csv", False),
        ("docs/page.md", False),
        ("dequant/new.py", True),
        ("conf/eval/new näme.yaml", True),
        ("kodak24/1.png", False),
        ("results/new.csv", False),
    ],
)
def test_a_tree_is_dirty_if_numbers_may_depend_on_what_differs(checkout: Path, name: str, dirty: bool) -> None:
    (checkout / name).parent.mkdir(exist_ok=True)
    (checkout / name).write_text("changed")
    assert provenance.commit().endswith("+") == dirty
    for path in (checkout / "results" / "table.csv", checkout / "dequant" / "strengths.csv"):
        provenance.check_clean(path, allow_dirty=True)
        if dirty:
            with pytest.raises(InputError, match=r"differ from commit [0-9a-f]+: commit them first"):
                provenance.check_clean(path, allow_dirty=False)
        else:
            provenance.check_clean(path, allow_dirty=False)
    for elsewhere in (None, checkout / "outputs" / "cells.csv", "/somewhere/results/table.csv"):
        provenance.check_clean(elsewhere, allow_dirty=False)


def test_deletions_count(checkout: Path) -> None:
    (checkout / "dequant" / "code.py").unlink()
    assert provenance.commit().endswith("+")


def test_the_commit_is_that_of_the_start(checkout: Path) -> None:
    provenance.check_clean("results/table.csv", allow_dirty=False)
    (checkout / "dequant" / "code.py").write_text("changed while the work goes on")
    head = subprocess.run(["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    assert provenance.provenance(torch.device("cpu"))["commit"] == head.stdout.strip()


def test_relative_paths_are_those_of_the_working_folder(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / "dequant" / "code.py").write_text("changed")
    monkeypatch.chdir(checkout / "docs")
    provenance.check_clean("results/table.csv", allow_dirty=False)
    with pytest.raises(InputError, match=r"'\.\./results/table\.csv' is published"):
        provenance.check_clean("../results/table.csv", allow_dirty=False)


def test_outside_a_checkout_there_is_no_commit(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package does not take the repository around it for its own."""
    monkeypatch.setattr(provenance, "ROOT", checkout / "dequant")
    assert provenance.commit() == ""
    provenance.check_clean(checkout / "dequant" / "results" / "table.csv", allow_dirty=False)


def test_without_git_there_is_no_commit(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance.commit() == ""


def test_provenance_names_the_command_and_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/elsewhere/evaluate.py", "eval.n_colors=[4, 8]"])
    made = provenance.provenance(torch.device("cpu"))
    assert list(made) == ["command", "commit", "hardware", "torch", "date"]
    assert made["command"] == "python evaluate.py 'eval.n_colors=[4, 8]'"
    assert made["hardware"].endswith("cores")
