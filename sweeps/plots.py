"""Plots of a search by Optuna; the finished runs of any search, such as a grid of Hydra's, become a study."""

import io
import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import optuna
from matplotlib import pyplot as plt
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.visualization import matplotlib as visualization
from PIL import Image

from dequant.io import figures

optuna.logging.set_verbosity(optuna.logging.WARNING)
logging.getLogger("matplotlib.category").setLevel(logging.WARNING)

MOST_CHOICES = 12
"""An option with more numbers than this has a continuous axis."""


def draw(runs: Sequence[tuple[Mapping[str, str], float]], metric: str, folder: Path) -> list[str]:
    """Write parallel.png and slices.png of finished runs and, if there are two options or more, importances.png.

    There are no plots if no option differs among the runs that have a finite score.

    Args:
        runs: options and score of each run; all runs have the same options.
        metric: name of the score.
        folder: to write to.

    Returns:
        The names of the files.
    """
    study = as_study(runs)
    if not study.trials or not study.trials[0].params:
        return []
    drawn: dict[str, Callable[..., Any]] = {
        "parallel.png": visualization.plot_parallel_coordinate,
        "slices.png": visualization.plot_slice,
    }
    if len(study.trials[0].params) > 1 and len({trial.value for trial in study.trials}) > 1:
        drawn["importances.png"] = visualization.plot_param_importances
    for name, plot in drawn.items():
        save(plot, study, metric, folder / name)
    return list(drawn)


def as_study(runs: Sequence[tuple[Mapping[str, str], float]]) -> optuna.Study:
    """A study in memory: one trial per run with a finite score, with the options that differ among these."""
    finite = [(options, score) for options, score in runs if math.isfinite(score)]
    names = [name for name in runs[0][0] if len({options[name] for options, _ in finite}) > 1]
    short = [name.rsplit(".", 1)[-1] for name in names]
    labels = short if len(set(short)) == len(names) else names
    columns = {
        label: _values([options[name] for options, _ in finite]) for label, name in zip(labels, names, strict=True)
    }
    distributions = {label: _distribution(values) for label, values in columns.items()}
    study = optuna.create_study(direction="maximize")
    for number, (_, score) in enumerate(finite):
        params = {label: values[number] for label, values in columns.items()}
        study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=score))
    return study


def save(plot: Callable[..., Any], study: optuna.Study, metric: str, path: Path) -> None:
    """Write one of Optuna's plots as PNG."""
    matplotlib.use("agg")
    width = 2.4 + 2.4 * len(study.trials[0].params)
    with warnings.catch_warnings(), matplotlib.rc_context({"figure.constrained_layout.use": True}):
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        plot(study, target_name=metric)
        figure = plt.gcf()
        figure.set_size_inches(max(width, 6.4), 4.8)
        for axes in figure.axes:
            plt.setp(axes.get_xticklabels(), rotation=30, ha="right")
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=110)
        plt.close(figure)
    figures.save(Image.open(buffer).convert("RGB"), path)


def _values(column: Sequence[str]) -> list[Any]:
    """Integers, or floats of four digits, if all values are numbers; otherwise the words."""
    try:
        numbers = [float(value) for value in column]
    except ValueError:
        return list(column)
    if all(number.is_integer() for number in numbers):
        return [int(number) for number in numbers]
    return [float(f"{number:.4g}") for number in numbers]


def _distribution(values: Sequence[Any]) -> BaseDistribution:
    words = isinstance(values[0], str)
    choices = list(dict.fromkeys(values)) if words else sorted(set(values))
    if words or len(choices) <= MOST_CHOICES:
        return CategoricalDistribution(choices)
    low, high = float(choices[0]), float(choices[-1])
    return FloatDistribution(low, high, log=low > 0 and high / low >= 10)
