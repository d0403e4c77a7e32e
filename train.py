"""Train a variant, or the prior: `python train.py variant=T`, `python train.py -m variant=L,G,T`."""

import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
import lightning as L
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import DictConfig

from dequant.cli.hydra import keep_config, one_sentence, resolved, run
from dequant.errors import InputError
from dequant.models.control import bundled
from dequant.provenance import provenance
from dequant.training.checkpoints import is_whole, newest_whole
from dequant.training.loggers import ended, log_model

log = logging.getLogger(__name__)


def checkpoint_to_resume(cfg: DictConfig) -> Path | None:
    """The checkpoint that `ckpt_path` names; `last` is the newest whole one of the newest run of this name.

    `here` is that of the run in `run_dir`, or None where there is none yet.
    """
    if cfg.ckpt_path is None:
        return None
    if cfg.ckpt_path == "here":
        return newest_whole(Path(cfg.run_dir) / "checkpoints")
    if cfg.ckpt_path == "last":
        runs = Path(cfg.run_dir).parent
        found = sorted(runs.glob("*/checkpoints/step_*.ckpt"), key=lambda path: path.stat().st_mtime)
        newest = newest_whole(found[-1].parent) if found else None
        if newest is None:
            raise InputError(f"There is no run of {cfg.name} in {runs} to resume: start one without ckpt_path=last.")
        return newest
    path = Path(cfg.ckpt_path)
    if not path.exists():
        raise InputError(f"There is no checkpoint {path}: give the path of a .ckpt, or ckpt_path=last.")
    if not is_whole(path):
        raise InputError(f"The checkpoint {path} is damaged or cut short: give another, or ckpt_path=last.")
    return path


def train(cfg: DictConfig, more_callbacks: Sequence[Callback] = ()) -> float | None:
    """Compose, fit, save weights for release; returns the optimized metric.

    With `ckpt_path=here` a run that has its weights is not repeated.
    """
    if not isinstance(cfg.seed, int) or not 0 <= cfg.seed < 2**32:
        raise InputError(f"seed is {cfg.seed}: it must be from 0 to {2**32 - 1}.")
    L.seed_everything(cfg.seed, verbose=False)
    torch.set_float32_matmul_precision("high")
    if "OMP_NUM_THREADS" not in os.environ:  # a thread that waits for a data worker's core stalls all others
        torch.set_num_threads(max(1, (os.cpu_count() or 1) - cfg.data.num_workers))
    checkpoint = checkpoint_to_resume(cfg)
    if checkpoint is not None:
        cfg.run_dir = str(checkpoint.parents[1])
    folder = Path(cfg.run_dir)
    keep_config(cfg, folder / "config.yaml", same=cfg.ckpt_path == "here")
    if cfg.ckpt_path == "here" and (folder / "weights").is_dir():
        log.info("%s is complete", folder)
    else:
        fit(cfg, checkpoint, more_callbacks)
    metrics = folder / "metrics.json"
    return json.loads(metrics.read_text()).get(cfg.optimized_metric) if metrics.is_file() else None


def fit(cfg: DictConfig, checkpoint: Path | None, more_callbacks: Sequence[Callback]) -> None:
    """Train from a checkpoint or from the start, and save the weights."""
    if checkpoint is not None:
        log.info("resuming from %s", checkpoint)
    model, data = instantiate(cfg.model), instantiate(cfg.data.module)
    if cfg.rebase and cfg.init_weights is None:
        raise InputError("rebase=true needs an encoder to start from: give init_weights as well.")
    if cfg.init_weights is not None:
        model.load_weights(bundled(cfg.variant.name) if cfg.init_weights == "bundled" else cfg.init_weights, cfg.rebase)
    if cfg.compile:
        model.compile_parts()
    callbacks = [*instantiate(cfg.callbacks).values(), *more_callbacks]
    trainer: L.Trainer = instantiate(cfg.trainer, logger=instantiate(cfg.logger), callbacks=callbacks)
    settings = resolved(cfg) | provenance(trainer.strategy.root_device)
    weights = Path(cfg.run_dir) / "weights"
    with ended(trainer.loggers):
        for logger in trainer.loggers:
            logger.log_hyperparams(settings)
        try:
            trainer.fit(model, data, ckpt_path=checkpoint, weights_only=True)
        except SIGTERMException:
            sys.exit(f"stopped by SIGTERM at step {trainer.global_step}: resume with ckpt_path=last")
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            sys.exit(f"a loading process died at step {trainer.global_step} ({error}): resume with ckpt_path=last")
        if trainer.is_global_zero:
            model.save_pretrained(weights)
            log_model(trainer.loggers, weights, cfg.name, ["latest", f"step_{trainer.global_step}"])
    metrics = trainer.callback_metrics
    if trainer.is_global_zero and "val/psnr" in metrics:
        log.info(
            "validation PSNR %.2f dB, of the input %.2f dB: %+.2f dB; weights in %s",
            *(metrics[f"val/{key}"].item() for key in ("psnr", "psnr_input", "gain")),
            weights,
        )


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float | None:
    """Hydra's entry."""
    with one_sentence():
        return train(cfg)


if __name__ == "__main__":
    run(main)
