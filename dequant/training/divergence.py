"""Training that diverges stops at once, and weights that are not finite are never written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils import _pytree

from dequant.condition.channels import Condition
from dequant.io import figures
from dequant.io.files import whole_path
from dequant.training import fsdp
from dequant.training.checkpoints import Diverged, LastCheckpoint, last_sound

ADVICE = "try a lower model.optimizer.lr or more model.lr_schedule.num_warmup_steps."


class Divergence(Callback):
    """Stops training, in all processes, at the first loss or gradient that is not finite, before the optimizer uses it.

    Each process keeps its batch in the run's folder: `diverged_step_<number>_rank_<number>.pt`, for `torch.load`, and a
    picture of it. Also logs the norm of the gradients, ahead of their clipping.

    In float16 the gradients overflow now and then: the scaler then skips the step and lowers its scale. That ends
    training only where the scale has fallen below 1.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self._batch: Any = None
        self._loss = torch.zeros(())
        self._suspect: tuple[Any, float] | None = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Remember the batch."""
        self._batch = batch

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        """Remember the loss; looking at it here would let a GPU wait."""
        self._loss = loss.detach()

    def on_train_batch_end(self, *_: Any) -> None:
        """Look at the loss of a batch whose gradients are only accumulated."""
        self._look()

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Stop if a loss since the last step, or the norm of the gradients, is not finite."""
        self._look()
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        norm = fsdp.gathered(nn.utils.get_total_norm(gradients))
        pl_module.log("train/grad_norm", norm)
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        overflows = not norm.isfinite() and (scaler is None or scaler.get_scale() < 1)
        if trainer.strategy.reduce_boolean_decision(overflows or self._suspect is not None, all=False):
            self._stop(trainer, norm.item())

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop, ahead of the checkpoint of the best, if pictures of the validation are not finite."""
        wrong = [name for name, value in trainer.callback_metrics.items() if name.startswith("val/") and value.isnan()]
        if wrong and not trainer.sanity_checking:
            raise Diverged(
                f"Training diverged by step {trainer.global_step} ({wrong[0]} is nan): {self._sound(trainer)}; {ADVICE}"
            )

    def _look(self) -> None:
        if self._suspect is None and not self._loss.isfinite():
            self._suspect = self._batch, self._loss.item()

    def _stop(self, trainer: L.Trainer, norm: float) -> None:
        batch, loss = self._suspect or (self._batch, self._loss.item())
        path = self.folder / f"diverged_step_{trainer.global_step:06d}_rank_{trainer.global_rank}.pt"
        _keep(batch, path)
        raise Diverged(
            f"Training diverged after step {trainer.global_step} (loss {loss:.3g}, norm of the gradients {norm:.3g}): "
            f"{self._sound(trainer)}, and the batch is kept in '{path}'; {ADVICE}"
        )

    def _sound(self, trainer: L.Trainer) -> str:
        return last_sound([one.folder for one in trainer.checkpoint_callbacks if isinstance(one, LastCheckpoint)])


def _keep(batch: Any, path: Path) -> None:
    """Write a batch, and a picture of it where it has condition and target."""
    with whole_path(path) as partial, partial.open("wb") as file:
        torch.save(_pytree.tree_map_only(Tensor, lambda value: value.detach().cpu(), batch), file)
    if isinstance(batch, Mapping) and {"condition", "target"} <= batch.keys():
        seen = Condition.of(batch["condition"])
        columns = {"quantized": seen.colors, "texture": seen.texture.mean(1, True).expand(-1, 3, -1, -1)}
        shown = {name: rgb.nan_to_num().clamp(0, 1) for name, rgb in (columns | {"target": batch["target"]}).items()}
        figures.save(figures.grid(shown), path.with_suffix(".png"))
