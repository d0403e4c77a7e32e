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


@pytest.fixture
def binaries(tmp_path: Path) -> Path:
    """Where the programs are of an environment with the wheel and what it depends on, as links to what is here."""
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "dequant", tree / "dequant", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "wheel", ".", "--no-deps", "--wheel-dir", tmp_path, cwd=tree)
    (wheel,) = tmp_path.glob("dequant-*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "env", cwd=tmp_path)
    pip[3:3] = ["--python", str(tmp_path / "env" / "bin" / "python")]
    run(*pip, "install", "--no-deps", wheel, cwd=tmp_path)
    (packages,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    for path in needed(set(distributions(path=[str(packages)]))):
        if not (packages / path.name).exists():
            (packages / path.name).symlink_to(path)
    return tmp_path / "env" / "bin"


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
def test_wheel_works_without_the_repository(binaries: Path, folder: Path) -> None:
    assert run(binaries / "dequant", "--help", cwd=folder).startswith("Usage: dequant ")
    run(binaries / "dequant", "inspect", "photo.png", "--out", "seen", cwd=folder)
    assert (folder / "seen" / "condition.npz").is_file()
    run(binaries / "dequant", "convert", "authors", "T.pt", "--base", ".", "--out", "ours", cwd=folder)
    assert json.loads((folder / "ours" / "control" / "config.json").read_text())["variant"] == "T"
    assert run(binaries / "python", "-c", EDIT, cwd=folder) == "(128, 128)\n"
