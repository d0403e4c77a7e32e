"""Lines of the package that the tests execute: `python -m benchmarks.lines [--tests tests] [--csv FILE]`.

All tests run, with the programs that they start. Lines that Numba compiles count as not executed, though tests run
them: most of what `color` misses is of that kind. Programs killed at once leave no trace, either.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from dequant.cli.progress import say
from dequant.errors import InputError, one_sentence
from dequant.io.files import write_csv
from dequant.provenance import ROOT, check_clean, provenance

COLUMNS = ("room", "lines", "executed", "share", "command", "commit", "hardware", "torch", "date")
TESTS = ("-m", "pytest", "-n", "2", "--dist", "worksteal")


def coverage(*args: str, folder: str) -> str:
    """What coverage.py prints, with its data in a folder.

    Raises:
        InputError: it fails, as where a test fails.
    """
    env = {**os.environ, "COVERAGE_FILE": f"{folder}/data"}
    done = subprocess.run((sys.executable, "-m", "coverage", *args), cwd=ROOT, env=env, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"`coverage {' '.join(args)}` fails: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def by_room(files: dict[str, Any]) -> list[dict[str, str]]:
    """A row for each folder of the package, and one for all, of coverage.py's report on files."""
    lines, executed = Counter[str](), Counter[str]()
    for name, found in files.items():
        room = Path(name).relative_to("dequant").parts[0].removesuffix(".py")
        for key in (room, "all"):
            lines[key] += found["summary"]["num_statements"]
            executed[key] += found["summary"]["covered_lines"]
    return [
        {"room": room, "lines": str(count), "executed": str(executed[room]), "share": f"{executed[room] / count:.3f}"}
        for room, count in sorted(lines.items(), key=lambda item: (item[0] == "all", item[0]))
        if count
    ]


@one_sentence()
def main(
    tests: Annotated[str, typer.Option(help="Which, as pytest takes them.")] = "tests",
    csv: Annotated[Path | None, typer.Option(help="Table to write.")] = None,
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Publish from a changed tree.")] = False,
) -> None:
    """Run the tests, and print the share of lines of each room."""
    check_clean(csv, allow_dirty)
    about = provenance(torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        say(coverage("run", *TESTS, tests, folder=folder).splitlines()[-1])
        coverage("combine", "-q", folder=folder)
        files = json.loads(coverage("json", "-q", "-o", "-", folder=folder))["files"]
    rows = by_room(files)
    for row in rows:
        print(", ".join(f"{name} {value}" for name, value in row.items()))
    if csv is not None:
        write_csv(csv, COLUMNS, [row | about for row in rows])


if __name__ == "__main__":
    typer.run(main)
