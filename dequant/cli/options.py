"""The options that every command has that works on many files, and how such a command is made."""

import functools
import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from dequant.cli.jobs import Operation
from dequant.errors import InputError, sentence

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="Photos, folders (read recursively), 'patterns/**/*.jpg', @LIST.txt with a path per line, or - for stdin.",
    ),
]

Out = Annotated[
    str | None,
    typer.Option(
        "--out",
        "-o",
        metavar="PATH",
        help="A file, a folder (ends in /), a template of {dir} {tree} {stem} {name} {ext} {op}, or - for stdout. "
        "Default: {dir}/{stem}.{op}{ext}, beside the source.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")]
Recipe = Annotated[bool, typer.Option("--recipe/--no-recipe", help="Write the recipe beside each result, as .yaml.")]
Seed = Annotated[int, typer.Option(help="Of random numbers; each file's own comes from it and the file's content.")]
Resume = Annotated[bool, typer.Option("--resume", help="Skip files whose results are in the manifest and unchanged.")]
ManifestPath = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Where it is noted what was done. Default: dequant.jsonl, with the results."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print what would be written.")]
Jobs = Annotated[
    int, typer.Option(min=0, help="Processes that work at the same time and share the cores; 0 starts none.")
]
MaxFailures = Annotated[int | None, typer.Option(min=1, help="Stop after so many files that failed.")]
Shard = Annotated[str | None, typer.Option(metavar="I/N", help="Do the I-th of N parts of the files, from 1/N to N/N.")]
Json = Annotated[bool, typer.Option("--json", help="Print a JSON object for each file on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show where the program itself failed.")]


@dataclass(frozen=True)
class BatchOptions:
    """The options of a run."""

    out: Out = None
    overwrite: Overwrite = False
    recipe: Recipe = True
    seed: Seed = 0
    resume: Resume = False
    manifest: ManifestPath = None
    dry_run: DryRun = False
    jobs: Jobs = 1
    max_failures: MaxFailures = None
    shard: Shard = None
    json: Json = False
    debug: Debug = False


def on_files(command: Callable[..., Operation]) -> Callable[..., int]:
    """Make a typer command of a function that takes its own options and returns an operation.

    The command has the argument `sources` behind the function's own, and `BatchOptions`. It returns the exit status.
    """
    hints = get_type_hints(BatchOptions, include_extras=True)
    own = inspect.signature(command, eval_str=True).parameters.values()
    keyword = inspect.Parameter.KEYWORD_ONLY
    shared = [inspect.Parameter(one.name, keyword, default=one.default, annotation=hints[one.name]) for one in OPTIONS]
    sources = inspect.Parameter("sources", keyword, annotation=Sources)

    @functools.wraps(command)
    def with_files(**given: Any) -> int:
        try:
            return _run(command, given)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130

    parameters = [*(one.replace(kind=keyword) for one in own), sources, *shared]
    with_files.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_files.__annotations__ = {one.name: one.annotation for one in parameters}
    return with_files


OPTIONS = fields(BatchOptions)


def _run(command: Callable[..., Operation], given: dict[str, Any]) -> int:
    """The exit status of a command with its own options and those of a run."""
    from dequant.cli.batch import USAGE, run

    inputs = given.pop("sources")
    options = BatchOptions(**{one.name: given.pop(one.name) for one in OPTIONS})
    try:
        operation = command(**given)
    except Exception as error:
        if (said := sentence(error)) is None:
            raise
        print(f"error: {said}", file=sys.stderr)
        return USAGE
    return run(operation, inputs, options)


def shard(text: str | None) -> tuple[int, int] | None:
    """The number of a part, and how many there are, of "3/16".

    Raises:
        InputError: it is something else.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
    number, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= count:
        raise InputError(f"Expected a part such as --shard 3/16, from 1/16 to 16/16, got {text!r}.")
    return number, count


def examples(*lines: str) -> str:
    """The end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
