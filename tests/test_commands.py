"""README's commands, as written, on less work."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from dequant.data import Shards, bundled

ROOT = Path(__file__).parents[1]
LESS = {
    "train.py": ["trainer.max_steps=2", "trainer.val_check_interval=2", "data.batch_size=2", "data.max_val=2"],
    "evaluate.py": ["eval.max_photos=2", "eval.size=64"],
}


def readme_commands(script: str) -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith(f"python {script}")]


def run(line: str, folder: Path) -> str:
    _, script, *arguments = shlex.split(line)
    command = [sys.executable, str(ROOT / script), *arguments, *LESS[script]]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.slow
def test_train_commands(tmp_path: Path) -> None:
    """In README's order, since one of them goes on with the run of another."""
    (tmp_path / "photos" / "below").mkdir(parents=True)
    shards = Shards(bundled())
    for key in shards.keys("val"):
        (tmp_path / "photos" / "below" / f"{Path(key).name}.jpg").write_bytes(shards.read(key))
    commands = readme_commands("train.py")
    assert len(commands) >= 5
    for line in commands:
        run(line, tmp_path)
    assert list(tmp_path.glob("outputs/train/ours-T/*/weights/config.json"))
    assert list(tmp_path.glob("outputs/train/prior/*/weights/base.json"))


@pytest.mark.slow
@pytest.mark.parametrize("line", readme_commands("evaluate.py"))
def test_evaluate_commands(line: str, tmp_path: Path) -> None:
    run(line, tmp_path)
    assert list(tmp_path.rglob("*.csv"))
    assert list(tmp_path.rglob("*.png"))


def test_every_command_of_readme_exists() -> None:
    for line in (ROOT / "README.md").read_text().splitlines():
        if match := re.match(r"make (\w+)", line):
            assert f"\n{match[1]}:" in (ROOT / "Makefile").read_text()
        if match := re.match(r"python (\S+\.py)", line):
            assert (ROOT / match[1]).is_file()
