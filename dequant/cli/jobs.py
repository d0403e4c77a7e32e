"""What a worker does with one file: look whether it is done, make its results, and leave them beside their places."""

import contextlib
import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from dequant.cli.manifest import Output, Record
from dequant.cli.sources import Source
from dequant.edit.seeds import seed_of
from dequant.errors import InputError, sentence
from dequant.io.files import check_writable, whole_file, whole_path
from dequant.masking import escape, mask


class Report(NamedTuple):
    """What an operation says of one source.

    Attributes:
        warnings: sentences for the user.
        details: what `--json` prints, as JSON can hold it.
        recipes: the recipe of each result, to be written beside it.
    """

    warnings: Sequence[str] = ()
    details: dict[str, Any] = {}
    recipes: Sequence[str] = ()


class Operation(Protocol):
    """What a command does with each source. It is made once, pickled, and called many times in each process.

    What is heavy, such as a model, it loads in the first call, and keeps.

    Attributes:
        name: that of the command, {op} in names of results.
        suffix: of its results, such as ".cube"; empty for images, which keep that of their source.
        count: how many results a source has.
        replayable: whether each result has a recipe.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def suffix(self) -> str: ...  # noqa: D102
    @property
    def count(self) -> int: ...  # noqa: D102
    @property
    def replayable(self) -> bool: ...  # noqa: D102

    def recipe(self) -> str:
        """Everything that decides about the results but the source and the seed, as canonical text."""

    def __call__(self, source: Path | bytes, outputs: Sequence[Path], seed: int) -> Report:
        """Write the results of one source: the first, and as many of the others as there are.

        Args:
            source: a file, or the content of one.
            outputs: where to write, `count` paths. The folder exists, and the files appear under their own names later.
            seed: for all random numbers.
        """


class Terms(NamedTuple):
    """What is the same for all files of a run."""

    operation: Operation
    recipe_sha256: str
    seed: int = 0
    overwrite: bool = False
    dry_run: bool = False
    debug: bool = False


class Job(NamedTuple):
    """One file of a run.

    Attributes:
        source: what is read.
        outputs: the results, and then their recipes, if they are wanted.
        known: what manifests say of the first result.
        stdout: whether the result goes to standard output; its path only has the right suffix then.
    """

    source: Source
    outputs: tuple[Path, ...]
    known: tuple[Record, ...] = ()
    stdout: bool = False


class Outcome(NamedTuple):
    """What came of a job.

    Attributes:
        status: what was done, or would be.
        record: for the manifest.
        staged: what was made, and the place of each.
        replaces: results that may be replaced though they exist.
        details: the operation's, for `--json`.
        trace: of a defect, where it is wanted.
    """

    status: Literal["planned", "written", "skipped", "failed"]
    record: Record
    staged: tuple[tuple[Path, Path], ...] = ()
    replaces: frozenset[Path] = frozenset()
    details: dict[str, Any] = {}
    trace: str = ""


def carry_out(terms: Terms, job: Job) -> Outcome:
    """Do a job up to the point where its results, all complete, lie in a hidden folder beside their places.

    It ends in an outcome, whatever the operation raises.
    """
    began = time.monotonic()
    record = Record(str(job.source.path), terms.recipe_sha256)
    try:
        digest = _content(job.source)
        record = replace(record, input_sha256=digest, seed=seed_of(terms.seed, digest))
        replaces = _replaceable(job, record, terms.overwrite)
        if replaces is None:
            outputs = next(known.outputs for known in job.known if _agrees(known, record, job))
            outcome = Outcome("skipped", replace(record, outputs=outputs))
        elif terms.dry_run:
            outcome = Outcome("planned", record)
        else:
            outcome = _make(terms, job, record)._replace(replaces=replaces)
    except (Exception, SystemExit) as error:
        trace = traceback.format_exc() if terms.debug and sentence(error) is None else ""
        outcome = Outcome("failed", replace(record, error=_said(error, job)), trace=trace)
    seconds = round(time.monotonic() - began, 3)
    return outcome._replace(record=replace(outcome.record, seconds=seconds))


def publish(outcome: Outcome, stdout: bool = False) -> None:
    """Move what was made to its places, or write it to standard output.

    Raises:
        InputError: a file of somebody else has appeared there.
    """
    try:
        for made, place in outcome.staged:
            if stdout:
                sys.stdout.buffer.write(made.read_bytes())
                sys.stdout.buffer.flush()
                continue
            if os.path.lexists(place) and place not in outcome.replaces:
                raise InputError(f"'{place}' has appeared in the meantime: add --overwrite to replace it.")
            _move(made, place)
    finally:
        for made, _ in outcome.staged[:1]:
            shutil.rmtree(made.parent, ignore_errors=True)


def _move(made: Path, place: Path) -> None:
    """In one step, so that there is never anything else to be left behind, and with the mode of what is replaced."""
    if place.is_symlink():  # into another file system, perhaps
        with whole_path(place) as partial:
            shutil.move(made, partial)
        return
    if place.exists():
        made.chmod(stat.S_IMODE(place.stat().st_mode))
    os.replace(made, place)


def failed(terms: Terms, job: Job, error: str) -> Outcome:
    """The outcome of a job whose process could not say it."""
    return Outcome("failed", Record(str(job.source.path), terms.recipe_sha256, error=error))


def staging_folder(job: Job) -> Path:
    """Where the results of a job are made: the same in each run, so that what a killed one left is removed."""
    first = os.path.abspath(job.outputs[0])
    return Path(first).parent / f".dequant-{hashlib.sha256(os.fsencode(first)).hexdigest()[:12]}"


def sha256(path: Path) -> str:
    """Of the content of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _content(source: Source) -> str:
    if source.data is not None:
        return hashlib.sha256(source.data).hexdigest()
    status = source.path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"'{source.path}' is not an ordinary file: leave it out.")
    return sha256(source.path)


