"""The house as it is built: who imports whom, which library lives where, and how large a room may be."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

from tests.support.paths import ROOT

HOMES = {
    "hydra": {"cli"},
    "omegaconf": {"cli"},
    "typer": {"cli"},
    "starlette": {"studio"},
    "pydantic": {"studio"},
    "uvicorn": {"cli"},
    "av": {"edit"},
    "wandb": {"training", "evaluation"},
    "lightning": {"training", "data", "colorization", "evaluation", "cli"},
}
"""Packages that may import a library."""

MODULES = sorted((ROOT / "dequant").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("dequant", include_external_packages=True, cache_dir=None)


def test_imports_go_down() -> None:
    """In a process of its own, as the linter sets up logging anew."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("library", HOMES)
def test_libraries_have_homes(library: str, graph: grimp.ImportGraph) -> None:
    importers = graph.find_modules_that_directly_import(library) if library in graph.modules else set()
    assert {name for name in importers if name.split(".")[1] not in HOMES[library]} == set()


@pytest.mark.parametrize(("files", "limit"), [(MODULES, 320), (TESTS, 350)], ids=["modules", "tests"])
def test_files_are_short(files: list[Path], limit: int) -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > limit} == {}


def test_functions_are_short() -> None:
    lengths = {name: node.end_lineno - node.lineno + 1 for name, node in functions() if node.end_lineno}
    assert {name: length for name, length in lengths.items() if length > 50} == {}


def test_functions_have_few_parameters() -> None:
    counts = {name: parameters(node) for name, node in functions() if not is_command(node)}
    assert {name: count for name, count in counts.items() if count > 10} == {}


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Every function of the package but `__call__` and configurations, under the module's name and its own."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name != "__call__" and not is_configuration(node):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node


def is_command(node: ast.FunctionDef) -> bool:
    """Whether the parameters are the options of a command."""
    decorated = any(isinstance(one, ast.Name) and one.id == "on_files" for one in node.decorator_list)
    return decorated or any("typer.Option(" in ast.unparse(one) for one in node.args.args)


def is_configuration(node: ast.FunctionDef) -> bool:
    """Whether diffusers saves the parameters as a configuration, or as those of a pipeline."""
    decorated = any(isinstance(one, ast.Name) and one.id == "register_to_config" for one in node.decorator_list)
    return decorated or (node.name == "__init__" and "self.register_modules(" in ast.unparse(node))


def parameters(node: ast.FunctionDef) -> int:
    """How many parameters a function has, self and cls left out."""
    names = [one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))
