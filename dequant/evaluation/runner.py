"""Run a protocol: make the pictures of its cases, measure each, and average over the photos.

Every measurement is a line of a CSV file, written at once, so that a stopped run resumes. A line belongs to a case
(`Case.digest`) and to the settings of what made the picture.
"""

import logging
import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text
from torch import Tensor

from dequant.color.rgb import to_uint8
from dequant.errors import InputError
from dequant.evaluation.cases import LABELS, Case, generator_of, partner_of, photo_digest
from dequant.evaluation.measure import METRICS, measure
from dequant.evaluation.measurements import KEY, Key, Measurements
from dequant.evaluation.methods import IDENTITY, Method
from dequant.io.files import Row
from dequant.metrics.image import mean_and_stderr

log = logging.getLogger(__name__)


ABOUT = (*KEY, "photo", "paper_item", *LABELS)


COLUMNS = (*ABOUT, *METRICS)
"""Of the files of measurements, which may have further metrics."""


Keep = Callable[[str, Case, Tensor], None]
"""Name of the method, case and picture (3, H, W) -> kept, to show it later."""


Measure = Callable[[Sequence[Key], Sequence[Case], Tensor], Sequence[Mapping[str, float]]]
"""Keys, cases and pictures (B, 3, H, W) -> further metrics of each picture."""


class Photo(NamedTuple):
    """A photo in 8 bits: its key, `photo_digest` and pixels (3, H, W)."""

    key: str
    digest: str
    pixels: Tensor

    @property
    def rgb(self) -> Tensor:
        """(3, H, W) float32 in [0, 1]."""
        return self.pixels.float() / 255


@dataclass(frozen=True)
class Work:
    """The cases of a protocol on some photos, always the same for one photo.

    Attributes:
        photos: all different.
        protocol: one of `protocols`, with its settings bound.
        seed: determines all draws, together with the photo.
        with_reference: whether the protocol takes a second photo, drawn among the others.
    """

    photos: Sequence[Photo]
    protocol: Callable[..., list[Case]]
    seed: int
    with_reference: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.seed, int) or self.seed < 0:
            raise InputError(f"Expected a seed of at least 0, got {self.seed!r}.")

    def cases(self, photo: Photo) -> list[Case]:
        """The cases of one photo."""
        rng = generator_of(photo.digest, self.seed)
        if not self.with_reference:
            return self.protocol(photo.rgb, rng)
        others = {other.digest: other for other in self.photos}
        return self.protocol(photo.rgb, rng, others[partner_of(photo.digest, list(others), self.seed)].rgb)


def choose(photos: Iterable[tuple[str, Tensor]], limit: int | None = None) -> list[Photo]:
    """Take all photos, or `limit` of them, independent of their order; copies count once.

    Args:
        photos: key and rgb (3, H, W) in [0, 1] of each.
        limit: None for all.

    Returns:
        The photos, ordered by digest.

    Raises:
        InputError: the limit is below 1, or there is no photo.
    """
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise InputError(f"Expected at least 1 photo to evaluate, or null for all, got {limit!r}.")
    found: dict[str, Photo] = {}
    for key, rgb in photos:
        photo = Photo(key, photo_digest(rgb), to_uint8(rgb))
        found.setdefault(photo.digest, photo)
        if limit is not None and len(found) > limit:
            del found[max(found)]
    if not found:
        raise InputError("None of the photos to evaluate can be read: replace them with sound copies.")
    return [found[digest] for digest in sorted(found)]


def metrics(work: Work) -> list[str]:
    """Names of the metrics that a protocol has, beside perceptual ones."""
    found = {name: None for case in work.cases(work.photos[0]) for name in measure(case, case.asked)}
    return [*found, *(["psnr_gain"] if "psnr" in found else [])]


def run(
    work: Work,
    methods: Mapping[str, Method],
    measurements: Measurements,
    *,
    batch_size: int,
    rank: int = 0,
    world_size: int = 1,
    keep: Keep | None = None,
    more: Measure | None = None,
) -> list[Row] | None:
    """Measure what has not been measured yet: pictures in threads, while others are made.

    Args:
        work: what to measure.
        methods: by their name in tables.
        measurements: those of earlier runs, to which new ones are added batch by batch.
        batch_size: pictures of one size made at a time.
        rank: this process takes every `world_size`-th photo.
        world_size: number of processes.
        keep: called with every new picture, from threads.
        more: measures the columns of `measurements` beyond `COLUMNS`.

    Returns:
        The measurements of all photos, old and new; None if other processes are still running.

    Raises:
        InputError: `batch_size` is below 1, or the photos do not suit the protocol.
    """
    wanted: list[Key] = []
    with _progress(disable=rank > 0) as progress:
        total = len(work.photos[rank::world_size]) * len(_jobs_of(work.photos[0], work, methods))
        task = progress.add_task("Evaluating", total=total)

        def missing() -> Iterator[_Job]:
            for job in _jobs(work, methods, rank, world_size, wanted):
                if job.key in measurements:
                    progress.update(task, total=(progress.tasks[task].total or 1) - 1)
                else:
                    yield job

        for batch, outputs, rows in _made(_batches(missing(), batch_size), methods, work.seed, keep):
            measurements.add(_with_more(rows, batch, outputs, more))
            progress.advance(task, len(batch))
    measurements.read()
    if not all(key in measurements for key in wanted):
        log.info("Other processes are still running: the last one to finish writes the tables.")
        return None
    return [measurements[key] for key in wanted]


