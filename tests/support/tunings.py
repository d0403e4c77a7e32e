"""What DiffColor takes, small enough for tests."""

from pathlib import Path
from typing import Any

import torch

from dequant.color.luminance import grayscale
from dequant.colorization.aligning import Align
from dequant.colorization.diffcolor import Subject
from dequant.colorization.pictures import decoded
from dequant.colorization.semantic import Sampling
from dequant.colorization.tuning import Tuning
from dequant.models.mixing import GrayMix
from tests.support import latents
from tests.support.image_texts import judge

FEW = {"color_steps": 3, "embedding_steps": 3, "network_steps": 3}


def few(**changes: Any) -> Tuning:
    """A tuning of a few steps."""
    return Tuning(**{**FEW, **changes})


def subject(coder: Path, sampling: Sampling | None = None, align: Align = decoded, **changes: Any) -> Subject:
    """A grey photo, its networks and a prompt."""
    gray = grayscale(latents.batch(1)["target"])
    torch.manual_seed(6)
    mix = GrayMix(4)
    torch.nn.init.normal_(mix.layer.weight, std=0.3)
    base = latents.base(coder, **changes)
    return Subject(base, mix, judge(), gray, "a car on a car", sampling or Sampling(2, 2.0, 1), align)
