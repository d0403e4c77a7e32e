"""Train a variant, or the prior: `python train.py variant=T`, `python train.py -m variant=L,G,T`."""

if __name__ == "__main__":  # ahead of imports that take seconds
    from dequant.errors import obey_signals

    obey_signals(importing=True)

import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import lightning as L
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback, LambdaCallback, LearningRateMonitor, ProgressBar
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import DictConfig, ListConfig, OmegaConf

from dequant.cli.hydra import one_sentence, resolved, run
from dequant.cli.runs import differences, held, hide_secrets, keep_config, take_up
from dequant.errors import InputError
from dequant.models.control import bundled
from dequant.provenance import provenance
from dequant.training.callbacks import validation
from dequant.training.checkpoints import fault, newest_first, newest_whole
from dequant.training.learner import Learner
from dequant.training.loggers import ended, log_model

log = logging.getLogger(__name__)

COUNTS = (
    *("trainer.val_check_interval", "trainer.accumulate_grad_batches", "trainer.log_every_n_steps"),
    *("callbacks.last.every_n_steps", "callbacks.last.keep", "data.batch_size", "data.size"),
)
"""Options that are whole numbers from 1."""


def checkpoint_to_resume(cfg: DictConfig) -> Path | None:
    """The checkpoint that `ckpt_path` names; `last` is the newest sound one of the newest run of this name.

    `here` is that of the run in `run_dir`, or None where there is none yet.
    """
    if cfg.ckpt_path is None:
        return None
    if cfg.ckpt_path == "here":
        return newest_whole(Path(cfg.run_dir) / "checkpoints")
    if cfg.ckpt_path == "last":
        runs = Path(cfg.run_dir).parent
        found = sorted(runs.glob("*/checkpoints/step_*.ckpt"), key=lambda path: path.stat().st_mtime)
        if not found:
            raise InputError(f"There is no run of {cfg.name} in {runs} to resume: start one without ckpt_path=last.")
        newest = newest_whole(found[-1].parent)
        if newest is None:
            raise InputError(f"No checkpoint in {found[-1].parent} is sound: start a run without ckpt_path=last.")
        return newest
    path = Path(str(cfg.ckpt_path)).absolute()
    if not path.exists():
        raise InputError(f"There is no checkpoint {cfg.ckpt_path}: give the path of a .ckpt, or ckpt_path=last.")
    if (wrong := fault(path)) is not None:
        raise InputError(f"The checkpoint {path} {wrong}: give another, or ckpt_path=last.")
    return path


def check(cfg: DictConfig) -> None:
    """Refuse options that no training can have."""
    if not isinstance(cfg.seed, int) or not 0 <= cfg.seed < 2**32:
        raise InputError(f"seed is {cfg.seed}: it must be from 0 to {2**32 - 1}.")
    steps, epochs = cfg.trainer.max_steps, cfg.trainer.get("max_epochs")
    if not isinstance(steps, int) or steps < 1 or epochs not in (None, -1):
        raise InputError(
            f"trainer.max_steps is {steps} and trainer.max_epochs {epochs}: expected a number of steps and no epochs, "
            "as the stream of training photos has no end."
        )
    for name in COUNTS:
        value = OmegaConf.select(cfg, name)
        if value is not None and (not isinstance(value, int) or not 1 <= value < 2**31):
            raise InputError(f"{name} is {value}: expected a whole number from 1.")
    lr = OmegaConf.select(cfg, "model.optimizer.lr")
    if lr is not None and (not isinstance(lr, int | float) or not lr > 0):
        raise InputError(f"model.optimizer.lr is {lr}: expected a positive number, such as 1e-3.")
    for name in ("data.root", "data.shards"):
        if isinstance(place := OmegaConf.select(cfg, name), int | float | ListConfig):
            raise InputError(
                f"{name} is {place}, which is no text: put a name such as 2024 or [a] in quotes, \"{name}='2024'\"."
            )
    if cfg.variant.finish is not None:
        raise InputError(
            f"variant={cfg.variant.label} is {cfg.variant.name} with its outputs changed in evaluation: train "
            f"variant={cfg.variant.name}, and evaluate it with variant={cfg.variant.label}."
        )


def train(cfg: DictConfig, more_callbacks: Sequence[Callback] = ()) -> float | None:
    """Compose, fit, save weights for release; returns the optimized metric.

    With `ckpt_path=here` a run that has its weights is not repeated.
    """
    check(cfg)
    L.seed_everything(cfg.seed, verbose=False)
    torch.set_float32_matmul_precision("high")
    if "OMP_NUM_THREADS" not in os.environ:  # a thread that waits for a data worker's core stalls all others
        torch.set_num_threads(max(1, (os.cpu_count() or 1) - cfg.data.num_workers))
    here = cfg.ckpt_path == "here"
    checkpoint = None if here else checkpoint_to_resume(cfg)
    if checkpoint is not None:
        cfg.run_dir = str(checkpoint.parents[1])
        take_up(checkpoint.parents[1])
    folder = Path(cfg.run_dir)
    with held(folder):
        if here:
            checkpoint = checkpoint_to_resume(cfg)
            if changed := differences(cfg, folder / "config.yaml"):
                raise InputError(
                    f"'{folder}' holds a run with other options ({', '.join(changed)}; see its config.yaml): give "
                    "those, or another folder, as search.name=NAME does for a search."
                )
        if here and (folder / "weights").is_dir():
            log.info("%s is complete", folder)
        else:
            fit(cfg, checkpoint, more_callbacks)
        metrics = last_metrics(folder)
    return metrics.get(cfg.optimized_metric)


