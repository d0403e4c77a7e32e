"""Search with Optuna, with pruning: `python -m sweeps.study hparams_search=lr_by_variant search.trials=20`.

Each trial is a run of train.py in its own folder. The study is a database: the same command resumes a killed search,
and several processes that run it at once (or under Slurm's srun) share the trials.
"""

if __name__ == "__main__":  # ahead of the imports
    from dequant.errors import need

    need("optuna", "sweeps")

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
import lightning as L
import optuna
from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf
from optuna.trial import Trial, TrialState
from optuna.visualization.matplotlib import plot_optimization_history

from dequant.cli.hydra import one_sentence, plain, run
from dequant.errors import InputError
from dequant.evaluation.methods import settings_hash
from dequant.masking import masked
from dequant.training.checkpoints import Diverged
from sweeps import plots
from sweeps.summary import summarize
from train import train

log = logging.getLogger(__name__)

PRUNED_AT = "pruned_at"

OPTIONS = "options"

FREE = ("search.trials", "search.study", "logger", "run_dir")
"""Options that the runs of one study may have different."""


class Prune(Callback):
    """Reports each validation to a trial, and stops the training if the study's pruner says so.

    Args:
        trial: the trial.
        metric: the one that is optimized.
    """

    def __init__(self, trial: Trial, metric: str) -> None:
        self.trial = trial
        self.metric = metric

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report the metric, and stop the training of a pruned trial."""
        if self.metric not in trainer.callback_metrics:
            known = ", ".join(name for name in trainer.callback_metrics if name.startswith("val/"))
            raise InputError(f"There is no metric {self.metric!r}: choose optimized_metric among {known}.")
        self.trial.report(trainer.callback_metrics[self.metric].item(), trainer.global_step)
        if trainer.global_step < trainer.max_steps and self.trial.should_prune():
            self.trial.set_user_attr(PRUNED_AT, trainer.global_step)
            log.info("trial %d was pruned at step %d", self.trial.number, trainer.global_step)
            trainer.should_stop = True


def open_study(cfg: DictConfig, folder: Path) -> optuna.Study:
    """Open the study of a search, or create it.

    Raises:
        InputError: the search has no space, or the storage cannot be used.
    """
    if not cfg.get("search") or not cfg.search.space:
        raise InputError(
            "There is nothing to search: choose hparams_search=NAME with a search.space, such as lr_by_variant."
        )
    try:
        return optuna.create_study(
            study_name=cfg.search.name,
            storage=cfg.search.study or f"sqlite:///{folder}/study.db",
            pruner=instantiate(cfg.search.pruner),
            direction="maximize",
            load_if_exists=True,
        )
    except optuna.exceptions.StorageInternalError as error:
        raise InputError(f"The study cannot be stored ({error}): give another folder or search.study=URL.") from error


def refuse_other_options(study: optuna.Study, cfg: DictConfig) -> None:
    """Keep digests of the options of a study, and refuse others. The number of trials, the logger and so on are free.

    Raises:
        InputError: the study has other options.
    """
    options = _flat({name: value for name, value in plain(cfg).items() if name not in FREE})
    options = {name: settings_hash({name: value}) for name, value in options.items() if name not in FREE}
    if OPTIONS not in study.user_attrs:
        study.set_user_attr(OPTIONS, options)
    before = study.user_attrs[OPTIONS]
    if changed := sorted(name for name in before.keys() | options.keys() if before.get(name) != options.get(name)):
        raise InputError(
            f"The study '{study.study_name}' has other options ({', '.join(changed)} differ): give those, or start "
            "another study with search.name=OTHER."
        )


def _flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Options by their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in options.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def next_trial(study: optuna.Study, search: DictConfig, folder: Path) -> tuple[Trial, FileLock] | None:
    """An interrupted trial or a new one, with the lock on its folder; None when the study has enough trials.

    A trial whose lock is held belongs to a running process. The sampler is seeded by the search's seed plus the trial's
    number, so that no two processes draw the same values.
    """
    with FileLock(folder / "asking.lock"):
        for left in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            lock = FileLock(folder / str(left.number) / "trial.lock")
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            return Trial(study, left._trial_id), lock
        number = len(study.get_trials(deepcopy=False))
        if number >= search.trials:
            return None
        study.sampler = instantiate(search.sampler, seed=search.sampler.seed + number)
        trial = study.ask(instantiate(search.space))
        (folder / str(trial.number)).mkdir(exist_ok=True)
        lock = FileLock(folder / str(trial.number) / "trial.lock")
        lock.acquire()
        return trial, lock


def run_trial(study: optuna.Study, trial: Trial, given: Sequence[str], folder: Path) -> None:
    """Train with a trial's values in its folder, and tell the study the result."""
    drawn = [f"{name}={value}" for name, value in trial.params.items()]
    own = folder / str(trial.number)
    log.info("trial %d: %s", trial.number, " ".join(drawn))
    (own / ".hydra").mkdir(exist_ok=True)
    OmegaConf.save(OmegaConf.create(masked([*given, *drawn])), own / ".hydra" / "overrides.yaml")
    try:
        cfg = hydra.compose("train", [*given, *drawn, f"run_dir={own}", "ckpt_path=here"])
        value = train(cfg, [Prune(trial, cfg.optimized_metric)])
    except Diverged as error:
        log.warning("trial %d: %s", trial.number, error)
        study.tell(trial, state=TrialState.FAIL)
        return
    except InputError:
        study.tell(trial, state=TrialState.FAIL)
        raise
    if PRUNED_AT in trial.user_attrs:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, value, skip_if_finished=True)


def search(cfg: DictConfig, folder: Path, given: Sequence[str]) -> None:
    """Run trials until the study has `search.trials` of them, then rank them.

    Args:
        cfg: train.py's configuration with a search.
        folder: of the search; trials are in its subfolders.
        given: options of every trial.

    Raises:
        InputError: from `open_study`, `refuse_other_options` and the trials.
    """
    study = open_study(cfg, folder)
    refuse_other_options(study, cfg)
    old = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))
    log.info("%s: %d of %d trials are done", folder, old, cfg.search.trials)
    while (found := next_trial(study, cfg.search, folder)) is not None:
        trial, lock = found
        with lock:
            run_trial(study, trial, given, folder)
    summarize(folder, cfg.optimized_metric)
    plots.save(plot_optimization_history, study, cfg.optimized_metric, folder / "history.png")
    log.info("%s shows the trials", folder / "history.png")


@hydra.main(version_base="1.3", config_path="../conf", config_name="train")
def main(cfg: DictConfig) -> None:
    """Entry point of Hydra."""
    given = [option for option in plain(HydraConfig.get().overrides.task) if not option.startswith("search.trials=")]
    with one_sentence():
        search(cfg, Path(HydraConfig.get().runtime.output_dir), given)


if __name__ == "__main__":
    run(main)
