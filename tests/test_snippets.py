"""Code of the documents that tests/test_commands.py does not run: Python, and commands for the hub or a cluster."""

import re
import shlex
import shutil
import tomllib
from functools import partial
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image
from typer.main import get_command

from dequant.cli.app import app
from dequant.colorization import tuning
from dequant.colorization.tuning import Tuning
from tests.support.paths import GOLDEN, ROOT
from tests.support.searches import composed

PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", *sorted(ROOT.glob("integrations/*/README.md"))]
PYTHON = ("sample", "colorize", "semantic", "diffcolor")
"""Pages whose Python is run here; that of README and docs/diffusers.md is run beside the tests of the pipeline."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def lines(page: Path) -> list[str]:
    """Commands of a page, each on one line."""
    text = "\n".join(blocks(page, "sh") + blocks(page, "bash")).replace("\\\n", " ")
    return [re.sub(r"\s+#.*", "", line).strip() for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.slow
@pytest.mark.parametrize("name", PYTHON)
def test_python_of_a_page(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tuning, "Tuning", partial(Tuning, color_steps=3, embedding_steps=3, network_steps=3))
    photo = Image.open(GOLDEN / "caps.png").convert("RGB")
    photo.resize((96, 64)).save("photo.jpg")
    shutil.copy("photo.jpg", "reference.jpg")
    names: dict[str, object] = {}
    for code in blocks(ROOT / "docs" / f"{name}.md", "python"):
        exec(compile(code, f"{name}.md", "exec"), names)
    assert name == "sample" or list(tmp_path.glob("*.png"))


def test_all_python_is_run_somewhere() -> None:
    with_python = {page.stem for page in PAGES if blocks(page, "python")}
    assert with_python == {*PYTHON, "README", "diffusers"}


@pytest.mark.parametrize("page", [page for page in PAGES if lines(page)], ids=lambda page: page.stem)
def test_options_of_commands_exist(page: Path) -> None:
    for line in lines(page):
        words = shlex.split(line)
        if words[:2] in (["python", "train.py"], ["python", "evaluate.py"]):
            composed(words[1].removesuffix(".py"), *first_choices(words[2:]))
        elif words[0] == "dequant":
            parse(words[1:])
        for extra in re.findall(r"dequant\[(\w+)\]", line):
            assert extra in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def first_choices(words: list[str]) -> list[str]:
    """Overrides of a configuration; of a multirun those of its first job."""
    overrides = [word for word in words if not word.startswith("-") and not word.startswith("hydra.")]
    first = []
    for override in OverridesParser.create().parse_overrides(overrides):
        value = next(override.sweep_string_iterator()) if override.is_sweep_override() else None
        first.append(override.input_line if value is None else f"{override.get_key_element()}={value}")
    return first


def parse(words: list[str]) -> None:
    """Read the options of a command, which is not run."""
    command, name = get_command(app), "dequant"
    while True:
        context = command.make_context(name, list(words), resilient_parsing=False)
        if not hasattr(command, "commands"):
            return
        name, *words = [*context._protected_args, *context.args]
        command = command.commands[name]
