"""The LightningModule of spatial alignment: it learns from photos and warped copies of them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dequant.color.luminance import grayscale
from dequant.condition.warps import random_warp
from dequant.io.files import whole_folder
from dequant.models.aligner import CELL, Aligner, warped
from dequant.models.finite import copy_for_release
from dequant.models.hub import Source
from dequant.training.learner import Learner, Optimizer, Schedule

Batch = dict[str, Any]


class AlignerTraining(Learner):
    """Teaches an aligner where the pixels of a warped grey photo were before.

    Args:
        aligner: what learns.
        optimizer: makes the optimizer from parameters.
        lr_schedule: makes a per-step schedule from the optimizer, or None for a constant rate.
        most: pixels by which the knots of a warp move at most.
        jitter: how far contrast and brightness of the copy change at most: what is drawn is not as light as the photo.
    """

    kept = ("aligner.",)

    def __init__(
        self,
        aligner: Aligner,
        optimizer: Optimizer | None = None,
        lr_schedule: Schedule | None = None,
        most: float = 8.0,
        jitter: float = 0.2,
    ) -> None:
        super().__init__(optimizer, lr_schedule)
        self.aligner, self.most, self.jitter = aligner, most, jitter

    @property
    def trained(self) -> Aligner:
        """The aligner."""
        return self.aligner

    @property
    def multiple(self) -> int:
        """Pixels per side of a cell."""
        return CELL

    def _pairs(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Warped grey photos, the others with other contrast, and the offsets between them."""
        gray = grayscale(batch["target"])[:, :1]
        rngs = [np.random.default_rng(seed) for seed in batch.get("seed", range(len(gray)))]
        flow = torch.stack([random_warp(gray.shape[-1], self.most, rng) for rng in rngs]).to(gray)
        change = torch.tensor(np.stack([rng.uniform(-self.jitter, self.jitter, 2) for rng in rngs])).to(gray)
        other = 0.5 + (1 + change[:, 0, None, None, None]) * (gray - 0.5) + change[:, 1, None, None, None] / 2
        return warped(gray, flow), other.clamp(0, 1), flow

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean end-point error of all rounds in pixels."""
        moved, other, flow = self._pairs(batch)
        value = torch.stack([end_point_error(found, flow) for found in self.aligner.found(moved, other)]).mean()
        self.log("train/loss", value, prog_bar=True, sync_dist=True)
        return value

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Log the end-point error, and that of no alignment; returns the photos brought back."""
        moved, other, flow = self._pairs(batch)
        found = self.aligner(moved, other)
        values = {
            "error": end_point_error(found, flow),
            "error_unaligned": end_point_error(torch.zeros_like(flow), flow),
        }
        for name, value in values.items():
            self.log(f"val/{name}", value, batch_size=len(flow), sync_dist=True)
        return warped(batch["target"], found)

    def columns(self, batch: Batch, output: Tensor) -> dict[str, Tensor]:
        """Warped grey photo, output and truth."""
        moved, _, flow = self._pairs(batch)
        return {"warped": moved.expand_as(output), "output": output, "truth": warped(batch["target"], flow)}

    def load_weights(self, path: str | Path) -> None:
        """Start from a folder that `save_pretrained` wrote."""
        self.aligner.load_state_dict(Source(path).model(None, Aligner).state_dict())

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the aligner for release, float16."""
        with whole_folder(Path(folder)) as partial:
            copy_for_release(self.aligner).save_pretrained(partial)


def end_point_error(found: Tensor, flow: Tensor) -> Tensor:
    """Mean distance in pixels between offsets (B, 2, H, W)."""
    return (found - flow).square().sum(1).add(1e-8).sqrt().mean()
