"""Training samples, which own all the randomness that is spent on them, and their endless stream by random access."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset, default_collate
from torch.utils.data.distributed import DistributedSampler

from dequant import InputError, segment_maps
from dequant.condition import random_window
from dequant.sources import Photos

Sample = dict[str, Any]
Condition = segment_maps.Condition


def training_sample(
    photo: Image.Image,
    maps: Sequence[Callable[[], bytes]],
    rng: np.random.Generator,
    condition: Condition,
    size: int,
    window: int | None,
) -> Sample:
    """Draw a sample of a photo: `segment_maps.training_sample`, a window of it, and the seed of its noise.

    Args:
        photo: RGB, both sides at least `size`.
        maps: read its maps of segments; may be empty.
        rng: the only source of randomness.
        condition: turns rgb (3, size, size), a generator and, where there are maps, a segmenter into tensors.
        size: side of the crop in pixels.
        window: side of the square cut out of it once there is a condition; None takes it whole.

    Returns:
        what `condition` returns, and `seed`, an integer below 2^63 that fixes the noise a training step adds.
    """
    sample = segment_maps.training_sample(photo, maps, condition, size, rng)
    if window is not None:
        sample = random_window(sample, window, rng)
    return sample | {"seed": int(rng.integers(2**63 - 1))}


def batch(samples: Sequence[Sample]) -> Sample:
    """Stack the tensors of samples; seeds stay a list of integers, which no device need be asked for."""
    tensors = [{key: value for key, value in sample.items() if key != "seed"} for sample in samples]
    seeds = [sample["seed"] for sample in samples if "seed" in sample]
    return default_collate(tensors) | ({"seed": seeds} if seeds else {})


class TrainingStream(Dataset[Sample]):
    """Sample k of the endless stream is a function of (seed, k) alone: photo, crop, mirror, condition.

    Photos come in a fresh permutation per pass; or they are drawn by `weights`, {part of a key: relative
    weight}, where a photo weighs the product over the parts its key contains. A damaged photo is replaced by
    the next one in line.
    """

    def __init__(
        self,
        photos: Photos,
        condition: Condition,
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
        return training_sample(image, self.photos.maps(index), rng, self.condition, self.size, self.window)

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
            raise InputError(f"The weight of '{part}' is {weight}: it must be finite and not negative.")
        matches = np.array([part in key for key in keys])
        if not matches.any():
            raise InputError(f"No training photo has '{part}' in its key; '{keys[0]}' is an example of one.")
        shares[matches] *= weight
    if not shares.any():
        raise InputError("The weights leave no training photo: some photo must have a positive weight.")
    return shares / shares.sum()


class StreamSampler(DistributedSampler[int]):
    """Endless indices start, start + 1, ... of a stream, every `num_replicas`-th of them on each rank.

    `start` is asked anew at each iteration, in the main process, so a resumed run goes on where it stopped.
    Being a DistributedSampler, it is left in place by a Lightning trainer that runs several processes.
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
