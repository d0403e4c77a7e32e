"""From shards to every table and figure of the paper: `python -m sweeps.reproduce tiny`, `... full shards=S photos=P`.

The plan, sweeps/plans/SCALE.yaml, is a list of commands as one would type them. What a command printed is kept in
OUT/printed/STEP.txt when it ended well; steps that have theirs, for the same command, are not repeated.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dequant.cli.hydra import one_sentence
from dequant.errors import InputError
from dequant.io.files import whole_file

PLANS = Path(__file__).parent / "plans"
TFLOPS = 150
"""Sustained by the GPU that hours are computed for, in TFLOP/s."""


class Step(NamedTuple):
    """A command, the file with what it printed, and its cost: CPU minutes or GPU hours, and MB of disk."""

    name: str
    command: str
    printed: Path
    cost: str
    disk_mb: float

    @property
    def done(self) -> bool:
        """Whether this very command has ended well."""
        return self.printed.is_file() and self.printed.read_text().split("\n", 1)[0] == f"$ {self.command}"


def plan(scale: str, options: Sequence[str] = ()) -> tuple[list[Step], str]:
    """The steps of a scale, and how their costs were found.

    Args:
        scale: name of a plan.
        options: NAME=VALUE for its settings, such as base=sd15.

    Raises:
        InputError: there is no such plan, or a setting is missing or unknown.
    """
    path = PLANS / f"{scale}.yaml"
    if not path.is_file():
        known = " or ".join(sorted(found.stem for found in PLANS.glob("*.yaml")))
        raise InputError(f"There is no plan {scale!r}: choose {known}.")
    config = OmegaConf.load(path)
    OmegaConf.set_struct(config, True)
    try:
        config.merge_with_dotlist(list(options))
        settings = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True, throw_on_missing=True))
    except OmegaConfBaseException as error:
        sentence = str(error).split("\n", 1)[0]
        raise InputError(
            f"The plan {scale!r} needs other settings ({sentence}): see sweeps/plans/{path.name}."
        ) from error
    printed = Path(settings["out"]) / "printed"
    return [_step(name, printed, **about) for name, about in settings["steps"].items()], settings["costs"]


def _step(
    name: str, printed: Path, command: str, disk_mb: float, cpu_minutes: float | None = None, tflop: float | None = None
) -> Step:
    cost = f"{cpu_minutes:g} min" if cpu_minutes is not None else f"{(tflop or 0) / TFLOPS / 3600:.1f} h"
    return Step(name, " ".join(command.split()), printed / f"{name}.txt", cost, disk_mb)


def table(steps: Sequence[Step], costs: str) -> Table:
    """The plan with its costs, and what of it is done."""
    shown = Table(title="Plan", caption=costs, box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left")
    for name in ("step", "cost", "disk", "", "command"):
        shown.add_column(name, no_wrap=name != "command", overflow="fold")
    for step in steps:
        shown.add_row(step.name, step.cost, f"{step.disk_mb:g} MB", "done" if step.done else "", escape(step.command))
    total = sum(float(step.cost.split()[0]) for step in steps)
    shown.add_row("all", f"{total:.3g} {steps[0].cost.split()[1]}", f"{sum(step.disk_mb for step in steps):g} MB")
    return shown


def execute(step: Step) -> str:
    """Run a step, showing what it prints, and keep that if it ends well; returns the time it took.

    Raises:
        InputError: it does not.
    """
    start, lines = os.times(), []
    command = step.command.replace("python ", f"{sys.executable} ", 1)
    environment = os.environ | {"COLUMNS": "160"}
    process = subprocess.Popen(command, shell=True, text=True, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    if process.wait() != 0:
        raise InputError(f"{step.name} ended with status {process.returncode}; the same command goes on with it.")
    end = os.times()
    computed = end.children_user + end.children_system - start.children_user - start.children_system
    took = f"{end.elapsed - start.elapsed:.0f} s, {computed / 60:.1f} min of CPU"
    with whole_file(step.printed) as file:
        file.write(f"$ {step.command}\n{''.join(lines)}# {took}\n")
    return took


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m sweeps.reproduce", description=__doc__)
    parser.add_argument("scale", help="tiny or full")
    parser.add_argument("options", nargs="*", metavar="NAME=VALUE", help="settings of the plan")
    parser.add_argument("--plan", action="store_true", help="show the plan and its costs only")
    arguments = parser.parse_intermixed_args()
    with one_sentence():
        steps, costs = plan(arguments.scale, arguments.options)
        Console(width=None if sys.stdout.isatty() else 160).print(table(steps, costs))
        for number, step in enumerate([] if arguments.plan else steps, 1):
            if not step.done:
                print(f"[{number}/{len(steps)}] {step.command}", flush=True)
                print(f"[{number}/{len(steps)}] {step.name}: {execute(step)}", flush=True)


if __name__ == "__main__":
    main()