def last_metrics(folder: Path) -> dict[str, Any]:
    """All metrics of the last validation of a run, and its step; none where there was none."""
    path = folder / "metrics.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def fit(cfg: DictConfig, checkpoint: Path | None, more_callbacks: Sequence[Callback]) -> None:
    """Train from a checkpoint or from the start, and save the weights."""
    folder, data = Path(cfg.run_dir), instantiate(cfg.data.module)
    model = prepared(cfg)
    side = cfg.data.window or cfg.data.size
    if side % model.multiple:
        raise InputError(f"Crops of {side} pixels do not suit the base: data.size is a multiple of {model.multiple}.")
    if checkpoint is not None:
        if checkpoint.is_file():
            model.on_load_checkpoint(torch.load(checkpoint, map_location="cpu", mmap=True, weights_only=True))
        log.info("resuming from %s", checkpoint)
        if changed := differences(cfg, folder / "config.yaml"):
            log.warning("other options than before: %s", ", ".join(changed))
    callbacks = [one for one in (instantiate(cfg.callbacks) or {}).values() if one is not None]
    if not cfg.trainer.get("enable_progress_bar", True):
        callbacks = [one for one in callbacks if not isinstance(one, ProgressBar)]
    loggers = list((instantiate(cfg.get("logger")) or {}).values())
    if not loggers:
        callbacks = [one for one in callbacks if not isinstance(one, LearningRateMonitor)]
    begin = LambdaCallback(on_train_start=lambda trainer, _: begun(cfg, trainer))
    trainer: L.Trainer = instantiate(cfg.trainer, logger=loggers, callbacks=[*callbacks, *more_callbacks, begin])
    with ended(trainer.loggers):
        try:
            trainer.fit(model, data, ckpt_path=checkpoint, weights_only=True)
        except SIGTERMException as stop:
            sys.exit(f"stopped by {stop} at step {trainer.global_step}: {how_to_resume(folder)}")
        except OSError as error:
            if error.errno is not None and error.filename is None:  # such as a full disk
                error.filename = cfg.run_dir
            raise
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            sys.exit(f"a loading process died at step {trainer.global_step} ({error}): {how_to_resume(folder)}")
        if lacks_validation(cfg, checkpoint, trainer.global_step):
            trainer.validate(model, data, verbose=False)
        if trainer.is_global_zero:
            model.save_pretrained(folder / "weights")
            log_model(trainer.loggers, folder / "weights", cfg.name, ["latest", f"step_{trainer.global_step}"])
            log.info("%s; weights in %s", outcome(folder, trainer), folder / "weights")


def lacks_validation(cfg: DictConfig, checkpoint: Path | None, step: int) -> bool:
    """Whether a run was stopped between its last step and the validation that follows."""
    is_end = checkpoint is not None and checkpoint.resolve().stem == f"step_{step:06d}"  # nothing was left to train
    due = step * cfg.trainer.get("accumulate_grad_batches", 1) % cfg.trainer.val_check_interval == 0
    return is_end and due and last_metrics(Path(cfg.run_dir)).get("step") != step


def prepared(cfg: DictConfig) -> Learner:
    """The model, with the weights that it starts from."""
    model: Learner = instantiate(cfg.model)
    if not isinstance(model, Learner):
        raise InputError(f"model={cfg.name} is not trained: dequant colorize --method {cfg.name} tunes it to a photo.")
    if cfg.rebase and cfg.init_weights is None:
        raise InputError("rebase=true needs an encoder to start from: give init_weights as well.")
    if cfg.rebase and cfg.model.get("control") is None:
        raise InputError("rebase=true fits a control encoder to another base: leave it out for other models.")
    if cfg.init_weights is not None:
        path = bundled(cfg.variant.name) if cfg.init_weights == "bundled" else cfg.init_weights
        model.load_weights(path, **({"rebase": True} if cfg.rebase else {}))
    if cfg.compile:
        model.compile_parts()
    return model


def begun(cfg: DictConfig, trainer: L.Trainer) -> None:
    """Keep the options of a training that nothing refused, in the run's folder and in its logs."""
    settings = resolved(cfg) | provenance(trainer.strategy.root_device)
    for logger in trainer.loggers:
        logger.log_hyperparams(settings)
    if trainer.is_global_zero:
        keep_config(cfg, Path(cfg.run_dir) / "config.yaml")


def outcome(folder: Path, trainer: L.Trainer) -> str:
    """What the last validation of a training said."""
    metrics = last_metrics(folder)
    if not metrics:
        return f"no validation in {trainer.global_step} steps (trainer.val_check_interval is longer)"
    return f"step {metrics['step']}: {validation(metrics)}"


def how_to_resume(folder: Path) -> str:
    """How a run that was stopped is resumed."""
    saved = newest_first(folder / "checkpoints")
    return f"resume with ckpt_path=last (from {saved[0].stem})" if saved else "nothing is saved yet, start again"


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float | None:
    """Hydra's entry."""
    with one_sentence():
        hide_secrets()
        return train(cfg)


if __name__ == "__main__":
    run(main)
