"""Where results go: beside their sources, a file, a folder that keeps the tree, or a template."""

import os
from collections.abc import Sequence
from pathlib import Path
from string import Formatter
from typing import NamedTuple

from dequant.cli.sources import STDIN, Found, Source, identity
from dequant.errors import InputError

BESIDE = "{dir}/{stem}.{op}{ext}"
"""The template of results without -o."""

FIELDS = {
    "dir": "the folder of the source",
    "tree": "the same, relative to the folder that was given",
    "stem": "its name without the suffix",
    "name": "its name",
    "ext": "its suffix, .png where that cannot be written",
    "op": "the name of the command",
}
"""What a template may contain."""


class Destination(NamedTuple):
    """Where the results of a run go.

    Attributes:
        template: of their paths.
        folder: that holds all of them, None where they lie among the sources.
        stdout: whether the one result goes to standard output.
    """

    template: str
    folder: Path | None = None
    stdout: bool = False


def destination(out: str | None, found: Found) -> Destination:
    """What `-o` means for these sources.

    Args:
        out: a file, for a single source; a folder, which ends in / or exists, or any name for several; a template; `-`
            for standard output; None for `BESIDE`, or standard output where the source is standard input.
        found: the sources.

    Raises:
        InputError: it means nothing, or not for so many sources.
    """
    from_stdin = found.sources[0].data is not None
    if out == STDIN or (out is None and from_stdin):
        if not found.single:
            raise InputError("Standard output (-o -) takes one image: give a folder for the results of several.")
        return Destination("{stem}.{op}{ext}", stdout=True)
    if out is None:
        return Destination(BESIDE)
    if not out:
        raise InputError("The path for the results (-o) is empty: give a file, a folder or a template.")
    path = Path(out)
    if path.is_dir() or out.endswith(("/", os.sep)):
        return _folder(path)
    if "{" in out or "}" in out:
        _check_template(out)
        return Destination(out, _fixed(out))
    if found.single:
        return Destination(_literal(out), path.parent)
    if path.exists() or path.suffix.lower() in _written():
        raise InputError(f"'{out}' names a file, but several inputs need a folder: give one, such as '{path.stem}/'.")
    return _folder(path)


def results(source: Source, where: Destination, op: str, suffix: str, count: int) -> list[Path]:
    """The paths of the results of one source.

    Args:
        source: the source.
        where: from `destination`.
        op: the name of the operation.
        suffix: of its results, empty for images.
        count: how many; further ones are `name.2.png`, `name.3.png` and so on.

    Raises:
        InputError: the name of a result ends in another suffix, or one in which no image is written.
    """
    path = source.path if source.data is None else Path("stdin" + suffix_of(source.data))
    ext = suffix or (path.suffix if path.suffix.lower() in _written() else ".png")
    named = {"dir": str(path.parent), "tree": str(source.tree), "stem": path.stem, "name": path.name}
    first = Path(where.template.format_map(named | {"ext": ext, "op": op}))
    if first.suffix.lower() not in ({suffix} if suffix else _written()):
        right = suffix or ", ".join(sorted(_written()))
        raise InputError(f"The result '{first}' must end in {right}, or in / where it is a folder.")
    return [first, *(first.with_name(f"{first.stem}.{i}{first.suffix}") for i in range(2, count + 1))]


def check_distinct(sources: Sequence[Source], outputs: Sequence[Sequence[Path]]) -> None:
    """Check that no two sources have a result in common, and that none is the result of one.

    Raises:
        InputError: the sentence names both.
    """
    read = {identity(source.path): source for source in sources if source.data is None}
    made = dict[str, Source]()
    for source, paths in zip(sources, outputs, strict=True):
        for path in paths:
            real = os.path.realpath(path)
            other = made.setdefault(real, source)
            if other is not source:
                raise InputError(
                    f"'{other.path}' and '{source.path}' would have the same result '{path}': give a template such as "
                    "-o 'results/{dir}/{name}.png', or the folder that holds both."
                )
            if (own := read.get(identity(Path(real)))) is not None:
                raise InputError(
                    f"The result of '{source.path}' would replace the source '{own.path}': choose another -o."
                )


def check_new(outputs: Sequence[Sequence[Path]]) -> None:
    """Check that no result exists.

    Raises:
        InputError: one does.
    """
    existing = [path for paths in outputs for path in paths if os.path.lexists(path)]
    if existing:
        count = len(existing) - 1
        more = f", and {count} more {'result does' if count == 1 else 'results do'}" if count else ""
        raise InputError(
            f"'{existing[0]}' exists{more}: add --resume to complete an earlier run, or --overwrite to replace it."
        )


def suffix_of(data: bytes) -> str:
    """The suffix of an image by its content; .png where it is none that is written."""
    from dequant.io.formats import open_image

    try:
        suffix = f".{(open_image(data, '').format or '').lower()}".replace(".jpeg", ".jpg").replace(".tiff", ".tif")
    except InputError:
        return ".png"
    return suffix if suffix in _written() else ".png"


def _written() -> frozenset[str]:
    """Suffixes of the images that are written."""
    from dequant.io.formats import WRITTEN

    return WRITTEN


def _folder(path: Path) -> Destination:
    return Destination(_literal(str(path)) + "/{tree}/{stem}{ext}", path)


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _check_template(template: str) -> None:
    try:
        fields = [parts[1:] for parts in Formatter().parse(template) if parts[1] is not None]
    except ValueError as error:
        raise InputError(
            f"'{template}' is not a template ({error}): write braces themselves as {{{{ and }}}}."
        ) from None
    for name, form, conversion in fields:
        if name not in FIELDS or form or conversion:
            known = ", ".join(f"{{{field}}}" for field in FIELDS)
            raise InputError(f"A template for -o cannot contain '{{{name}}}' like this: use {known}.")


def _fixed(template: str) -> Path | None:
    """The folder ahead of the first field of a template, None where it begins with the source's."""
    literal, name, *_ = next(iter(Formatter().parse(template)))
    return None if name == "dir" and not literal else Path(literal[: literal.rfind("/") + 1])
