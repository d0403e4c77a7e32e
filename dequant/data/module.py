"""From photos to batches: one endless training stream and the evaluation sets.

A source (`Folder`, `Shards`, `RemoteShards`) knows which photos exist and in which split; `Photos` are those of one
split that can serve; `ImageData` turns them into conditions and targets. One seed gives one stream, whatever the
number of loading processes and however often the run is stopped and resumed.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dequant.data.crops import center_crop
from dequant.data.datasets import EvaluationSet, StreamSampler, TrainingStream
from dequant.data.examples import Condition, Sample, batch, training_sample
from dequant.data.shard_stream import ShardStream, StreamLoader, described, union
from dequant.data.sources import Folder, Photos, Shards, Source
from dequant.errors import InputError
from dequant.io.images import to_tensor

log = logging.getLogger(__name__)


TextureMap = Callable[[Tensor], Tensor]


class ImageData(LightningDataModule):
    """Training stream and evaluation sets over a folder of photos or a folder of shards.

    Batches are {"condition": (B, 7, size, size), "target": (B, 3, size, size)}, float32 in [0, 1]; those of
    evaluation with a texture map tell "n_colors" (B,) too. The training loader never ends: give the trainer
    `max_steps`, and count validations in steps.

    Args:
        condition: turns rgb (3, size, size) and a generator into a sample.
        size: side of the crops in pixels; photos smaller than that are skipped and counted.
        window: side of the squares cut out of the crops once these are quantized; None takes the crops whole.
        batch_size: samples per process and step.
        num_workers: loading processes; the stream does not depend on it.
        seed: one seed, one stream.
        root: folder of photos (`Folder`); exactly one of root and shards is given.
        shards: what `open_shards` opens.
        open_shards: a source from `shards`: `Shards` of a folder, or `RemoteShards` with their settings bound.
        stream: `ShardStream` with its settings bound, where the training photos are streamed; None takes them by
            random access (`TrainingStream`).
        weights: sampling weights, {part of a key: relative weight}; a photo that none applies to weighs 1.
        val_n_colors: numbers of colours of the palettes in evaluation batches; each photo appears with all.
        texture_map: texture of the evaluation batches; None lets `condition` draw them, always the same.
        val_size: side of the squares in evaluation batches; None takes `size`.
        eval_split: split of the test loader.
        max_val: at most so many photos in each evaluation set, evenly spread; None takes all.

    Raises:
        InputError: on construction for wrong numbers, on first use for missing or unusable photos.
    """

    def __init__(
        self,
        *,
        condition: Condition,
        size: int,
        batch_size: int,
        num_workers: int,
        seed: int,
        root: str | None = None,
        shards: str | None = None,
        open_shards: Callable[[str], Source] = Shards,
        stream: Callable[..., ShardStream] | None = None,
        weights: Mapping[str, float] | None = None,
        val_n_colors: Sequence[int] = (16,),
        texture_map: TextureMap | None = None,
        val_size: int | None = None,
        eval_split: str = "test",
        max_val: int | None = None,
        window: int | None = None,
    ) -> None:
        super().__init__()
        if (root is None) == (shards is None):
            raise InputError(
                "Say where the photos are: exactly one of root (a folder of photos) and shards (a folder of shards)."
            )
        if stream is not None and weights:
            raise InputError("Streamed photos cannot be weighted: leave out data.weights, or read a folder of shards.")
        val_size = size if val_size is None else val_size
        smallest = {"size": 1, "val_size": 1, "batch_size": 1, "num_workers": 0, "seed": 0, "max_val": 1}
        given = (size, val_size, batch_size, num_workers, seed, 1 if max_val is None else max_val)
        for (name, least), value in zip(smallest.items(), given, strict=True):
            if value < least:
                raise InputError(f"{name} is {value}: it must be at least {least}.")
        self.condition, self.size, self.batch_size, self.seed = condition, size, batch_size, seed
        if window is not None and not 1 <= window <= size:
            raise InputError(f"window is {window}: it must be from 1 to size, which is {size}.")
        self.window, self.num_workers, self.weights = window, num_workers, weights
        self.root, self.shards, self.open_shards, self.stream = root, shards, open_shards, stream
        self.val_n_colors, self.texture_map = tuple(val_n_colors), texture_map
        self.val_size, self.eval_split, self.max_val = val_size, eval_split, max_val
        self._in_use: dict[str, Photos] = {}
        self._streamed: StreamLoader | None = None
        self._resumed: dict[str, Any] = {}

    @cached_property
    def source(self) -> Source:
        """The folder or the shards, opened on first use."""
        return Folder(self.root) if self.root is not None else self.open_shards(str(self.shards))

    @property
    def skipped(self) -> dict[str, dict[str, int]]:
        """Photos skipped so far, {split: {cause: count}}, for the splits in use that are not streamed."""
        return {split: photos.skipped for split, photos in self._in_use.items()}

    def setup(self, stage: str) -> None:
        """Check the photos that `stage` (fit, validate or test) starts with, and report those skipped."""
        for name, split in (("fit", "train"), ("validate", "val"), ("test", self.eval_split)):
            if stage == name and (split != "train" or self.stream is None):
                self._usable(split)

    def teardown(self, stage: str) -> None:
        """Report the counts of a stream's passes that are not over."""
        if self._streamed is not None:
            log.info("since the last whole pass over the shards: %s", described(self._streamed.total()))

    def state_dict(self) -> dict[str, Any]:
        """Where a stream stands, of all processes; called in each of them."""
        if self._streamed is None:
            return {}
        states = [self._streamed.state_dict()]
        if self._ranks[0] > 1:
            states = states * self._ranks[0]
            torch.distributed.all_gather_object(states, states[0])
        return union(states)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the stream go on there."""
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
        """Every photo of `eval_split` once, in order."""
        return self._loader(self._evaluation_set(self.eval_split))

    def photos(self, split: str, size: int | None = None) -> Iterator[tuple[str, Tensor]]:
        """(key, rgb) of each sound photo of `split`: as it is, or its centred square scaled to `size`."""
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
        photos, palette = self._usable(split), (self.val_n_colors, self.texture_map)
        return EvaluationSet(photos, self.condition, self.val_size, self.seed, self.max_val, *palette)

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