def _version(source: Source) -> object:
    """What changes when a file is written."""
    if source.data is not None:
        return None
    status = source.path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _agrees(known: Record, record: Record, job: Job) -> bool:
    """Whether an earlier record is of the same input, recipe, seed and places."""
    same = all(getattr(known, name) == getattr(record, name) for name in ("input_sha256", "recipe_sha256", "seed"))
    return same and [one.path for one in known.outputs] == [os.path.abspath(path) for path in job.outputs]


def _replaceable(job: Job, record: Record, overwrite: bool) -> frozenset[Path] | None:
    """The results that exist and may be replaced, or None where they are what would be made.

    Raises:
        InputError: one may not.
    """
    if job.stdout:
        return frozenset()
    now = [sha256(path) if path.is_file() else None for path in job.outputs]
    agreed = [known.outputs for known in job.known if _agrees(known, record, job)]
    if now[0] is not None and any(now == [one.sha256 for one in outputs] for outputs in agreed):
        return None
    for path, digest, *earlier in zip(job.outputs, now, *agreed, strict=True):
        check_writable(path)
        own = digest is not None and any(one.sha256 == digest for one in earlier)
        if os.path.lexists(path) and not own and not overwrite:
            raise InputError(
                f"'{path}' exists, and is not known to be what this command makes: add --overwrite to replace it."
            )
    return frozenset(path for path in job.outputs if os.path.lexists(path))


def _make(terms: Terms, job: Job, record: Record) -> Outcome:
    """Make the results in the staging folder."""
    count = terms.operation.count
    path, data = job.source.path, job.source.data
    with _staging(job) as folder:
        places = _staged(job, folder)
        before = _version(job.source)
        with contextlib.redirect_stdout(sys.stderr):
            report = terms.operation(path if data is None else data, places[:count], record.seed)
        if _version(job.source) != before:
            raise InputError(f"'{path}' has changed while it was read: run the command again.")
        for result, place, text in zip(places, places[count:], report.recipes, strict=False):
            if result.exists():
                with whole_file(place) as file:
                    file.write(text)
        json.dumps(report.details, allow_nan=False)
        digests = [_synced(place) if place.is_file() else None for place in places]
        if digests[0] is None:
            raise RuntimeError("The operation has written nothing")
    outputs = tuple(Output(os.path.abspath(path), digest) for path, digest in zip(job.outputs, digests, strict=True))
    staged = zip(places, job.outputs, digests, strict=True)
    return Outcome(
        "written",
        replace(record, outputs=outputs, warnings=tuple(map(str, report.warnings))),
        tuple((made, place) for made, place, digest in staged if digest is not None),
        details=report.details,
    )


@contextmanager
def _staging(job: Job) -> Iterator[Path]:
    """A new folder for the results of a job, which stays where all goes well."""
    folder = Path(tempfile.mkdtemp(prefix="dequant-")) if job.stdout else staging_folder(job)
    shutil.rmtree(folder, ignore_errors=True)
    new = [parent for parent in folder.parents if not parent.exists()]
    try:
        folder.mkdir(parents=True)
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in new:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise


def _staged(job: Job, folder: Path) -> list[Path]:
    """Short names for the results while they are made."""
    return [folder / f"{i}{path.suffix}" for i, path in enumerate(job.outputs)]


def _synced(path: Path) -> str:
    """The hash of a file, which is on the disk then."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())
    return sha256(path)


def _said(error: BaseException, job: Job) -> str:
    """One line about an error, with the names that results will have; a defect with its type."""
    lines = f"{error}".strip().splitlines()
    text = sentence(error) or f"{type(error).__name__}: {escape(mask(lines[0] if lines else 'no message'))}"
    for made, place in zip(_staged(job, staging_folder(job)), job.outputs, strict=True):
        text = text.replace(str(made), str(place))
    return text
