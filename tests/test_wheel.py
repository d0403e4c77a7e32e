"""The wheel in an environment of its own: what a user gets without the repository."""

import json
import lzma
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.paths import GOLDEN, ROOT

EDIT = """
import importlib.util
from dequant.pipelines.dequant import DequantPipeline

pipe = DequantPipeline.bundled()
print(pipe("photo.png", n_colors=4, num_inference_steps=1).images[0].size)
assert importlib.util.find_spec("sweeps") is None
assert importlib.util.find_spec("train") is None
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
def binaries(tmp_path: Path) -> Iterator[Path]:
    """Where the programs are of an empty environment in which the wheel was installed."""
    tree, index = tmp_path / "tree", os.environ.get("TORCH_INDEX")
    shutil.copytree(ROOT / "dequant", tree / "dequant", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "wheel", ".", "--no-deps", "--wheel-dir", tmp_path, cwd=tree)
    (wheel,) = tmp_path.glob("dequant-*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "env", cwd=tmp_path)
    pip[0] = str(tmp_path / "env" / "bin" / "python")
    extra = ["--extra-index-url", index] if index else []
    run(*pip, "install", "--constraint", ROOT / "constraints.txt", *extra, wheel, cwd=tmp_path)
    yield tmp_path / "env" / "bin"
    shutil.rmtree(tmp_path / "env")  # over a gigabyte, which pytest would keep


@pytest.mark.slow
def test_wheel_works_without_the_repository(binaries: Path, folder: Path) -> None:
    assert run(binaries / "dequant", "--help", cwd=folder).startswith("Usage: dequant ")
    run(binaries / "dequant", "inspect", "photo.png", "--out", "seen", cwd=folder)
    assert (folder / "seen" / "condition.npz").is_file()
    run(binaries / "dequant", "convert", "authors", "T.pt", "--base", ".", "--out", "ours", cwd=folder)
    assert json.loads((folder / "ours" / "control" / "config.json").read_text())["variant"] == "T"
    assert run(binaries / "python", "-c", EDIT, cwd=folder) == "(128, 128)\n"