def summarize(
    rows: Iterable[Row], of_cell: Callable[[Sequence[Row]], Mapping[str, float]] = lambda members: {}
) -> list[dict[str, Any]]:
    """Average measurements over photos.

    Args:
        rows: from `run`.
        of_cell: rows of a cell -> metrics of all its pictures together, which have no standard error.

    Returns:
        One dictionary per variant, cell and metric: variant, paper_item, `LABELS` ("" if a cell has none), metric,
        mean, stderr (its standard error or None) and n, the number of photos. Added is psnr_gain over the quantized
        input: photos differ far more than methods, so only the standard error of their gain tells whether one helps.
    """
    rows = list(rows)
    untouched = {row["case"]: row["psnr"] for row in rows if row["variant"] == IDENTITY}
    cells: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    names = ("variant", "paper_item", *LABELS)
    for row in rows:
        cells[tuple(row[name] for name in names)].append(row)
    summary = []
    for cell, members in cells.items():
        found = [metric for metric in members[0] if metric not in ABOUT]
        measured = {metric: [float(row[metric]) for row in members if row[metric]] for metric in found}
        if cell[0] != IDENTITY:
            pairs = [(row["psnr"], untouched.get(row["case"])) for row in members]
            measured["psnr_gain"] = [float(ours) - float(input_) for ours, input_ in pairs if ours and input_]
        about: dict[str, Any] = dict(zip(names, cell, strict=True))
        for metric, values in measured.items():
            if values:
                mean, stderr = mean_and_stderr(torch.tensor(values, dtype=torch.float64))
                summary.append(about | {"metric": metric, "mean": mean, "stderr": stderr, "n": len(values)})
        for metric, value in of_cell(members).items():
            summary.append(about | {"metric": metric, "mean": value, "stderr": None, "n": len(members)})
    return summary


class _Job(NamedTuple):
    name: str
    settings: str
    photo: Photo
    case: Case

    @property
    def key(self) -> Key:
        return self.name, self.settings, self.case.digest


def _jobs(work: Work, methods: Mapping[str, Method], rank: int, world_size: int, wanted: list[Key]) -> Iterator[_Job]:
    """The jobs of this process; the keys of all processes' jobs are added to `wanted`."""
    for index, photo in enumerate(work.photos):
        jobs = _jobs_of(photo, work, methods)
        wanted.extend(job.key for job in jobs)
        if index % world_size == rank:
            yield from jobs


def _jobs_of(photo: Photo, work: Work, methods: Mapping[str, Method]) -> list[_Job]:
    return [
        _Job(name, method.settings, photo, case)
        for case in work.cases(photo)
        for name, method in methods.items()
        if case.labels["texture"] in method.texture
    ]


def _batches(jobs: Iterable[_Job], size: int) -> Iterator[list[_Job]]:
    """Groups of at most `size` jobs of one method and one image size."""
    if not isinstance(size, int) or size < 1:
        raise InputError(f"Expected batches of at least 1 picture, got {size!r}.")
    waiting: dict[tuple[str, torch.Size], list[_Job]] = defaultdict(list)
    for job in jobs:
        group = job.name, job.case.condition.shape
        waiting[group].append(job)
        if len(waiting[group]) == size:
            yield waiting.pop(group)
    yield from waiting.values()


_Made = tuple[list[_Job], Tensor, list[Row]]
"""A batch, its pictures (B, 3, H, W) and their measurements."""


def _made(
    batches: Iterable[list[_Job]], methods: Mapping[str, Method], seed: int, keep: Keep | None
) -> Iterator[_Made]:
    """Make the pictures of batches, keep them, and only then measure them; in the order of the batches."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    waiting: deque[Future[_Made]] = deque()
    with ThreadPoolExecutor(workers, "evaluation") as pool:
        try:
            for batch in batches:
                method = methods[batch[0].name]
                outputs = _restored(batch, method, seed) if method.alone else None
                waiting.append(pool.submit(_finished, batch, method, outputs, seed, keep))
                while waiting and (waiting[0].done() or len(waiting) > 2 * workers):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _restored(batch: Sequence[_Job], method: Method, seed: int) -> Tensor:
    return method.restore([job.case for job in batch], [_noise(job.photo, seed) for job in batch])


def _finished(batch: list[_Job], method: Method, outputs: Tensor | None, seed: int, keep: Keep | None) -> _Made:
    outputs = _restored(batch, method, seed) if outputs is None else outputs
    for job, output in zip(batch, outputs, strict=True):
        if keep is not None:
            keep(job.name, job.case, output)
    return batch, outputs, [_row(job, output) for job, output in zip(batch, outputs, strict=True)]


def _noise(photo: Photo, seed: int) -> torch.Generator:
    """A generator, alike for all cases of a photo, so that cells and variants are compared on the same noise."""
    return torch.Generator().manual_seed(int(generator_of(photo.digest, seed).integers(2**62)))


def _with_more(rows: list[Row], batch: Sequence[_Job], outputs: Tensor, more: Measure | None) -> list[Row]:
    if more is None:
        return rows
    others = more([job.key for job in batch], [job.case for job in batch], outputs)
    return [row | _text(other) for row, other in zip(rows, others, strict=True)]


def _row(job: _Job, output: Tensor) -> Row:
    about = {"variant": job.name, "settings": job.settings, "photo": job.photo.key, "case": job.case.digest}
    labels = {name: str(value) for name, value in job.case.labels.items()}
    return about | {"paper_item": job.case.paper_item} | labels | _text(measure(job.case, output))


def _text(values: Mapping[str, float]) -> Row:
    return {name: f"{value:.6g}" for name, value in values.items()}


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.2f} pictures/s")


def _progress(disable: bool) -> Progress:
    left = TextColumn("left")
    columns = (MofNCompleteColumn(), _Rate(), TimeRemainingColumn(), left)
    return Progress(TextColumn("{task.description}"), BarColumn(), *columns, disable=disable, transient=True)
