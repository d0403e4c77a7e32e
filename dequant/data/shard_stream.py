"""The training stream over shards that can only be read from their beginning.

The stream has `lanes` lanes per process, and shard i of a pass's permutation belongs to lane i modulo their number
over all processes. Batch b of a process comes from its lane b mod `lanes`, whichever loading process makes it, and
carries the cursor from which its lane resumes. So the position of the whole stream follows from the batches that were
trained on, whatever has been loaded ahead of them.
"""

import copy
import itertools
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from dequant.data.checks import shown
from dequant.data.examples import Sample, batch
from dequant.data.remote_shards import SHARD_CLOSED, SHARD_CUT, UNREADABLE, RemoteShards
from dequant.data.samples import Raw
from dequant.errors import InputError
from dequant.io.formats import DAMAGED
from dequant.io.images import decode, header

log = logging.getLogger(__name__)


READ = "read"


PLAIN_MODES = frozenset({"RGB", "RGBA", "L", "LA", "P", "PA", "1"})


EMPTY_PASSES = 10


Counts = dict[int, Counter[str]]
"""Samples and shards of each pass by what became of them."""


@dataclass
class Cursor:
    """Where a lane resumes: at `slot` of the shuffled `block` of the `nth` shard of a pass.

    `counts` has the passes touched since the lane's last batch.
    """

    epoch: int = 0
    nth: int = 0
    block: int = 0
    slot: int = 0
    counts: Counts = field(default_factory=dict)

    def count(self, cause: str) -> None:
        """Add one of `cause` to the current pass."""
        self.counts.setdefault(self.epoch, Counter())[cause] += 1


