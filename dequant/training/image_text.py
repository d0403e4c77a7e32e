"""The LightningModule of a small image-text model (Radford et al., arXiv:2103.00020)."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dequant.condition.dull import DULL
from dequant.errors import InputError
from dequant.io.files import whole_folder
from dequant.models.image_text import ImageText
from dequant.training.learner import Learner, Optimizer, Schedule

Batch = dict[str, Any]

MOST_SHARPNESS = 100.0
"""Of the cosines, as in CLIP."""


class ImageTextTraining(Learner):
    """Teaches an image-text model which caption is of which photo.

    Args:
        model: what learns.
        optimizer: makes the optimizer from parameters.
        lr_schedule: makes a per-step schedule from the optimizer, or None for a constant rate.
        dull_share: share of the photos that lose their colour, with a text of `DULL` for a caption.

    Raises:
        InputError: there is no such share.
    """

    kept = ("model.",)

    def __init__(
        self,
        model: ImageText,
        optimizer: Optimizer | None = None,
        lr_schedule: Schedule | None = None,
        dull_share: float = 0.2,
    ) -> None:
        super().__init__(optimizer, lr_schedule)
        if not 0 <= dull_share <= 1:
            raise InputError(f"dull_share = {dull_share} is not a share: give a number from 0 to 1.")
        self.model, self.dull_share = model, dull_share

    @property
    def trained(self) -> ImageText:
        """The image-text model."""
        return self.model

    @property
    def multiple(self) -> int:
        """Pictures of any size are scaled to that of the network."""
        return 1

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross-entropy of captions given photos and of photos given captions."""
        photos, captions = self._dulled(batch)
        value = contrast(self._likeness(photos, captions), captions)
        self.log("train/loss", value, prog_bar=True, sync_dist=True)
        return value

    def _dulled(self, batch: Batch) -> tuple[Tensor, list[str]]:
        """Photos and captions, some without colour."""
        photos, captions = batch["target"].clone(), list(batch["caption"])
        for number, seed in enumerate(batch["seed"]):
            share, which = torch.rand(2, generator=torch.Generator().manual_seed(seed)).tolist()
            if share < self.dull_share:
                captions[number] = list(DULL)[int(which * len(DULL))]
                photos[number] = DULL[captions[number]](photos[number])
        return photos, captions

    def _likeness(self, photos: Tensor, captions: list[str]) -> Tensor:
        sharpness = self.model.sharpness.clamp(max=MOST_SHARPNESS)
        return sharpness * self.model.of_images(photos) @ self.model.of_texts(captions).T

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Log how often a photo's own caption is nearest, and how often it is nearer than texts without colour."""
        likeness = self._likeness(batch["target"], batch["caption"])
        own = same(batch["caption"])
        right = own[torch.arange(len(own)), likeness.argmax(1)].float()
        dull = self._likeness(batch["target"], list(DULL)).amax(1)
        values = {"accuracy": right.mean(), "colored": (likeness.diagonal() > dull).float().mean()}
        values["loss"] = contrast(likeness, batch["caption"])
        for name, value in values.items():
            self.log(f"val/{name}", value, batch_size=len(own), sync_dist=True)
        return batch["target"]

    def load_weights(self, path: str | Path) -> None:
        """Start from a folder that `save_pretrained` wrote."""
        self.model.load_state_dict(ImageText.from_pretrained(path).state_dict())

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model for release, float16."""
        with whole_folder(Path(folder)) as partial:
            self.model.save_pretrained(partial)


def contrast(likeness: Tensor, captions: list[str]) -> Tensor:
    """The mean of the cross-entropies by photo and by caption, of (B, B); equal captions are all right."""
    wanted = same(captions).to(likeness)
    wanted = wanted / wanted.sum(1, keepdim=True)
    return (F.cross_entropy(likeness, wanted) + F.cross_entropy(likeness.T, wanted)) / 2


def same(captions: list[str]) -> Tensor:
    """Which captions are equal, (B, B) bool."""
    return torch.tensor([[one == other for other in captions] for one in captions])
