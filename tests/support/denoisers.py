"""A denoiser whose predictions are a function."""

from dataclasses import dataclass
from typing import Any

from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from dequant.diffusion.solver import Predict


@dataclass(frozen=True)
class Known:
    """In pixels, of any size; it reads nothing of the condition."""

    scheduler: SchedulerMixin
    predict: Predict
    texture: None = None
    is_latent: bool = False
    multiple: int = 1
    downscale: int = 1

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        return 3, height, width

    def start(self, condition: Tensor, **_: Any) -> Predict:
        return self.predict

    def decode(self, z: Tensor, in_tiles: bool = False) -> Tensor:
        return (z + 1) / 2
