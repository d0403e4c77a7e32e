"""What `import dequant` offers, and what it costs."""

import subprocess
import sys

import pytest

import dequant
from tests.support.paths import ROOT

NAMES = ["InputError", "Sampler", "__version__", "load", "quantize"]


def test_exports() -> None:
    assert dir(dequant) == dequant.__all__ == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_export_exists(name: str) -> None:
    value = getattr(dequant, name)
    assert isinstance(value, str) if name == "__version__" else value.__name__ == name
    assert getattr(dequant, name) is value


def test_other_names_do_not() -> None:
    with pytest.raises(AttributeError, match="module 'dequant' has no attribute 'colour'"):
        dequant.colour  # noqa: B018


def test_import_is_light() -> None:
    code = "import sys, dequant; dequant.InputError, dir(dequant); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "dequant" in loaded
    assert not loaded & {"torch", "numpy", "PIL", "diffusers", "transformers", "typer", "importlib_metadata"}


def test_edits_that_draw_nothing_do_not_wait_for_diffusers() -> None:
    code = "import sys, dequant.edit.edits; sys.exit('diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.slow
def test_every_module_is_imported_without_a_warning() -> None:
    code = "import importlib, pkgutil, dequant\nfor one in pkgutil.walk_packages(dequant.__path__, 'dequant.'):\n"
    code += "    one.name.endswith('__main__') or importlib.import_module(one.name)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
