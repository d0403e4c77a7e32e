"""What a search found, as a ranked table and plots: `python -m sweeps.summary outputs/sweep/NAME`."""

import argparse
import json
import math
import shlex
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from rich import box
from rich.console import Console
from rich.table import Table

from dequant.cli.hydra import one_sentence
from dequant.errors import InputError
from dequant.io import figures
from dequant.io.files import read_csv, whole_file, write_csv
from dequant.metrics.image import mean_and_stderr
from dequant.provenance import check_clean, provenance


class Finding(NamedTuple):
    """One setting: its options, the runs that share it (they differ in their seed), mean and standard error."""

    options: dict[str, str]
    runs: list[str]
    steps: int
    mean: float
    stderr: float


def read(folder: Path) -> list[tuple[str, dict[str, str], dict[str, float]]]:
    """Folder, options and metrics of each run of a search that has been validated.

    Raises:
        InputError: there is none.
    """
    found = []
    for path in sorted(folder.glob("*/metrics.json"), key=lambda path: (len(path.parent.name), path.parent.name)):
        overrides = OmegaConf.load(path.parent / ".hydra" / "overrides.yaml")
        options = dict(str(override).lstrip("+").split("=", 1) for override in overrides)
        found.append((path.parent.name, options, json.loads(path.read_text())))
    if not found:
        raise InputError(
            f"'{folder}' holds no run that was validated: give the folder of a search, outputs/sweep/NAME."
        )
    return found


def rank(folder: Path, metric: str) -> list[Finding]:
    """The settings of a search by the mean of a metric over their seeds, best first.

    Args:
        folder: of the search.
        metric: one of those in metrics.json.

    Raises:
        InputError: there are no runs, or they have no such metric.
    """
    runs = read(folder)
    for name, _, metrics in runs:
        if metric not in metrics:
            raise InputError(f"{name} has no metric {metric!r}: choose one of {', '.join(metrics)}.")
    given = [name for name in dict.fromkeys(name for _, options, _ in runs for name in options) if name != "seed"]
    varied = [name for name in given if len({options.get(name) for _, options, _ in runs}) > 1]
    settings: dict[tuple[str, ...], list[tuple[str, dict[str, float]]]] = defaultdict(list)
    for name, options, metrics in runs:
        settings[tuple(options.get(option, "") for option in varied)].append((name, metrics))
    findings = []
    for values, members in settings.items():
        scores = torch.tensor([metrics[metric] for _, metrics in members], dtype=torch.float64)
        mean, stderr = mean_and_stderr(scores)
        steps = int(min(metrics.get("step", 0) for _, metrics in members))
        options = dict(zip(varied, values, strict=True))
        findings.append(Finding(options, [name for name, _ in members], steps, mean, stderr))
    return sorted(findings, key=lambda finding: (math.isnan(finding.mean), -finding.mean))


def table(findings: Sequence[Finding], title: str, metric: str) -> Table:
    """The ranking as a table."""
    shown = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for name in ("", *findings[0].options, metric, "seeds", "steps", "runs"):
        shown.add_column(name, justify="left" if name in findings[0].options else "right")
    for place, found in enumerate(findings, 1):
        stderr = f" ±{found.stderr:.3f}" if len(found.runs) > 1 else ""
        ends = [f"{found.mean:.3f}{stderr}", str(len(found.runs)), str(found.steps), ", ".join(found.runs)]
        shown.add_row(str(place), *map(_short, found.options.values()), *ends)
    return shown


TICK_GAP = 0.2
"""Least distance of two named places on an axis of length 1, so that their names do not overlap."""


class Axis(NamedTuple):
    """Places in [0, 1] of values, and the ticks that name some places."""

    places: list[float]
    ticks: dict[float, str]


def axis(values: Sequence[str]) -> Axis:
    """Numbers on a linear scale, or a logarithmic one where they span a decade; words evenly spaced."""
    try:
        numbers = np.array([float(value) for value in values])
    except ValueError:
        words = sorted(set(values))
        steps = {word: index / max(1, len(words) - 1) for index, word in enumerate(words)}
        return Axis([steps[value] for value in values], {place: word for word, place in steps.items()})
    scale = np.log if numbers.min() > 0 and numbers.max() / numbers.min() >= 10 else np.asarray
    low, high = scale(numbers.min()), scale(numbers.max())
    places = ((scale(numbers) - low) / max(high - low, 1e-12)).tolist()
    ticks: dict[float, str] = {}
    for place, number in sorted(zip(places, numbers, strict=True), key=lambda tick: (0 < tick[0] < 1, tick[0])):
        if all(abs(place - other) > TICK_GAP for other in ticks):
            ticks[place] = f"{number:.3g}"
    return Axis(places, ticks)


