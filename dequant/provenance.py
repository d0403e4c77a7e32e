"""Where a number comes from: the command, the commit and the machine that made it."""

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import torch

from dequant.errors import InputError
from dequant.masking import mask

ROOT = Path(__file__).parents[1]


CODE = ("dequant/", "conf/", "sweeps/", "benchmarks/")
"""Folders of the checkout that programs read, where a file that git does not track makes a difference, too."""


PUBLISHED = ("results", "dequant")
"""Folders of the checkout that hold published tables."""


def provenance(device: torch.device) -> dict[str, str]:
    """command (without secrets), commit (empty outside a checkout), hardware, torch and date of this run.

    Args:
        device: the one that computes.
    """
    return {
        "command": mask(shlex.join(["python", _script(), *sys.argv[1:]])),
        "commit": commit(),
        "hardware": hardware(device),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }


@cache
def commit() -> str:
    """Short hash of the checkout's commit, with a + if the tree is dirty; empty outside a checkout.

    The tree is dirty if a tracked file differs from the commit, or an untracked one lies in `CODE`. `results/` and
    `docs/` do not count: no number depends on them. The answer is that of the first call, as is the imported code.
    """
    status = ["status", "--porcelain", "--", ".", ":(exclude)results", ":(exclude)docs"]
    short, changes = _git("rev-parse", "--short", "HEAD").strip(), _git(*status).splitlines()
    dirty = any(not line.startswith("??") or line[3:].strip('"').startswith(CODE) for line in changes)
    return short + "+" * dirty


def check_clean(path: str | Path | None, allow_dirty: bool) -> None:
    """Refuse to publish numbers of a dirty tree. Call it ahead of the work.

    Args:
        path: where rows will be written, or None. Outside `PUBLISHED`, and outside a checkout, anything is allowed.
        allow_dirty: publish nevertheless; the rows carry the + of `commit`.

    Raises:
        InputError: the path lies in `PUBLISHED` and the tree is dirty.
    """
    dirty = commit().endswith("+")
    if path is None or allow_dirty or not dirty:
        return
    if any(Path(path).resolve().is_relative_to(ROOT / folder) for folder in PUBLISHED):
        raise InputError(
            f"'{path}' is published, but the files here differ from commit {commit()[:-1]}: commit them first, or "
            "allow it with allow_dirty=true (--allow-dirty)."
        )


def hardware(device: torch.device) -> str:
    """Name of the GPU, or of the processor with the number of cores that may be used."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_processor()}, {cores} cores"


def _git(*arguments: str) -> str:
    """What git prints about the checkout; nothing where the package is installed elsewhere."""
    if not (ROOT / ".git").exists():
        return ""
    try:
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def _script() -> str:
    """The program as it is called from the working folder, or its name where it lies elsewhere."""
    path = Path(sys.argv[0]).resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
