import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol

import optuna
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from dequant.errors import InputError
from sweeps import study
from tests.support.paths import CONF
from tests.support.searches import composed


class Killed(BaseException):
    pass


class Search(Protocol):
    def __call__(
        self, folder: Path, kill_at: int | None = None, n_trials: int = 6, options: Sequence[str] = ()
    ) -> list[tuple[str, float]]: ...


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> Search:
    """Runs a search of 6 trials whose trainings are a formula; it can be killed at one of them."""

    def searched(
        folder: Path, kill_at: int | None = None, n_trials: int = 6, options: Sequence[str] = ()
    ) -> list[tuple[str, float]]:
        trained: list[tuple[str, float]] = []

        def train(cfg: DictConfig, callbacks: list[study.Prune]) -> float:
            trained.append((cfg.run_dir, cfg.model.optimizer.lr))
            if len(trained) == kill_at:
                raise Killed
            value = -abs(cfg.model.optimizer.lr - 1e-3)
            (Path(cfg.run_dir) / "metrics.json").write_text(json.dumps({"step": 8, "val/gain": value}))
            return value

        monkeypatch.setattr(study, "train", train)
        given = ["hparams_search=lr_by_variant", *options]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("train", [*given, f"search.trials={n_trials}"])
            study.search(cfg, folder, given)
        return trained

    return searched


@pytest.mark.slow
def test_killed_study_resumes_its_trial(tmp_path: Path, search: Search) -> None:
    with pytest.raises(Killed):
        search(tmp_path, kill_at=3)
    known = optuna.load_study(study_name="lr_by_variant", storage=f"sqlite:///{tmp_path}/study.db")
    assert [trial.state.name for trial in known.trials] == ["COMPLETE", "COMPLETE", "RUNNING"]
    left = known.trials[2].params["model.optimizer.lr"]
    trained = search(tmp_path)
    assert trained[0] == (str(tmp_path / "2"), left)
    assert len({rate for _, rate in trained}) == 4
    assert [folder for folder, _ in trained] == [str(tmp_path / str(number)) for number in (2, 3, 4, 5)]
    assert search(tmp_path) == []
    assert len(search(tmp_path, n_trials=8)) == 2
    assert (tmp_path / "ranking.csv").read_text().count("\n") == 1 + 8
    assert {"parallel.png", "history.png"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.slow
def test_other_options_are_refused_and_lose_nothing(tmp_path: Path, search: Search) -> None:
    search(tmp_path, n_trials=2)
    for option in ("seed=1", "trainer.max_steps=7", "search.pruner.n_startup_trials=9", "+a=1"):
        name = option.lstrip("+").split("=")[0]
        with pytest.raises(InputError, match=rf"other options \(.*{name}.* differ\).*search.name=OTHER"):
            search(tmp_path, n_trials=8, options=[option])
    known = optuna.load_study(study_name="lr_by_variant", storage=f"sqlite:///{tmp_path}/study.db")
    assert [trial.state.name for trial in known.trials] == ["COMPLETE"] * 2
    assert len(search(tmp_path, n_trials=3)) == 1


def test_a_trial_of_a_running_process_is_left_to_it(tmp_path: Path) -> None:
    cfg = composed("train", "hparams_search=lr_by_variant", "search.trials=2")
    found = study.open_study(cfg, tmp_path)

    def next_trial() -> tuple[optuna.Trial, study.FileLock]:
        pair = study.next_trial(found, cfg.search, tmp_path)
        assert pair is not None
        return pair

    (first, lock), (second, other) = next_trial(), next_trial()
    assert (first.number, second.number) == (0, 1) and first.params != second.params
    assert study.next_trial(found, cfg.search, tmp_path) is None
    lock.release()
    again, lock = next_trial()
    assert again.number == 0 and again.params == first.params
    lock.release()
    other.release()


def test_pruning_stops_a_training_that_falls_behind() -> None:
    found = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(1, 0))
    trainers = []
    for value in (1.0, 0.5):
        trial = found.ask()
        prune = study.Prune(trial, "val/gain")
        metrics = {"val/gain": SimpleNamespace(item=lambda value=value: value)}
        trainer = SimpleNamespace(callback_metrics=metrics, global_step=4, max_steps=8, should_stop=False)
        prune.on_validation_end(trainer, None)  # type: ignore[arg-type]
        trainers.append((trainer.should_stop, trial.user_attrs.get(study.PRUNED_AT)))
        found.tell(trial, value)
    assert trainers == [(False, None), (True, 4)]


def test_a_search_without_space_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to search"):
        study.open_study(composed("train"), tmp_path)
