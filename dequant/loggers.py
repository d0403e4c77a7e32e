"""What is logged beside scalars: pictures, models and tables; and how Weights & Biases is reached."""

import json
import logging
import os
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from PIL import Image
from torch import Tensor

from dequant import InputError, figures, metrics
from dequant.measurements import Row, whole_file
from dequant.protocols import LABELS

log = logging.getLogger(__name__)


def wandb_logger(
    save_dir: str, id_file: str, project: str, entity: str | None, name: str, group: str, job_type: str, log_model: bool
) -> WandbLogger:
    """A logger of Weights & Biases, whose run is gone on with when the same folder is trained again.

    Without a key (`wandb login` or WANDB_API_KEY) it logs offline, unless WANDB_MODE says otherwise.

    Args:
        save_dir: folder that holds `wandb/`.
        id_file: keeps the id of the run; WANDB_RUN_ID, which agents of a sweep set, goes before it.
        project: of the run.
        entity: team or user, None for the key's own.
        name: of the run, not necessarily unique.
        group: runs that belong together, such as a training and its evaluations.
        job_type: train or evaluate.
        log_model: upload the best checkpoint, too, at the end of a training.

    Raises:
        InputError: wandb is not installed.
    """
    try:
        import wandb
    except ImportError as error:
        raise InputError("Weights & Biases is not installed: pip install -e '.[wandb]', or logger=csv.") from error
    mode = os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False, verify=False) else "offline")
    run_id = os.environ.get("WANDB_RUN_ID") or _stored_id(Path(id_file), uuid.uuid4().hex[:8])
    options: dict[str, Any] = {"entity": entity, "group": group, "job_type": job_type, "mode": mode}
    return WandbLogger(name=name, save_dir=save_dir, id=run_id, project=project, log_model=log_model, **options)


def _stored_id(path: Path, fresh: str) -> str:
    if not path.is_file() and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        with whole_file(path) as file:
            file.write(fresh)
    return path.read_text() if path.is_file() else fresh


@contextmanager
def ended(loggers: Sequence[Logger]) -> Iterator[None]:
    """Write out what is logged on leaving, and end the run of Weights & Biases, so that the next one is another."""
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
    """Keep a folder of weights as an artifact of type model, where a logger keeps any.

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


def log_evaluation(
    logger: Logger, settings: Mapping[str, Any], cells: Sequence[Row], variant: str, x: str | None, folder: Path
) -> None:
    """Log an evaluation: the variant's cells as scalars, and where a logger shows them all cells and pictures.

    Args:
        logger: any.
        settings: the resolved configuration and the provenance.
        cells: rows of a results file.
        variant: whose cells become scalars, under `cell_key`.
        x: label along which they are a curve, such as n_colors; None for single values.
        folder: the pictures in it (PNG) are logged.
    """
    logger.log_hyperparams(dict(settings))
    points: dict[str, dict[str, float]] = defaultdict(dict)
    for cell in cells:
        if cell["variant"] == variant:
            points[cell[x] if x else ""][cell_key(cell, x)] = float(cell["mean"])
    for step, (place, values) in enumerate(points.items()):
        logger.log_metrics(values | ({f"eval/{x}": float(place)} if x else {}), step)
    if isinstance(logger, WandbLogger):
        protocol, columns = cells[0]["protocol"], list(cells[0])
        logger.log_table(f"eval/{protocol}/cells", columns, [list(cell.values()) for cell in cells])
        for path in sorted(folder.glob("*.png")):
            logger.log_image(f"eval/{protocol}/{path.stem}", [Image.open(path)])


def cell_key(cell: Mapping[str, str], x: str | None = None) -> str:
    """`eval/<protocol>/<metric>/<labels>`, such as `eval/inpainting/psnr/texture_on/method_mean`.

    Args:
        cell: a row of a results file, or as much of it.
        x: a label that is left out.
    """
    labels = [f"{name}_{cell[name]}" for name in LABELS if name != x and cell.get(name)]
    return "/".join(["eval", cell["protocol"], cell["metric"], *labels])


class LastMetrics(Callback):
    """Writes all metrics of the last validation to a JSON file, with the step it was at.

    Args:
        path: of the file.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the file."""
        if trainer.is_global_zero and not trainer.sanity_checking:
            values = {name: value.item() for name, value in trainer.callback_metrics.items()}
            with whole_file(self.path) as file:
                json.dump({"step": trainer.global_step} | values, file, indent=1)


class Shown(NamedTuple):
    """A validation photo to be shown: number of colours ("" where it has none), condition, output and photo."""

    n_colors: int | str
    condition: Tensor
    output: Tensor
    target: Tensor


class Pictures(Callback):
    """A grid at each validation, quantized | texture | output | truth, and a table where a logger shows them.

    Args:
        folder: where the PNGs go.
        rows: photos shown for each number of colours.
    """

    def __init__(self, folder: str, rows: int = 2) -> None:
        self.folder = Path(folder)
        self.rows = rows
        self._shown: list[Shown] = []

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the first photos of each number of colours."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        counts = batch["n_colors"].tolist() if "n_colors" in batch else [""] * len(outputs)
        for n_colors, *tensors in zip(counts, batch["condition"], outputs, batch["target"], strict=True):
            if sum(shown.n_colors == n_colors for shown in self._shown) < self.rows:
                self._shown.append(Shown(n_colors, *(tensor.float().cpu() for tensor in tensors)))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw them."""
        if not self._shown:
            return
        counts, *tensors = zip(*self._shown, strict=True)
        condition, output, target = map(torch.stack, tensors)
        columns = {
            "quantized": condition[:, :3],
            "texture": condition[:, 3:5].mean(1, keepdim=True).expand(-1, 3, -1, -1),
            "output": output,
            "truth": target,
        }
        picture = figures.grid(columns, [f"N = {n}" if n else "" for n in counts])
        figures.save(picture, self.folder / f"step_{trainer.global_step:06d}.png")
        psnr = metrics.psnr(output, target).tolist()
        given = ["on" if indicator.any() else "off" for indicator in condition[:, 6]]
        rows = [[trainer.global_step, pl_module.variant, *row] for row in zip(counts, given, psnr, strict=True)]
        self._shown = []
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("val/grid", np.asarray(picture), trainer.global_step, dataformats="HWC")
            if isinstance(logger, WandbLogger):
                _log_table(logger, rows, columns, trainer.global_step)


def _log_table(logger: WandbLogger, rows: list[list[Any]], columns: Mapping[str, Tensor], step: int) -> None:
    """Labels of each photo and its pictures (B, 3, H, W), one column each."""
    import wandb

    names = ["step", "variant", "n_colors", "texture", "psnr"]
    pictures = [[wandb.Image(Image.fromarray(tile)) for tile in figures.to_uint8(rgb)] for rgb in columns.values()]
    data = [[*row, *shown] for row, *shown in zip(rows, *pictures, strict=True)]
    logger.log_table("val/pictures", [*names, *(f"{name} picture" for name in columns)], data, step=step)
