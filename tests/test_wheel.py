"""The wheel in an environment of its own: what a user gets without the repository."""

import json
import lzma
import os
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from tests.support.paths import GOLDEN, ROOT

EDIT = """
import importlib.util
from dequant.pipelines.dequant import DequantPipeline

pipe = DequantPipeline.bundled()
print(pipe("photo.png", n_colors=4, num_inference_steps=1).images[0].size)
assert importlib.util.find_spec("sweeps") is None
assert importlib.util.find_spec("train") is None
assert importlib.util.find_spec("pytest") is None  # nor anything else that the wheel does not ask for
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A photo, and a tiny checkpoint of the released code beside its base's configuration."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    shutil.copy(GOLDEN / "caps.png", folder / "photo.png")
    network = GOLDEN / "network"
    (folder / "T.pt").write_bytes(lzma.decompress((network / "checkpoint.pt.xz").read_bytes()))
    params = json.loads((network / "network.json").read_text())["params"]
    (folder / "config.yml").write_text(yaml.safe_dump({"params": params}))
    return folder


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints, in an environment that knows nothing of the repository and fetches no models."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([*command], capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is published: a wheel, beside the archive of the sources that it is built from."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    shutil.copytree(ROOT / "dequant", tree / "dequant", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ".", cwd=tree)
    (path,) = out.glob("dequant-*.whl")
    return path


def environment(python: str | Path, wheel: Path, folder: Path) -> Path:
    """Where the programs are of a new environment with the wheel and nothing else."""
    run(python, "-m", "venv", "--without-pip", folder, cwd=wheel.parent)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", folder / "bin" / "python"]
    run(*pip, "install", "--no-deps", wheel, cwd=wheel.parent)
    return folder / "bin"


@pytest.fixture
def binaries(wheel: Path, tmp_path: Path) -> Path:
    """As `environment`, with what the wheel depends on, as links to what is here."""
    found = environment(sys.executable, wheel, tmp_path / "env")
    (packages,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    for path in needed(set(distributions(path=[str(packages)]))):
        if not (packages / path.name).exists():
            (packages / path.name).symlink_to(path)
    return found


def needed(packages: set[Distribution]) -> set[Path]:
    """Files and folders of all that some packages depend on, as installed here, with the extras that they ask for."""
    asked, found = [(package, "") for package in packages], set[tuple[str, str]]()
    paths = set[Path]()
    while asked:
        package, extra = asked.pop()
        for requirement in map(Requirement, package.requires or ()):
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            for one in ("", *requirement.extras):
                if (requirement.name, one) not in found:
                    found.add((requirement.name, one))
                    asked.append((distribution(requirement.name), one))
        tops = {Path(path).parts[0] for path in package.files or ()} - {"..", "__pycache__"}
        paths |= {Path(str(package.locate_file(top))) for top in tops}
    return paths


@pytest.mark.slow
def test_wheel_can_be_published(wheel: Path) -> None:
    files = sorted(wheel.parent.iterdir())
    assert [path.suffix for path in files] == [".whl", ".gz"]
    assert all(path.stat().st_size < 100e6 for path in files)  # what the package index takes
    run(sys.executable, "-m", "twine", "check", "--strict", *files, cwd=wheel.parent)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_wheel_is_installed_by_each_python(version: str, wheel: Path, tmp_path: Path) -> None:
    """That is at hand: without what it depends on, all of it compiles, and it says its version."""
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "--version"], capture_output=True).returncode:
        pytest.skip(f"There is no python{version}.")
    binaries = environment(python, wheel, tmp_path / "env")
    (packages,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    run(binaries / "python", "-W", "error", "-m", "compileall", "-q", packages / "dequant", cwd=tmp_path)
    assert run(binaries / "dequant", "--version", cwd=tmp_path).startswith("dequant ")


@pytest.mark.slow
def test_wheel_works_without_the_repository(binaries: Path, folder: Path) -> None:
    assert run(binaries / "dequant", "--help", cwd=folder).startswith("Usage: dequant ")
    run(binaries / "dequant", "inspect", "photo.png", "--out", "seen", cwd=folder)
    assert (folder / "seen" / "condition.npz").is_file()
    run(binaries / "dequant", "convert", "authors", "T.pt", "--base", ".", "--out", "ours", cwd=folder)
    assert json.loads((folder / "ours" / "control" / "config.json").read_text())["variant"] == "T"
    assert run(binaries / "python", "-c", EDIT, cwd=folder) == "(128, 128)\n"
