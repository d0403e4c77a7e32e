import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib import pyplot as plt
from optuna.distributions import CategoricalDistribution, FloatDistribution

from sweeps import plots


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """No warnings, and no figure that stays in memory."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert not plt.get_fignums()


def test_runs_become_trials_with_short_names() -> None:
    grid = [({"variant": v, "model.optimizer.lr": lr}, 0.5) for v in "TL" for lr in ("3e-3", "1e-3")]
    study = plots.as_study([*grid, ({"variant": "G", "model.optimizer.lr": "1"}, float("nan"))])
    assert [trial.params for trial in study.trials[:2]] == [{"variant": "T", "lr": 3e-3}, {"variant": "T", "lr": 1e-3}]
    assert study.trials[0].distributions == {
        "variant": CategoricalDistribution(["T", "L"]),
        "lr": CategoricalDistribution([1e-3, 3e-3]),
    }


def test_names_stay_whole_where_short_ones_are_the_same() -> None:
    study = plots.as_study([({"a.lr": "1", "b.lr": "x"}, 0.1), ({"a.lr": "2.00004", "b.lr": "y"}, 0.2)])
    assert study.trials[1].params == {"a.lr": 2.0, "b.lr": "y"}


@pytest.mark.parametrize(("low", "log"), [(0.01, True), (0.2, False), (0, False)])
def test_many_numbers_are_on_a_continuous_axis(low: float, log: bool) -> None:
    runs = [({"x": str(low + number / 20)}, 0.1) for number in range(plots.MOST_CHOICES + 1)]
    (distribution,) = plots.as_study(runs).trials[0].distributions.values()
    assert distribution == FloatDistribution(low, low + plots.MOST_CHOICES / 20, log=log)


@pytest.mark.parametrize(
    ("scores", "names"),
    [
        ((0.1, 0.2, 0.3), {"parallel", "slices", "importances"}),
        ((0.5, 0.5, 0.5), {"parallel", "slices"}),
        ((0.1, 0.2, float("nan")), {"parallel", "slices"}),
        ((0.1, float("nan"), float("nan")), set()),
        ((float("nan"),) * 3, set()),
    ],
)
def test_draws_what_there_is_to_see(scores: tuple[float, ...], names: set[str], tmp_path: Path) -> None:
    options = ({"variant": "T", "seed": "1"}, {"variant": "L", "seed": "1"}, {"variant": "L", "seed": "2"})
    plots.draw(list(zip(options, scores, strict=True)), "val/gain", tmp_path)
    assert {path.stem for path in tmp_path.glob("*")} == names