class ShardStream(IterableDataset[tuple[int, Cursor, Sample]]):
    """Endless batches (lane, cursor after it, batch) from the lanes of one process.

    A sample is a function of the seed, the pass, and its position in the shards. Blocks of `shuffle` consecutive
    samples of a shard are shuffled. A pass reads every shard once; with `resample` each lane draws its shards with
    replacement instead. Unusable samples are skipped and counted by cause.

    Args:
        source: the shards.
        draw: makes a sample of an RGB photo, readers of its maps, a generator and, as `caption`, a reader of what its
            record says of it (`examples.training_sample` with its settings bound).
        min_side: pixels that the smaller side of a photo must have.
        batch_size: samples per batch.
        seed: one seed, one stream.
        lanes: per process; a multiple of the number of loading processes.
        shuffle: samples per block, which are in memory together, once per lane.
        resample: draw shards with replacement.
        ranks: number of processes and rank of this one.

    Raises:
        InputError: more lanes than shards.
    """

    def __init__(
        self,
        source: RemoteShards,
        draw: Callable[..., Sample],
        min_side: int,
        batch_size: int,
        seed: int,
        lanes: int,
        shuffle: int,
        resample: bool,
        ranks: tuple[int, int],
    ) -> None:
        self.source, self.draw, self.min_side, self.batch_size, self.seed = source, draw, min_side, batch_size, seed
        self.lanes, self.shuffle, self.resample = lanes, shuffle, resample
        (self.world, self.rank), self.all_lanes = ranks, lanes * ranks[0]
        if self.all_lanes > len(source.urls):
            raise InputError(
                f"The number of shards, {len(source.urls)}, is below that of lanes, {lanes} in each of {self.world} "
                f"processes: lower data.stream.lanes and data.num_workers, or pack more, smaller shards."
            )
        self.first, self.cursors = 0, dict[int, Cursor]()
        self._failed = 0  # shards in a row

    def start(self, first: int, cursors: dict[int, Cursor]) -> None:
        """Begin the next iteration at batch number `first`, each lane at its cursor or else at the beginning."""
        self.first, self.cursors = first, cursors

    def __iter__(self) -> Iterator[tuple[int, Cursor, Sample]]:
        worker = get_worker_info()
        mine, all_workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        walks: dict[int, tuple[Cursor, Iterator[Sample]]] = {}
        for number in itertools.count(self.first + mine, all_workers):
            lane = self.rank * self.lanes + number % self.lanes
            if lane not in walks:
                cursor = copy.deepcopy(self.cursors.get(lane, Cursor()))
                walks[lane] = cursor, self._walk(lane, cursor)
            cursor, walk = walks[lane]
            samples = list(itertools.islice(walk, self.batch_size))
            yield lane, copy.deepcopy(cursor), batch(samples)
            cursor.counts = {epoch: counts for epoch, counts in cursor.counts.items() if epoch == cursor.epoch}

    def shards(self, lane: int, epoch: int) -> np.ndarray:
        """Numbers of the shards of a lane in a pass, in order."""
        if self.resample:
            rng = np.random.default_rng([self.seed, epoch, lane])
            return rng.integers(len(self.source.urls), size=len(self.source.urls) // self.all_lanes)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.source.urls))
        return order[lane :: self.all_lanes]

    def _walk(self, lane: int, cursor: Cursor) -> Iterator[Sample]:
        """Samples of a lane from a cursor on, which each sample moves behind itself."""
        empty = 0
        while True:
            empty += 1
            for nth, shard in enumerate(self.shards(lane, cursor.epoch)):
                if nth == cursor.nth:
                    for sample in self._shard(self.source.urls[shard], [cursor.epoch, lane, nth], cursor):
                        empty = 0
                        yield sample
                    cursor.nth, cursor.block, cursor.slot = nth + 1, 0, 0
            if empty == EMPTY_PASSES:
                raise InputError(
                    f"{EMPTY_PASSES} passes over the shards of a lane gave no sample (in the last one, "
                    f"{described(cursor.counts.get(cursor.epoch, Counter()))}): check data.shards."
                )
            cursor.epoch, cursor.nth = cursor.epoch + 1, 0

    def _shard(self, url: str, key: list[int], cursor: Cursor) -> Iterator[Sample]:
        """Usable samples of a shard from the cursor's block and slot on."""
        reader, failure, done = self.source.samples(url, cursor.block * self.shuffle), "", False
        while not done:
            block: list[Raw] = []
            try:
                for raw in itertools.islice(reader, self.shuffle):
                    block.append(raw)
            except UNREADABLE as error:
                failure = SHARD_CUT if block or cursor.block else SHARD_CLOSED
                log.warning("Skipped %s of %s: %s", "the rest" if failure == SHARD_CUT else "all", shown(url), error)
                self._failed = self.source.give_up(self._failed, error)
            done = len(block) < self.shuffle
            order = np.random.default_rng([self.seed, *key, cursor.block]).permutation(self.shuffle)
            for slot in range(cursor.slot, self.shuffle):
                cursor.slot, index = slot + 1, int(order[slot])
                if index < len(block):
                    rng = np.random.default_rng([self.seed, *key, cursor.block * self.shuffle + index])
                    sample = self._sample(block[index], rng, cursor)
                    if sample is not None:
                        yield sample
            cursor.block, cursor.slot = cursor.block + 1, 0
        if failure:
            cursor.count(failure)
        else:
            self._failed = 0

    def _sample(self, raw: Raw, rng: np.random.Generator, cursor: Cursor) -> Sample | None:
        found = header(raw.image, self.min_side)
        cause = self.source.unfit(raw) or found.flaw
        if cause is None:
            try:
                image = decode(raw.image, shown(raw.key)[1:-1])
            except InputError:
                cause = DAMAGED
        cursor.count(cause or READ)
        if cause is not None:
            return None
        if found.mode not in PLAIN_MODES:
            cursor.count(f"converted from {found.mode}")
        if found.space:
            cursor.count(f"converted from {shown(found.space)[1:-1]}")
        return self.draw(image, [partial(bytes, data) for data in raw.maps], rng, caption=lambda: raw.caption)


class StreamLoader:
    """The batches of a stream, and the cursors and counts behind those that were trained on.

    Args:
        stream: of this process.
        loader: loads `stream` afresh at each iteration.
        done: number of batches of this process that the optimizer has seen.
    """

    def __init__(self, stream: ShardStream, loader: Iterable[Any], done: Callable[[], int]) -> None:
        self.stream, self.loader, self.done = stream, loader, done
        self.cursors = dict[int, Cursor]()
        self.counts: dict[int, Counts] = {}  # {pass: {lane: counts}}
        self._ahead: deque[tuple[int, int, Cursor]] = deque()

    def __iter__(self) -> Iterator[Sample]:
        self._commit()
        self._ahead.clear()
        first = self.done()
        self.stream.start(first, dict(self.cursors))
        with self.stream.source.reading():
            batches = iter(self.loader)  # outlives `reading`, since its end waits for the loading processes
            for number, (lane, cursor, samples) in enumerate(batches, first + 1):
                self._ahead.append((number, lane, cursor))
                yield samples
                self._commit()

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers: the cursors of this process's lanes, and the counts of unfinished passes.

        The keys `places` and `tallies` are those of earlier checkpoints.
        """
        self._commit()
        cursors = {lane: [c.epoch, c.nth, c.block, c.slot] for lane, c in self.cursors.items()}
        counts = {epoch: {lane: dict(own) for lane, own in lanes.items()} for epoch, lanes in self.counts.items()}
        return {"lanes": self.stream.all_lanes, "places": cursors, "tallies": counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a state, or from the union of those of several processes.

        Raises:
            InputError: the state has another number of lanes.
        """
        if state["lanes"] != self.stream.all_lanes:
            raise InputError(
                f"Expected {state['lanes']} lanes over all processes as in the checkpoint, got "
                f"{self.stream.all_lanes}: set data.stream.lanes to {state['lanes']} divided by the processes."
            )
        for lane in range(self.stream.rank * self.stream.lanes, (self.stream.rank + 1) * self.stream.lanes):
            if lane in state["places"]:
                own = {epoch: Counter(lanes[lane]) for epoch, lanes in state["tallies"].items() if lane in lanes}
                epoch, nth, block, slot = state["places"][lane]
                self.cursors[lane] = Cursor(epoch, nth, block, slot, {e: own[e] for e in own if e == epoch})
                self._count(lane, own)

    def total(self, epoch: int | None = None) -> Counter[str]:
        """Counts of this process in one pass, or in all unfinished ones."""
        chosen = self.counts.values() if epoch is None else [self.counts.get(epoch, {})]
        return sum((counts for lanes in chosen for counts in lanes.values()), Counter[str]())

    def _commit(self) -> None:
        """Move the cursors behind the batches that were trained on; report finished passes."""
        done = self.done()
        while self._ahead and self._ahead[0][0] <= done:
            _, lane, cursor = self._ahead.popleft()
            self.cursors[lane] = cursor
            self._count(lane, cursor.counts)
        while len(self.cursors) == self.stream.lanes:
            first = min(self.counts, default=None)
            if first is None or first >= min(cursor.epoch for cursor in self.cursors.values()):
                break
            log.info("pass %d over the shards: %s", first, described(self.total(first)))
            del self.counts[first]

    def _count(self, lane: int, counts: Counts) -> None:
        for epoch, own in counts.items():
            self.counts.setdefault(epoch, {})[lane] = own


def union(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One state of those of several processes, whose lanes differ."""
    whole: dict[str, Any] = {"lanes": states[0]["lanes"], "places": {}, "tallies": {}}
    for state in states:
        whole["places"].update(state["places"])
        for epoch, lanes in state["tallies"].items():
            whole["tallies"].setdefault(epoch, {}).update(lanes)
    return whole


def described(counts: Counter[str]) -> str:
    """Counts in words: samples read, then everything else by cause."""
    others = ", ".join(f"{count} {cause}" for cause, count in sorted(counts.items()) if cause != READ)
    return f"{counts[READ]} samples read; {others or 'none skipped'}"
