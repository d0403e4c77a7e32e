"""The help of train.py and evaluate.py, which does not wait for their imports."""

import subprocess
import sys

import pytest

from tests.support.paths import ROOT


@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_help_imports_nothing_heavy(name: str) -> None:
    code = f"""
import runpy, sys
sys.argv = ["{name}.py", "--help"]
try:
    runpy.run_path("{name}.py", run_name="__main__")
finally:
    print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0
    assert done.stdout.startswith(f"{name} is powered by Hydra.") and "variant: G, L, L_post, T" in done.stdout
    assert not {"torch", "lightning", "diffusers", "numpy"} & set(done.stderr.split())
