"""The training stream over shards that can only be read from their beginning.

The stream has `lanes` lanes per process, and shard i of a pass's permutation belongs to lane i modulo their number
over all processes. Batch b of a process comes from its lane b mod `lanes`, whichever loading process makes it, and
carries the place where its lane goes on. So the place of the whole stream follows from the batches that were
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
from PIL import Image
from torch.utils.data import IterableDataset, get_worker_info

from dequant.data.examples import Sample, batch
from dequant.data.remote_shards import SHARD_CLOSED, SHARD_CUT, UNREADABLE, Raw, RemoteShards
from dequant.errors import InputError
from dequant.io.images import DAMAGED, decode, header

log = logging.getLogger(__name__)


READ = "read"


PLAIN_MODES = frozenset({"RGB", "RGBA", "L", "LA", "P", "PA", "1"})


EMPTY_PASSES = 10


Tallies = dict[int, Counter[str]]


@dataclass
class Place:
    """Where a lane goes on: the next sample is `slot` of the shuffled `block` of the `nth` shard of a pass.

    `tallies` counts, for the passes touched since the lane's last batch, samples and shards by what became of them.
    """

    number: int = 0
    nth: int = 0
    block: int = 0
    slot: int = 0
    tallies: Tallies = field(default_factory=dict)

    def count(self, cause: str) -> None:
        """One more of `cause` in the present pass."""
        self.tallies.setdefault(self.number, Counter())[cause] += 1


class ShardStream(IterableDataset[tuple[int, Place, Sample]]):
    """Endless batches (lane, place after it, batch) from the lanes of one process.

    A sample is a function of the seed, the pass, and its place in the shards. Within a shard, blocks of `shuffle`
    consecutive samples are shuffled. A pass reads every shard once; with `resample` each lane draws its shards with
    replacement instead. A sample that cannot serve is left out and counted by cause.

    Args:
        source: the shards.
        draw: a sample of an RGB photo, readers of its maps and a generator (`samples.training_sample`, settings bound).
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
        draw: Callable[[Image.Image, Sequence[Callable[[], bytes]], np.random.Generator], Sample],
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
        self.first, self.places = 0, dict[int, Place]()

    def start(self, first: int, places: dict[int, Place]) -> None:
        """Begin the next iteration at batch number `first` with each lane at its place, or at the beginning."""
        self.first, self.places = first, places

    def __iter__(self) -> Iterator[tuple[int, Place, Sample]]:
        worker = get_worker_info()
        mine, all_workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        walks: dict[int, tuple[Place, Iterator[Sample]]] = {}
        for number in itertools.count(self.first + mine, all_workers):
            lane = self.rank * self.lanes + number % self.lanes
            if lane not in walks:
                place = copy.deepcopy(self.places.get(lane, Place()))
                walks[lane] = place, self._walk(lane, place)
            place, walk = walks[lane]
            samples = list(itertools.islice(walk, self.batch_size))
            yield lane, copy.deepcopy(place), batch(samples)
            place.tallies = {n: tally for n, tally in place.tallies.items() if n == place.number}

    def shards(self, lane: int, number: int) -> np.ndarray:
        """Numbers of the shards of a lane in a pass, in order."""
        if self.resample:
            rng = np.random.default_rng([self.seed, number, lane])
            return rng.integers(len(self.source.urls), size=len(self.source.urls) // self.all_lanes)
        order = np.random.default_rng([self.seed, number]).permutation(len(self.source.urls))
        return order[lane :: self.all_lanes]

    def _walk(self, lane: int, place: Place) -> Iterator[Sample]:
        """Samples of a lane from a place on; at each one, `place` is behind it."""
        empty = 0
        while True:
            empty += 1
            for nth, shard in enumerate(self.shards(lane, place.number)):
                if nth == place.nth:
                    for sample in self._shard(self.source.urls[shard], [place.number, lane, nth], place):
                        empty = 0
                        yield sample
                    place.nth, place.block, place.slot = nth + 1, 0, 0
            if empty == EMPTY_PASSES:
                raise InputError(f"{EMPTY_PASSES} passes over the shards of a lane gave no sample: check data.shards.")
            place.number, place.nth = place.number + 1, 0

    def _shard(self, url: str, key: list[int], place: Place) -> Iterator[Sample]:
        """Usable samples of one shard from the place's block and slot on."""
        reader, failure, done = self.source.samples(url, place.block * self.shuffle), "", False
        while not done:
            block: list[Raw] = []
            try:
                for raw in itertools.islice(reader, self.shuffle):
                    block.append(raw)
            except UNREADABLE as error:
                failure = SHARD_CUT if block or place.block else SHARD_CLOSED
                log.warning("Skipped %s of '%s': %s", "the rest" if failure == SHARD_CUT else "all", url, error)
            done = len(block) < self.shuffle
            order = np.random.default_rng([self.seed, *key, place.block]).permutation(self.shuffle)
            for slot in range(place.slot, self.shuffle):
                place.slot, index = slot + 1, int(order[slot])
                if index < len(block):
                    rng = np.random.default_rng([self.seed, *key, place.block * self.shuffle + index])
                    sample = self._sample(block[index], rng, place)
                    if sample is not None:
                        yield sample
            place.block, place.slot = place.block + 1, 0
        if failure:
            place.count(failure)

    def _sample(self, raw: Raw, rng: np.random.Generator, place: Place) -> Sample | None:
        found = header(raw.image, self.min_side)
        cause = self.source.unfit(raw) or found.flaw
        if cause is None:
            try:
                image = decode(raw.image, raw.key)
            except InputError:
                cause = DAMAGED
        place.count(cause or READ)
        if cause is not None:
            return None
        if found.mode not in PLAIN_MODES:
            place.count(f"converted from {found.mode}")
        return self.draw(image, [partial(bytes, data) for data in raw.maps], rng)


class StreamLoader:
    """The batches of a stream, and where the stream stands after those that were trained on.

    Args:
        stream: of this process.
        loader: loads `stream` afresh at each iteration.
        done: number of batches of this process that the optimizer has seen.
    """

    def __init__(self, stream: ShardStream, loader: Iterable[Any], done: Callable[[], int]) -> None:
        self.stream, self.loader, self.done = stream, loader, done
        self.places: dict[int, Place] = {}
        self.tallies: dict[int, Tallies] = {}
        self._ahead: deque[tuple[int, int, Place]] = deque()

    def __iter__(self) -> Iterator[Sample]:
        self._settle()
        self._ahead.clear()
        first = self.done()
        self.stream.start(first, dict(self.places))
        for number, (lane, place, samples) in enumerate(self.loader, first + 1):
            self._ahead.append((number, lane, place))
            yield samples
            self._settle()

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers: the places of this process's lanes, and the counts of the passes that are not over."""
        self._settle()
        places = {lane: [p.number, p.nth, p.block, p.slot] for lane, p in self.places.items()}
        tallies = {number: {lane: dict(t) for lane, t in of.items()} for number, of in self.tallies.items()}
        return {"lanes": self.stream.all_lanes, "places": places, "tallies": tallies}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state, or from the union of those of several processes.

        Raises:
            InputError: the stream had another number of lanes.
        """
        if state["lanes"] != self.stream.all_lanes:
            raise InputError(
                f"The checkpoint's stream has {state['lanes']} lanes over all processes, this one "
                f"{self.stream.all_lanes}: set data.stream.lanes so that lanes times processes agree."
            )
        for lane in range(self.stream.rank * self.stream.lanes, (self.stream.rank + 1) * self.stream.lanes):
            if lane in state["places"]:
                own = {n: Counter(of[lane]) for n, of in state["tallies"].items() if lane in of}
                number, nth, block, slot = state["places"][lane]
                here = {number: own[number]} if number in own else {}
                self.places[lane] = Place(number, nth, block, slot, here)
                for n, tally in own.items():
                    self.tallies.setdefault(n, {})[lane] = tally

    def total(self, number: int | None = None) -> Counter[str]:
        """Samples and shards of this process by what became of them: in one pass, or in those that are not over."""
        chosen = self.tallies if number is None else {number: self.tallies.get(number, {})}
        return sum((tally for of in chosen.values() for tally in of.values()), Counter[str]())

    def _settle(self) -> None:
        """Take over the places of batches that were trained on; report the passes that are over."""
        done = self.done()
        while self._ahead and self._ahead[0][0] <= done:
            _, lane, place = self._ahead.popleft()
            self.places[lane] = place
            for number, tally in place.tallies.items():
                self.tallies.setdefault(number, {})[lane] = tally
        while len(self.places) == self.stream.lanes:
            first = min(self.tallies, default=None)
            if first is None or first >= min(place.number for place in self.places.values()):
                break
            log.info("pass %d over the shards: %s", first, described(self.total(first)))
            del self.tallies[first]


def union(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One state of those of several processes, whose lanes differ."""
    whole: dict[str, Any] = {"lanes": states[0]["lanes"], "places": {}, "tallies": {}}
    for state in states:
        whole["places"].update(state["places"])
        for number, of in state["tallies"].items():
            whole["tallies"].setdefault(number, {}).update(of)
    return whole


def described(tally: Counter[str]) -> str:
    """Counts in words: samples read, then everything else by cause."""
    others = ", ".join(f"{count} {cause}" for cause, count in sorted(tally.items()) if cause != READ)
    return f"{tally[READ]} samples read; {others or 'none skipped'}"
