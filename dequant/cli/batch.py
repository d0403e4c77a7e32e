"""A run of one operation over many files: planned ahead, resumed after any end, and told as it was."""

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from dequant.cli import manifest as manifests
from dequant.cli.jobs import Job, Operation, Outcome, Terms, failed, publish
from dequant.cli.manifest import History
from dequant.cli.options import BatchOptions, shard
from dequant.cli.outputs import Destination, check_distinct, check_new, destination, results
from dequant.cli.progress import Progress, say
from dequant.cli.signals import Stoppable, Stopped
from dequant.cli.sources import Found, counted, find, without_results
from dequant.cli.workers import outcomes
from dequant.errors import InputError, sentence
from dequant.io.files import check_writable
from dequant.masking import escape

DONE, SOME_FAILED, USAGE, CLOSED = 0, 1, 2, 141
"""Exit statuses, beside 130 for Ctrl-C and 143 for SIGTERM."""

ENDS = {130: "interrupted", 143: "stopped by SIGTERM", CLOSED: "Nobody reads standard output any more."}


class Plan(NamedTuple):
    """A run that can begin.

    Attributes:
        terms: what all files share.
        jobs: the files.
        manifest: where their records go, None for no manifest.
        notes: what to say ahead.
    """

    terms: Terms
    jobs: list[Job]
    manifest: Path | None
    notes: list[str]


@dataclass
class Tally:
    """What has happened so far."""

    counts: Counter[str]
    failures: list[str]


def run(operation: Operation, inputs: Sequence[str], options: BatchOptions) -> int:
    """Apply an operation to files.

    Args:
        operation: it can be pickled.
        inputs: files, folders, patterns, `@list.txt` or `-`.
        options: of the run.

    Returns:
        The exit status: 0 where all is well, 1 where files failed, which are listed, 2 where nothing could begin, 130
        and 143 after Ctrl-C and SIGTERM, 141 where nobody reads standard output any more.
    """
    with Stoppable() as stop:
        try:
            return _run(operation, inputs, options, stop)
        except Stopped as stopped:
            say(ENDS[stopped.status])
            return stopped.status


def _run(operation: Operation, inputs: Sequence[str], options: BatchOptions, stop: Stoppable) -> int:
    try:
        made = plan(operation, inputs, options)
    except Exception as error:
        if (said := sentence(error)) is None:
            raise
        say(f"error: {said}")
        return USAGE
    for note in made.notes:
        say(note)
    tally = Tally(Counter(), [])
    try:
        _work(made, options, tally, stop)
        status = SOME_FAILED if tally.failures else DONE
    except Stopped as stopped:
        status = stopped.status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the end of Python would fail, too
        status = CLOSED
    except (InputError, OSError) as error:
        tally.failures.append(f"{sentence(error)} The run ends here.")
        status = SOME_FAILED
    _sum_up(made, options, tally, status)
    return status


def plan(operation: Operation, inputs: Sequence[str], options: BatchOptions) -> Plan:
    """Find the files, their places and what earlier runs made of them.

    Raises:
        InputError: an input or an option is wrong.
    """
    part = shard(options.shard)
    found = find(inputs)
    where = destination(options.out, found)
    home = _home(options, found, where)
    theirs = manifests.with_shards(home)
    history = manifests.read(theirs, {*found.manifests, *manifests.above(found.folder)})
    found = without_results(found, where.folder, history.outputs)
    recipe = sha256(operation.recipe().encode()).hexdigest()
    terms = Terms(operation, recipe, options.seed, options.overwrite, options.dry_run, options.debug)
    outputs = [_places(operation, options, where, found, i) for i in range(len(found.sources))]
    if where.stdout:
        _check_stdout(operation, options)
    else:
        check_distinct(found.sources, outputs)
    known = history.made if options.resume else {}
    jobs = [
        Job(source, tuple(places), tuple(known.get(os.path.abspath(places[0]), ())), where.stdout)
        for source, places in zip(found.sources, outputs, strict=True)
    ]
    if part is not None:
        jobs = jobs[part[0] - 1 :: part[1]]
        home = manifests.sharded(home, *part)
    if not (options.overwrite or options.resume or where.stdout):
        check_new([job.outputs for job in jobs])
    kept = not where.stdout and (not found.single or options.resume or options.manifest is not None)
    if kept and not options.dry_run:
        check_writable(home, "give another --manifest")
    return Plan(terms, jobs, home if kept else None, _notes(found, history))


def _home(options: BatchOptions, found: Found, where: Destination) -> Path:
    """Where the manifest lies, that of the shards left aside."""
    if options.manifest is not None:
        return options.manifest
    return (found.folder if where.folder is None else where.folder) / manifests.NAME


def _places(operation: Operation, options: BatchOptions, where: Destination, found: Found, i: int) -> list[Path]:
    """The results of a source, and their recipes."""
    made = results(found.sources[i], where, operation.name, operation.suffix, operation.count)
    wanted = options.recipe and operation.replayable and not where.stdout
    return made + [path.with_name(f"{path.name}.yaml") for path in made if wanted]