def parallel(findings: Sequence[Finding], metric: str) -> Image.Image:
    """Parallel coordinates: one line per setting through its options to its score, the best on top."""
    found = [finding for finding in findings if math.isfinite(finding.mean)]
    names = [*found[0].options, metric]
    columns = [[finding.options[name] for finding in found] for name in found[0].options]
    axes = [axis(column) for column in [*columns, [str(finding.mean) for finding in found]]]
    figure, canvas = _figure(1.2 + 2.2 * len(names), 4)
    plot = figure.add_subplot(xlim=(-0.2, len(names) - 0.6), ylim=(-0.05, 1.05))
    for line in reversed(range(len(found))):
        score = axes[-1].places[line]
        plot.plot(range(len(names)), [a.places[line] for a in axes], color=_color(score), alpha=0.4 + 0.6 * score, lw=2)
    for x, one in enumerate(axes):
        plot.axvline(x, color="black", linewidth=0.8)
        for place, label in one.ticks.items():
            plot.text(x + 0.04, place, label, fontsize=8, va="center", bbox={"fc": "white", "ec": "none", "pad": 0.5})
    plot.set_xticks(range(len(names)), [name.split(".")[-1] for name in names])
    plot.set_yticks([])
    plot.spines[:].set_visible(False)
    return _picture(canvas)


def slices(findings: Sequence[Finding], metric: str) -> Image.Image:
    """One panel per option: score over its values, other options as they came."""
    found = [finding for finding in findings if math.isfinite(finding.mean)]
    figure, canvas = _figure(1 + 3 * len(found[0].options), 3.2)
    for number, name in enumerate(found[0].options, 1):
        one = axis([finding.options[name] for finding in found])
        plot = figure.add_subplot(1, len(found[0].options), number, xlabel=name, ylabel=metric if number == 1 else "")
        means, errors = [finding.mean for finding in found], [finding.stderr for finding in found]
        plot.errorbar(one.places, means, errors, fmt="none", color="grey", linewidth=1)
        plot.scatter(one.places, means, c=[_color(place) for place in axis([str(m) for m in means]).places], zorder=2)
        plot.set_xticks(list(one.ticks), list(one.ticks.values()))
        plot.grid(alpha=0.3)
    return _picture(canvas)


def summarize(folder: Path, metric: str) -> list[Finding]:
    """Print the ranking, and write ranking.csv, ranking.txt, parallel.png and slices.png to the search's folder."""
    findings = rank(folder, metric)
    shown = table(findings, f"{folder.name}: {metric}, best first", metric)
    Console(width=None if sys.stdout.isatty() else 120).print(shown)
    with whole_file(folder / "ranking.txt") as file:
        Console(file=file, width=120).print(shown)
    rows: list[Mapping[str, Any]] = [
        {"rank": place, **found.options, metric: found.mean, "stderr": found.stderr, "seeds": len(found.runs)}
        | {"steps": found.steps, "runs": " ".join(found.runs)}
        for place, found in enumerate(findings, 1)
    ]
    write_csv(folder / "ranking.csv", list(rows[0]), rows)
    if findings[0].options and math.isfinite(findings[0].mean):
        figures.save(parallel(findings, metric), folder / "parallel.png")
        figures.save(slices(findings, metric), folder / "slices.png")
    return findings


RESULTS = ("search", "setting", "metric", "mean", "stderr", "seeds", "steps")
"""Columns of a results file, before those of `provenance`."""


def publish(folder: Path, path: Path) -> None:
    """Write all metrics of all settings of a search to a results file, in place of what it has of this search.

    Raises:
        InputError: there are no runs, or another file is at the path.
    """
    runs = read(folder)
    metrics = [name for name in runs[0][2] if "/" in name and all(name in found for _, _, found in runs)]
    about = provenance(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    columns, own = (*RESULTS, *about), _options_alike(runs)
    about["command"] = shlex.join(["python", "train.py", "-m", *own])
    rows = [row for row in read_csv(path, columns) if row["search"] != folder.name]
    for metric in metrics:
        for found in rank(folder, metric):
            setting = " ".join(f"{name}={value}" for name, value in found.options.items())
            named = {"search": folder.name, "setting": setting, "metric": metric, "mean": f"{found.mean:.6g}"}
            numbers = {"stderr": f"{found.stderr:.3g}", "seeds": str(len(found.runs)), "steps": str(found.steps)}
            rows.append(named | numbers | about)
    write_csv(path, columns, rows)


def _options_alike(runs: Sequence[tuple[str, dict[str, str], dict[str, float]]]) -> list[str]:
    """The options that all runs share, as they are typed."""
    first, *others = (options for _, options, _ in runs)
    return [f"{name}={value}" for name, value in first.items() if all(o.get(name) == value for o in others)]


class Ranking(Callback):
    """Summarizes a multirun when it ends, as Hydra's callback."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Summarize what is in the multirun's folder."""
        if config.optimized_metric is not None:
            summarize(Path(config.hydra.sweep.dir), config.optimized_metric)


def _short(value: str) -> str:
    """Numbers with four digits."""
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    return figure, FigureCanvasAgg(figure)


def _picture(canvas: Any) -> Image.Image:
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _color(score: float) -> tuple[float, ...]:
    from matplotlib import colormaps

    return colormaps["viridis"](0.9 * score)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m sweeps.summary", description=__doc__)
    parser.add_argument("folder", type=Path, help="of a search, such as outputs/sweep/lr_by_variant")
    parser.add_argument("--metric", default="val/gain", help="that settings are ranked by")
    parser.add_argument("--results", type=Path, metavar="CSV", help="write all metrics of all settings here, too")
    parser.add_argument("--allow-dirty", action="store_true", help="publish although files differ from the commit")
    arguments = parser.parse_args()
    with one_sentence():
        check_clean(arguments.results, arguments.allow_dirty)
        summarize(arguments.folder, arguments.metric)
        if arguments.results is not None:
            publish(arguments.folder, arguments.results)


if __name__ == "__main__":
    main()
