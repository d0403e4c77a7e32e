"""Folders of small photos, and data modules over them."""

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dequant.data.datasets import Evaluation
from dequant.data.module import ImageData
from dequant.data.sources import Folder

SIZE = 32
EVALUATION = {"n_colors", "texture_map", "limit", "split"}


def condition(rgb: Tensor, rng: np.random.Generator) -> dict[str, Tensor]:
    """Not the real condition, but one in which the crop and the state of the generator can be seen."""
    return {"condition": torch.cat([rgb, torch.full((4, *rgb.shape[1:]), rng.random())]), "target": rgb}


def picture(seed: int, width: int = 48, height: int = 40) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def jpeg(seed: int, **size: int) -> bytes:
    file = io.BytesIO()
    picture(seed, **size).save(file, "JPEG", quality=92)
    return file.getvalue()


def fill(folder: Path, count: int, split: str | None = None, start: int = 0) -> Path:
    target = folder / split if split else folder
    target.mkdir(parents=True, exist_ok=True)
    for seed in range(start, start + count):
        (target / f"photo_{seed:02}.jpg").write_bytes(jpeg(seed))
    return folder


def data(folder: Path, **changes: Any) -> ImageData:
    """A module over a folder; its evaluation is changed by the names of `EVALUATION`."""
    evaluation = Evaluation(**{name: changes.pop(name) for name in EVALUATION & changes.keys()})
    options = {"condition": condition, "size": SIZE, "batch_size": 3, "num_workers": 0, "seed": 5}
    return ImageData(source=Folder(folder), evaluation=evaluation, **options | changes)


def conditions(module: ImageData, batches: int = 5) -> Tensor:
    """What the first training batches show."""
    loader = module.train_dataloader()
    return torch.cat([batch["condition"] for batch in itertools.islice(loader, batches)])
