"""The run in Weights & Biases, and the weights kept there."""

import logging
import os
import sys
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger
from lightning_utilities.core.rank_zero import rank_zero_only

from dequant.io.files import whole_file
from dequant.masking import masked

log = logging.getLogger(__name__)


def wandb_logger(
    save_dir: str, id_file: str, project: str, entity: str | None, name: str, group: str, job_type: str, log_model: bool
) -> WandbLogger:
    """A logger of Weights & Biases. Training the same folder again resumes its run there.

    Without a key (`wandb login` or WANDB_API_KEY) it logs offline, unless WANDB_MODE says otherwise.

    Args:
        save_dir: folder that holds `wandb/`.
        id_file: keeps the id of the run; WANDB_RUN_ID, which agents of a sweep set, takes precedence.
        project: of the run.
        entity: team or user; None for the key's own.
        name: of the run, not necessarily unique.
        group: of related runs, such as a training and its evaluations.
        job_type: train or evaluate.
        log_model: also upload the best checkpoint at the end of a training.
    """
    import wandb  # here because it takes 0.5 s

    mode = os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False, verify=False) else "offline")
    run_id = os.environ.get("WANDB_RUN_ID") or _stored_id(Path(id_file), uuid.uuid4().hex[:8])
    options: dict[str, Any] = {"entity": entity, "group": group, "job_type": job_type, "mode": mode}
    if masked(sys.argv) != sys.argv:  # its metadata have the command, secrets included
        options["settings"] = wandb.Settings(x_disable_meta=True)
    return WandbLogger(name=name, save_dir=save_dir, id=run_id, project=project, log_model=log_model, **options)


def _stored_id(path: Path, fresh: str) -> str:
    if not path.is_file() and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        with whole_file(path) as file:
            file.write(fresh)
    return path.read_text() if path.is_file() else fresh


@contextmanager
def ended(loggers: Sequence[Logger]) -> Iterator[None]:
    """On leaving, write out what was logged and finish the run of Weights & Biases, so that the next is separate."""
    try:
        yield
    finally:
        for logger in loggers:
            if isinstance(logger, WandbLogger) and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
                run = logger.experiment
                run.finish()
                if run.settings.mode == "offline":
                    log.info("logged offline: upload with `wandb sync %s`", Path(run.dir).parent)
            else:
                logger.finalize("success")


def log_model(loggers: Iterable[Logger], weights: Path, name: str, aliases: Sequence[str]) -> None:
    """Log a folder of weights as an artifact of type model, to the loggers that store artifacts.

    Args:
        loggers: of a trainer.
        weights: the folder.
        name: of the artifact.
        aliases: of this version.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            import wandb

            artifact = wandb.Artifact(name, type="model")
            artifact.add_dir(str(weights))
            logger.experiment.log_artifact(artifact, aliases=list(aliases))
