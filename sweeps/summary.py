"""The results of a search as a ranked table and plots: `python -m sweeps.summary outputs/sweep/NAME`."""

import importlib.util
import json
import logging
import math
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import typer
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from rich import box
from rich.table import Table
from rich.text import Text

from dequant.errors import InputError, one_sentence
from dequant.evaluation.sheets import as_text
from dequant.io.files import read_csv, whole_file, write_csv
from dequant.metrics.image import mean_and_stderr
from dequant.provenance import check_clean, provenance

log = logging.getLogger(__name__)


class Run(NamedTuple):
    """A run of a search: its folder's name, the options it was given, its metrics at the end."""

    name: str
    options: dict[str, str]
    metrics: dict[str, float]


class Finding(NamedTuple):
    """A setting: its options, the runs that share it (with different seeds), mean and standard error of the metric."""

    options: dict[str, str]
    runs: list[str]
    steps: int
    mean: float
    stderr: float


def read(folder: Path) -> list[Run]:
    """The runs of a search that have been validated, in the order of their numbers.

    Raises:
        InputError: there are none.
    """
    found = []
    for path in sorted(folder.glob("*/metrics.json"), key=lambda path: (len(path.parent.name), path.parent.name)):
        overrides = OmegaConf.load(path.parent / ".hydra" / "overrides.yaml")
        options = dict(str(override).lstrip("+").split("=", 1) for override in overrides)
        found.append(Run(path.parent.name, options, json.loads(path.read_text())))
    if not found:
        raise InputError(f"'{folder}' has no validated run: expected the folder of a search, outputs/sweep/NAME.")
    return found


def varied(runs: Sequence[Run]) -> list[dict[str, str]]:
    """Of each run, the options that differ between runs, apart from the seed; "" where one was not given."""
    names = [name for name in dict.fromkeys(name for run in runs for name in run.options) if name != "seed"]
    names = [name for name in names if len({run.options.get(name) for run in runs}) > 1]
    return [{name: run.options.get(name, "") for name in names} for run in runs]


def rank(runs: Sequence[Run], metric: str) -> list[Finding]:
    """The settings of a search by their mean of a metric over seeds, best first.

    Args:
        runs: of the search.
        metric: one of those in metrics.json.

    Raises:
        InputError: a run has no such metric.
    """
    for run in runs:
        if metric not in run.metrics:
            raise InputError(f"{run.name} has no metric {metric!r}: choose one of {', '.join(run.metrics)}.")
    settings: dict[tuple[tuple[str, str], ...], list[Run]] = defaultdict(list)
    for run, options in zip(runs, varied(runs), strict=True):
        settings[tuple(options.items())].append(run)
    findings = []
    for setting, members in settings.items():
        mean, stderr = mean_and_stderr(torch.tensor([run.metrics[metric] for run in members], dtype=torch.float64))
        steps = int(min(run.metrics.get("step", 0) for run in members))
        findings.append(Finding(dict(setting), [run.name for run in members], steps, mean, stderr))
    return sorted(findings, key=lambda finding: (math.isnan(finding.mean), -finding.mean))


def table(findings: Sequence[Finding], title: str, metric: str) -> Table:
    """The ranking as a table."""
    shown = Table(title=Text(title), box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for name in ("", *findings[0].options, metric, "seeds", "steps", "runs"):
        shown.add_column(Text(name), justify="left" if name in findings[0].options else "right")
    for place, found in enumerate(findings, 1):
        stderr = f" ±{found.stderr:.3f}" if len(found.runs) > 1 else ""
        ends = [f"{found.mean:.3f}{stderr}", str(len(found.runs)), str(found.steps), ", ".join(found.runs)]
        shown.add_row(str(place), *(Text(_short(value)) for value in found.options.values()), *ends)
    return shown


def summarize(folder: Path, metric: str) -> list[Finding]:
    """Print the ranking of a search, and write ranking.csv, ranking.txt and, with Optuna, plots to its folder.

    Raises:
        InputError: the folder has no validated run, or one without the metric.
    """
    runs = read(folder)
    findings = rank(runs, metric)
    shown = table(findings, f"{folder.name}: {metric}, best first", metric)
    text = as_text(shown)
    print(text)
    with whole_file(folder / "ranking.txt") as file:
        file.write(text)
    rows: list[Mapping[str, Any]] = [
        {"rank": place, **found.options, metric: found.mean, "stderr": found.stderr, "seeds": len(found.runs)}
        | {"steps": found.steps, "runs": " ".join(found.runs)}
        for place, found in enumerate(findings, 1)
    ]
    write_csv(folder / "ranking.csv", list(rows[0]), rows)
    drawn: list[str] = []
    if importlib.util.find_spec("optuna") is None:
        log.warning("no plots of %s without Optuna: pip install -e '.[sweeps]'", folder)
    else:
        from sweeps import plots  # imports Optuna

        scores = [run.metrics[metric] for run in runs]
        drawn = plots.draw(list(zip(varied(runs), scores, strict=True)), metric, folder)
    print(f"In {folder}: {', '.join(['ranking.txt', 'ranking.csv', *drawn])}{'' if drawn else '; no plots'}")
    return findings


RESULTS = ("search", "setting", "metric", "mean", "stderr", "seeds", "steps")
"""Columns of a results file, before those of `provenance`."""


def publish(folder: Path, path: Path) -> None:
    """Write all metrics of all settings of a search to a results file, replacing the rows of that search.

    Raises:
        InputError: there are no runs, or the path is another kind of file.
    """
    runs = read(folder)
    metrics = [name for name in runs[0].metrics if "/" in name and all(name in run.metrics for run in runs)]
    about = provenance(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    columns = (*RESULTS, *about)
    about["command"] = shlex.join(["python", "train.py", "-m", *_shared(runs)])
    rows = [row for row in read_csv(path, columns) if row["search"] != folder.name]
    for metric in metrics:
        for found in rank(runs, metric):
            setting = " ".join(f"{name}={value}" for name, value in found.options.items())
            named = {"search": folder.name, "setting": setting, "metric": metric, "mean": f"{found.mean:.6g}"}
            numbers = {"stderr": f"{found.stderr:.3g}", "seeds": str(len(found.runs)), "steps": str(found.steps)}
            rows.append(named | numbers | about)
    write_csv(path, columns, rows)


def _shared(runs: Sequence[Run]) -> list[str]:
    """The options that all runs share, as typed."""
    first, *others = (run.options for run in runs)
    return [f"{name}={value}" for name, value in first.items() if all(o.get(name) == value for o in others)]


class Ranking(Callback):
    """Callback of Hydra that summarizes a multirun when it ends."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Summarize the runs in the multirun's folder."""
        if config.optimized_metric is not None:
            summarize(Path(config.hydra.sweep.dir), config.optimized_metric)


def _short(value: str) -> str:
    """Numbers with four digits."""
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value


@one_sentence()
def main(
    folder: Annotated[Path, typer.Argument(help="Of a search, such as outputs/sweep/lr_by_variant.")],
    metric: Annotated[str, typer.Option(help="Settings are ranked by this.")] = "val/gain",
    results: Annotated[Path | None, typer.Option(metavar="CSV", help="Also write all metrics here.")] = None,
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Publish from a changed tree.")] = False,
) -> None:
    """Rank the settings of a search, and draw plots of it."""
    check_clean(results, allow_dirty)
    summarize(folder, metric)
    if results is not None:
        publish(folder, results)


if __name__ == "__main__":
    typer.run(main)
