import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer.main
from PIL import Image

import dequant
from dequant.cli.app import app
from dequant.cli.main import main
from dequant.cli.palette import Variant
from dequant.condition.texture import TEXTURES
from tests.support.paths import ROOT

COMMANDS = [
    "dequantize",
    "transfer",
    "recolor",
    "lock",
    "lut",
    "replay",
    "palette",
    "inspect",
    "info",
    "convert",
    "shards",
]
HEAVY = {"torch", "numpy", "PIL", "scipy", "diffusers", "transformers", "lightning", "hydra", "omegaconf", "rich"}


@pytest.mark.parametrize("command", [[], *([command] for command in COMMANDS), ["convert", "authors"]])
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    code = f"""
import sys
from dequant.cli.main import main
try:
    main({[*command, "--help"]!r})
finally:
    print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: {' '.join(['dequant', *command])} ")
    assert not HEAVY & {name.partition(".")[0] for name in done.stderr.split()}


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    main(["-h"])
    text = capsys.readouterr().out
    assert all(f"\n  {command} " in text for command in COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert capsys.readouterr().out == f"dequant {dequant.__version__}\n"


def test_the_package_itself_imports_nothing() -> None:
    """So that Ctrl-C finds the command ready at once."""
    code = "import sys; known = set(sys.modules); import dequant; print(*sorted(set(sys.modules) - known))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["dequant"]


def test_version_needs_no_other_command() -> None:
    code = "import sys; from dequant.cli.main import main; main(['--version']); sys.exit('typer' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def leaves(command: Any, name: str = "dequant") -> Iterator[tuple[str, Any]]:
    """The commands below one, by their whole names."""
    if not getattr(command, "commands", None):
        yield name, command
    for word, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, f"{name} {word}")


def test_every_command_has_examples() -> None:
    commands = dict(leaves(typer.main.get_command(app)))
    assert len(commands) >= 5
    for name, command in commands.items():
        first, _, *lines = str(command.epilog).split("\n")
        assert first == "\b" and lines and all(f"{line} ".startswith(f"  {name} ") for line in lines), name


@pytest.mark.parametrize(
    ("words", "found"), [("dequant ins", {"inspect"}), ("dequant convert ", {"authors", "to-authors"})]
)
def test_completion(words: str, found: set[str]) -> None:
    count = words.count(" ")
    environment = {"_DEQUANT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(count)}
    command = [sys.executable, "-m", "dequant.cli"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | environment)
    assert set(done.stdout.split()) == found


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Missing command"),
        (["paint"], "No such command 'paint'"),
        (["inspect", "photo.jpg"], "Missing option '--out'"),
        (["inspect", "photo.jpg", "--out", "out", "--variant", "Q"], "is not one of 'L', 'G', 'T'"),
        (["palette", "match", "photo.jpg"], "Missing argument 'reference'"),
        (["palette", "match", "photo.jpg", "other.jpg", "--out", "out", "--k", "few"], "valid integer"),
        (["convert", "sideways", "T.pt"], "No such command 'sideways'"),
    ],
)
def test_usage_errors_are_one_sentence(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and sentence in error


@pytest.mark.parametrize("module", ["typer", "dequant.cli.app", "torch"])
@pytest.mark.parametrize("command", [["info"], ["inspect", "photo.png", "-o", "out"], ["transfer", "photo.png"]])
def test_ctrl_c_during_an_import_is_one_word(module: str, command: list[str], tmp_path: Path) -> None:
    """As a signal, and as the exception that libraries make of it."""
    Image.new("RGB", (4, 4)).save(tmp_path / "photo.png")
    for stop in ("os.kill(os.getpid(), signal.SIGINT)", "raise KeyboardInterrupt"):
        code = f"""
import os, signal, sys
class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            {stop}
sys.meta_path.insert(0, Stop())
sys.argv[1:] = {command!r}
from dequant.cli.main import main
main()
"""
        paths = {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=os.environ | paths
        )
        assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_variants_are_those_with_a_texture() -> None:
    assert set(get_args(Variant)) == set(TEXTURES)


def test_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "dequant.cli", "--version"], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == f"dequant {dequant.__version__}\n"
