"""From photos to batches: one endless training stream and the evaluation sets.

A source (`Folder`, `Shards`, `RemoteShards`) knows which photos exist and in which split; `Photos` are those of one
split that can serve; `ImageData` turns them into conditions and targets. One seed gives one stream, whatever the
number of loading processes and however often the run is stopped and resumed.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dequant.data.checks import at_least
from dequant.data.crops import center_crop
from dequant.data.datasets import Evaluation, EvaluationSet, StreamSampler, TrainingStream
from dequant.data.examples import Sample, batch, training_sample
from dequant.data.segment_maps import MakeExample
from dequant.data.shard_stream import ShardStream, StreamLoader, described, union
from dequant.data.sources import Photos, Source
from dequant.errors import InputError
from dequant.io.images import to_tensor

log = logging.getLogger(__name__)


class ImageData(LightningDataModule):
    """Training stream and evaluation sets over the photos of a source.

    Batches are {"condition": (B, 7, size, size), "target": (B, 3, size, size)}, float32 in [0, 1]. Training batches add
    "seed", B integers; evaluation batches with a texture map add "n_colors" (B,). The training loader never ends: give
    the trainer `max_steps`, and count validations in steps.

    Args:
        source: the photos.
        condition: makes condition and target of rgb (3, size, size) and a generator.
        size: side of the crops in pixels; smaller photos are skipped and counted.
        batch_size: samples per process and step.
        num_workers: loading processes; the stream does not depend on it.
        seed: one seed, one stream.
        window: side of the squares cut out of condition and target; None takes them whole.
        weights: sampling weights, {part of a key: relative weight}; a photo that none applies to weighs 1.
        stream: `ShardStream` with its settings bound, for a source that is streamed; None reads the training photos
            by random access (`TrainingStream`).
        evaluation: photos, palettes and texture of the evaluation batches; None takes the defaults.

    Raises:
        InputError: on construction for wrong numbers, on first use for unusable photos.
    """

    def __init__(
        self,
        *,
        source: Source,
        condition: MakeExample,
        size: int,
        batch_size: int,
        num_workers: int,
        seed: int,
        window: int | None = None,
        weights: Mapping[str, float] | None = None,
        stream: Callable[..., ShardStream] | None = None,
        evaluation: Evaluation | None = None,
    ) -> None:
        super().__init__()
        at_least(1, size=size, batch_size=batch_size, window=window)
        at_least(0, num_workers=num_workers, seed=seed)
        if window is not None and window > size:
            raise InputError(f"window is {window}: expected at most data.size, which is {size}.")
        if stream is not None and weights:
            raise InputError("Streamed photos cannot be weighted: leave out data.weights, or read a folder of shards.")
        self.source, self.condition, self.size, self.batch_size, self.seed = source, condition, size, batch_size, seed
        self.num_workers, self.window, self.weights, self.stream = num_workers, window, weights, stream
        self.evaluation = evaluation or Evaluation()
        self.val_size = self.evaluation.size or size
        self._in_use: dict[str, Photos] = {}
        self._streamed: StreamLoader | None = None
        self._resumed: dict[str, Any] = {}

    @property
    def skipped(self) -> dict[str, dict[str, int]]:
        """Photos skipped so far, {split: {cause: count}}, for the splits in use that are not streamed."""
        return {split: photos.skipped for split, photos in self._in_use.items()}

    def setup(self, stage: str) -> None:
        """Check the photos that `stage` (fit, validate or test) starts with, and report those skipped."""
        for name, split in (("fit", "train"), ("validate", "val"), ("test", self.evaluation.split)):
            if stage == name and (split != "train" or self.stream is None):
                self._usable(split)

    def teardown(self, stage: str) -> None:
        """Report the counts of a stream's unfinished passes."""
        if self._streamed is not None:
            log.info("since the last whole pass over the shards: %s", described(self._streamed.total()))

    def state_dict(self) -> dict[str, Any]:
        """Position of a stream in all processes; called in each of them."""
        if self._streamed is None:
            return {}
        states = [self._streamed.state_dict()]
        if self._ranks[0] > 1:
            states = states * self._ranks[0]
            torch.distributed.all_gather_object(states, states[0])
        return union(states)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the stream resume there."""
        self._resumed = state_dict

    def train_dataloader(self) -> DataLoader[Sample] | StreamLoader:
        """Endless loader that starts at the sample where the trainer's global step stands."""
        if self.stream is not None:
            self._streamed = self._stream_loader(self.stream)
            return self._streamed
        stream = TrainingStream(self._usable("train"), self.condition, self.size, self.seed, self.weights, self.window)
        return self._loader(stream, StreamSampler(stream, self._position, *self._ranks))

    def val_dataloader(self) -> DataLoader[Sample]:
        """Every photo of the split val once, in order."""
        return self._loader(self._evaluation_set("val"))

    def test_dataloader(self) -> DataLoader[Sample]:
        """Every photo of the split for evaluation once, in order."""
        return self._loader(self._evaluation_set(self.evaluation.split))

    def photos(self, split: str, size: int | None = None) -> Iterator[tuple[str, Tensor]]:
        """(key, rgb) of each sound photo of `split`: as it is, or its centred square scaled to `size`."""
        if size is not None and (not isinstance(size, int) or size < 1):
            raise InputError(f"Expected at least 1 pixel per side, or null for whole photos, got {size!r}.")
        photos = Photos(self.source, split, size or 1)
        for index, key in enumerate(photos.keys):
            image = photos.image(index)
            if image is not None:
                yield key, to_tensor(image) if size is None else center_crop(image, size)

    @property
    def _ranks(self) -> tuple[int, int]:
        """Number of processes, and the rank of this one."""
        return (1, 0) if self.trainer is None else (self.trainer.world_size, self.trainer.global_rank)

    def _batches_done(self) -> int:
        """Number of batches of each process that the optimizer has seen."""
        return 0 if self.trainer is None else self.trainer.global_step * self.trainer.accumulate_grad_batches

    def _position(self) -> int:
        """Number of samples that the optimizer has seen, over all processes."""
        return self._batches_done() * self.batch_size * self._ranks[0]

    def _stream_loader(self, stream_of: Callable[..., ShardStream]) -> StreamLoader:
        draw = partial(training_sample, condition=self.condition, size=self.size, window=self.window)
        stream = stream_of(self.source, draw, self.size, self.batch_size, self.seed, ranks=self._ranks)
        if stream.lanes % max(self.num_workers, 1):
            raise InputError(
                f"{stream.lanes} lanes cannot be shared by {self.num_workers} loading processes: "
                f"data.stream.lanes must be a multiple of data.num_workers."
            )
        stream.source.check()
        loader = StreamLoader(stream, self._loader(stream), self._batches_done)
        if self._resumed:
            loader.load_state_dict(self._resumed)
        return loader

    def _usable(self, split: str) -> Photos:
        if split not in self._in_use:
            self._in_use[split] = Photos(self.source, split, self.size if split == "train" else self.val_size)
        return self._in_use[split]

    def _evaluation_set(self, split: str) -> EvaluationSet:
        return EvaluationSet(self._usable(split), self.condition, self.val_size, self.seed, self.evaluation)

    def _loader(self, dataset: Dataset[Any], sampler: StreamSampler | None = None) -> DataLoader[Any]:
        streamed = isinstance(dataset, ShardStream)
        return DataLoader(
            dataset,
            batch_size=None if streamed else self.batch_size,
            sampler=sampler,
            collate_fn=None if streamed else batch,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_one_thread,
            persistent_workers=self.num_workers > 0 and not streamed,  # each iteration starts at another place
        )


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
