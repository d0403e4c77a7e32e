"""Datasets of one split: the endless training stream by random access, and the evaluation sets."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from dequant.color.palette import quantize
from dequant.condition.channels import for_palette
from dequant.data.checks import at_least
from dequant.data.crops import center_crop
from dequant.data.examples import Sample, training_sample
from dequant.data.segment_maps import MakeExample, about
from dequant.data.sources import Photos
from dequant.errors import InputError


class TrainingStream(Dataset[Sample]):
    """Sample k of the endless stream is a function of (seed, k) alone: photo, crop, mirror, condition.

    Photos come in a fresh permutation per pass, or are drawn by `weights`, {part of a key: relative weight}: a photo
    weighs the product over the parts that its key contains. A damaged photo is replaced by the next one.
    """

    def __init__(
        self,
        photos: Photos,
        condition: MakeExample,
        size: int,
        seed: int,
        weights: Mapping[str, float] | None = None,
        window: int | None = None,
    ) -> None:
        self.photos, self.condition, self.size, self.seed = photos, condition, size, seed
        self.window = window
        self._shares = _shares(photos.keys, weights) if weights else None
        self._pass, self._order = -1, np.arange(0)

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, k: int) -> Sample:
        rng = np.random.default_rng([self.seed, k])
        index, image = self._photo(k, rng)
        maps, caption = self.photos.maps(index), partial(self.photos.caption, index)
        return training_sample(image, maps, rng, self.condition, self.size, self.window, caption)

    def _photo(self, k: int, rng: np.random.Generator) -> tuple[int, Image.Image]:
        if self._shares is None:
            order, first = self._permutation(k // len(self)), k % len(self)
        else:
            order = np.flatnonzero(self._shares)
            first = int(np.searchsorted(np.cumsum(self._shares[order]), rng.random(), side="right"))
        for offset in range(len(order)):
            index = int(order[(first + offset) % len(order)])
            image = self.photos.image(index)
            if image is not None:
                return index, image
        raise InputError(f"All {len(order)} training photos are damaged: replace them by sound copies.")

    def _permutation(self, number: int) -> np.ndarray:
        if number != self._pass:
            self._order = np.random.default_rng([self.seed, number]).permutation(len(self))
            self._pass = number
        return self._order


def _shares(keys: Sequence[str], weights: Mapping[str, float]) -> np.ndarray:
    """Probability (len(keys),) of drawing each photo."""
    shares = np.ones(len(keys))
    for part, weight in weights.items():
        if not (np.isfinite(weight) and weight >= 0):
            raise InputError(f"The weight of '{part}' is {weight}: expected a finite number of at least 0.")
        matches = np.array([part in key for key in keys])
        if not matches.any():
            raise InputError(f"No training photo has '{part}' in its key; '{keys[0]}' is an example of one.")
        shares[matches] *= weight
    if not shares.any():
        raise InputError("The weights leave no training photo: some photo must have a positive weight.")
    return shares / shares.sum()


class StreamSampler(DistributedSampler[int]):
    """Endless indices start, start + 1, ... of a stream, every `num_replicas`-th of them on each rank.

    `start` is called at each iteration, in the main process, so that a run resumes where it stopped. Lightning leaves
    a DistributedSampler in place when it runs several processes.
    """

    def __init__(self, stream: TrainingStream, start: Callable[[], int], num_replicas: int = 1, rank: int = 0) -> None:
        super().__init__(stream, num_replicas=num_replicas, rank=rank, shuffle=False)
        self.start = start

    def __iter__(self) -> Iterator[int]:
        k = self.start() + self.rank
        while True:
            yield k
            k += self.num_replicas

    def __len__(self) -> int:
        raise TypeError("the training stream is endless")


@dataclass(frozen=True)
class Evaluation:
    """What evaluation batches are made of.

    Attributes:
        n_colors: numbers of colours of the palettes; each photo appears with all.
        texture_map: texture of rgb (3, H, W); None lets the training condition draw everything, always the same.
        size: side of the squares in pixels; None takes that of the training crops.
        limit: at most so many photos, evenly spread; None takes all.
        split: of the test batches.

    Raises:
        InputError: the size or the limit is below 1.
    """

    n_colors: Sequence[int] = (16,)
    texture_map: Callable[[Tensor], Tensor] | None = None
    size: int | None = None
    limit: int | None = None
    split: str = "test"

    def __post_init__(self) -> None:
        at_least(1, val_size=self.size, max_val=self.limit)


class EvaluationSet(Dataset[Sample]):
    """Centred squares of the sound photos with fixed conditions.

    All photos come with the first number of colours before the next one. Without a texture map each photo comes once,
    with what `condition` draws from a generator seeded by (seed, index).
    """

    def __init__(self, photos: Photos, condition: MakeExample, size: int, seed: int, evaluation: Evaluation) -> None:
        self.photos, self.condition, self.size, self.seed = photos, condition, size, seed
        self.n_colors, self.texture_map = tuple(evaluation.n_colors), evaluation.texture_map
        count = len(photos) if evaluation.limit is None else min(evaluation.limit, len(photos))
        chosen = [index * len(photos) // count for index in range(count)]
        self.indices = [index for index in chosen if photos.image(index) is not None]
        if not self.indices:
            raise InputError(f"All {count} evaluation photos are damaged: replace them by sound copies.")

    def __len__(self) -> int:
        return len(self.indices) * (1 if self.texture_map is None else len(self.n_colors))

    def __getitem__(self, index: int) -> Sample:
        palette, number = divmod(index, len(self.indices))
        image = self.photos.image(self.indices[number])
        if image is None:
            raise InputError(f"'{self.photos.keys[self.indices[number]]}' changed during the run: restore it.")
        rgb = center_crop(image, self.size)
        if self.texture_map is None:
            make = about(self.condition, partial(self.photos.caption, self.indices[number]), training=False)
            return make(rgb, np.random.default_rng([self.seed, index]))
        n = self.n_colors[palette]
        condition = for_palette(quantize(rgb, n).rgb, n, self.texture_map(rgb))
        return {"condition": condition, "target": rgb, "n_colors": torch.tensor(n)}
