"""What everything in training shares: an optimizer over the part that learns, and checkpoints of that part."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from dequant.errors import InputError

Optimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
Schedule = Callable[[torch.optim.Optimizer], Any]


class Learner(L.LightningModule, ABC):
    """A LightningModule of which one part learns; the callbacks and train.py know no more of it than this.

    Args:
        optimizer: makes the optimizer from parameters.
        lr_schedule: makes a per-step schedule from the optimizer, or None for a constant rate.
    """

    kept: tuple[str, ...] = ()
    """Beginnings of the names of the tensors that a checkpoint holds."""

    def __init__(self, optimizer: Optimizer | None, lr_schedule: Schedule | None) -> None:
        super().__init__()
        self.optimizer = optimizer
        self.lr_schedule = lr_schedule
        self.strict_loading = False

    @property
    @abstractmethod
    def trained(self) -> nn.Module:
        """The part that learns."""

    @property
    @abstractmethod
    def multiple(self) -> int:
        """Training crops have sides that are multiples of this."""

    def columns(self, batch: dict[str, Any], output: Tensor) -> dict[str, Tensor]:
        """What a grid of a validation batch shows, left to right: pictures (B, 3, H, W) by name, output and truth too.

        Args:
            batch: of the validation.
            output: what `validation_step` made of it, (B, 3, H, W).
        """
        return {"output": output, "truth": batch["target"]}

    @abstractmethod
    def load_weights(self, path: str | Path) -> None:
        """Load what training starts from; `InputError` where there is no such."""

    @abstractmethod
    def save_pretrained(self, folder: str | Path) -> None:
        """Write the weights for release: the folder is replaced as a whole, or not at all."""

    def compile_parts(self) -> None:
        """Let torch.compile have the networks, in place: weights keep their names."""
        self.trained.compile()

    def configure_optimizers(self) -> Any:
        """The optimizer over the trained part, with its schedule stepped every batch."""
        if self.optimizer is None:
            raise InputError("This model was made without an optimizer: it samples, but cannot be trained.")
        try:
            optimizer = self.optimizer([p for p in self.trained.parameters() if p.requires_grad])
            schedule = self.lr_schedule(optimizer) if self.lr_schedule is not None else None
        except (TypeError, ValueError) as error:
            raise InputError(f"The optimizer cannot be made: {str(error).rstrip('.')}.") from error
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep only the tensors that training changes."""
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k.startswith(self.kept)}
