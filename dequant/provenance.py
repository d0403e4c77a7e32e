"""Where a number comes from: the command, the commit and the machine that made it."""

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import torch


def provenance(device: torch.device) -> dict[str, str]:
    """command, commit (empty outside a checkout), hardware, torch and date of this run.

    Args:
        device: the one that computes.
    """
    return {
        "command": shlex.join(["python", _script(), *sys.argv[1:]]),
        "commit": commit(),
        "hardware": hardware(device),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }


def _script() -> str:
    """The program as it is called from the working folder, or its name where it lies elsewhere."""
    path = Path(sys.argv[0]).resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name


def commit() -> str:
    """Short hash of the checkout's commit, with a + where files differ from it; empty outside a checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        short, changed = (
            subprocess.run([*git, *arguments], capture_output=True, text=True, check=True).stdout.strip()
            for arguments in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{short}+" if changed else short


def hardware(device: torch.device) -> str:
    """Name of the GPU, or of the processor with the number of cores that may be used."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return (
        f"{_processor()}, {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
