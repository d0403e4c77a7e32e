"""Pictures of a validation: a grid in a file, and a table in Weights & Biases."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from PIL import Image
from torch import Tensor

from dequant.io import figures
from dequant.metrics import image
from dequant.training.learner import Learner


class Shown(NamedTuple):
    """A validation photo to show: number of colours ("" for none), and pictures (3, H, W) by their columns."""

    n_colors: int | str
    columns: dict[str, Tensor]


class Pictures(Callback):
    """Draws a grid of `Learner.columns` at each validation, which TensorBoard and Weights & Biases show.

    Args:
        folder: where the PNGs go.
        rows: photos for each number of colours.
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
        assert isinstance(pl_module, Learner)
        counts = batch["n_colors"].tolist() if "n_colors" in batch else [""] * len(outputs)
        columns = pl_module.columns(batch, outputs)
        for place, n_colors in enumerate(counts):
            if sum(shown.n_colors == n_colors for shown in self._shown) < self.rows:
                mine = {name: pictures[place].float().cpu() for name, pictures in columns.items()}
                self._shown.append(Shown(n_colors, mine))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the grid and log it."""
        if not self._shown:
            return
        counts, each = zip(*self._shown, strict=True)
        columns = {name: torch.stack([one[name] for one in each]) for name in each[0]}
        picture = figures.grid(columns, [f"N = {n}" if n else "" for n in counts])
        figures.save(picture, self.folder / f"step_{trainer.global_step:06d}.png")
        psnr = image.psnr(columns["output"], columns["truth"]).tolist()
        texture = ["on" if one.get("texture", torch.zeros(1)).any() else "off" for one in each]
        variant = getattr(pl_module, "variant", "")
        rows = [[trainer.global_step, variant, *row] for row in zip(counts, texture, psnr, strict=True)]
        self._shown = []
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("val/grid", np.asarray(picture), trainer.global_step, dataformats="HWC")
            if isinstance(logger, WandbLogger):
                _log_table(logger, rows, columns, trainer.global_step)


def _log_table(logger: WandbLogger, rows: list[list[Any]], columns: Mapping[str, Tensor], step: int) -> None:
    """Log a row for each photo: its labels, then one column for each of its pictures (B, 3, H, W)."""
    import wandb

    names = ["step", "variant", "n_colors", "texture", "psnr"]
    pictures = [[wandb.Image(Image.fromarray(tile)) for tile in figures.to_uint8(rgb)] for rgb in columns.values()]
    data = [[*row, *shown] for row, *shown in zip(rows, *pictures, strict=True)]
    logger.log_table("val/pictures", [*names, *(f"{name} picture" for name in columns)], data, step=step)