def _check_stdout(operation: Operation, options: BatchOptions) -> None:
    if operation.count > 1:
        raise InputError(f"Standard output takes one image, but there are {operation.count}: give a folder with -o.")
    if options.json:
        raise InputError("Standard output cannot take the image and --json: give a file with -o.")
    if sys.stdout.isatty() and not options.dry_run:
        raise InputError("Standard output is a terminal: give a file with -o, or send it to one.")


def _notes(found: Found, history: History) -> list[str]:
    notes = [f"Left out: {counted(found.left_out)}."] if counted(found.left_out) else []
    if history.damaged:
        notes.append(f"Lines of a manifest that are damaged: {history.damaged}. What they were about is made again.")
    return notes


def _work(made: Plan, options: BatchOptions, tally: Tally, stop: Stoppable) -> None:
    alone = options.jobs == 0 or options.dry_run or len(made.jobs) <= 1
    with (
        Progress(len(made.jobs)) as progress,
        closing(outcomes(made.terms, made.jobs, 0 if alone else options.jobs)) as pairs,
    ):
        for job, outcome in pairs:
            with stop.whole():
                outcome = _complete(made, job, outcome)
                _tell(job, outcome, options, progress)
                _count(job, outcome, tally)
            if options.max_failures and len(tally.failures) >= options.max_failures:
                return


def _complete(made: Plan, job: Job, outcome: Outcome) -> Outcome:
    """Record what was made, and then show it under its name, so that no result is ever unknown to the manifest.

    Raises:
        InputError: there is no space for the record.
        OSError: it cannot be written.
    """
    if made.manifest is not None and outcome.status in ("written", "failed") and not made.terms.dry_run:
        manifests.append(made.manifest, outcome.record)
    try:
        publish(outcome, job.stdout)
    except BrokenPipeError:
        raise
    except (InputError, OSError) as error:
        outcome = failed(made.terms, job, sentence(error) or str(error))
        if made.manifest is not None:
            manifests.append(made.manifest, outcome.record)
    return outcome


def _tell(job: Job, outcome: Outcome, options: BatchOptions, progress: Progress) -> None:
    for line in (
        *(f"{job.source.path}: {warning}" for warning in outcome.record.warnings),
        *outcome.trace.splitlines(),
    ):
        progress.say(line)
    if options.json:
        print(json.dumps(_fields(job, outcome)), flush=True)
    elif options.dry_run and outcome.status != "failed":
        print(os.fsencode(_arrow(job, outcome)).decode(errors="backslashreplace"), flush=True)
    elif progress.total == 1 and outcome.status != "failed" and not job.stdout:
        progress.say(_arrow(job, outcome))
        for line in str(outcome.details.get("table", "")).splitlines():
            progress.say(line)
    progress.advance(outcome.status in ("written", "failed"))


def _arrow(job: Job, outcome: Outcome) -> str:
    """As in "photo.jpg -> photo.png"."""
    done = " (done already)" if outcome.status == "skipped" else ""
    places = ["-"] if job.stdout else [escape(str(path)) for path, _ in _results(job, outcome)]
    return f"{escape(str(job.source.path))} -> {', '.join(places)}{done}"


def _fields(job: Job, outcome: Outcome) -> dict[str, Any]:
    """What `--json` prints of a file: its record, with the results' paths as they were asked for."""
    pairs = [] if outcome.status == "failed" else _results(job, outcome)
    outputs = [{"path": "-" if job.stdout else str(path), "sha256": digest} for path, digest in pairs]
    return {"status": outcome.status, **asdict(outcome.record), "outputs": outputs, "report": outcome.details}


def _results(job: Job, outcome: Outcome) -> list[tuple[Path, str | None]]:
    """The results of a file with the hashes of those that were made, where that is known."""
    if not outcome.record.outputs:
        return [(path, None) for path in job.outputs]
    pairs = zip(job.outputs, outcome.record.outputs, strict=True)
    return [(path, made.sha256) for path, made in pairs if made.sha256 is not None]


def _count(job: Job, outcome: Outcome, tally: Tally) -> None:
    tally.counts[outcome.status] += 1
    if outcome.record.error is not None:
        named = str(job.source.path) in outcome.record.error
        tally.failures.append(outcome.record.error if named else f"{job.source.path}: {outcome.record.error}")


def _sum_up(made: Plan, options: BatchOptions, tally: Tally, status: int) -> None:
    total, done = len(made.jobs), tally.counts
    counts = [f"{done[name]} {name}" for name in ("planned", "written", "skipped", "failed") if done[name]]
    left = total - done.total()
    if left or total != 1 and not options.dry_run:
        rest = [f"{left} not tried"] if left else []
        say(f"{total} file{'s' * (total != 1)}: {', '.join(counts + rest)}.")
    for failure in tally.failures:
        say(f"failed: {failure}")
    if left and made.manifest is not None:
        say("The same command with --resume does the others.")
    if status in ENDS:
        say(ENDS[status])
