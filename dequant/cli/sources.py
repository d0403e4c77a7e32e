"""Which files a command works on: files, folders, patterns, lists of paths, standard input."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from dequant.errors import InputError

STDIN = "-"

PATTERN = "*?["
"""Characters of a pattern such as `photos/**/*.jpg`."""

RESULTS = "results of earlier runs"


class Source(NamedTuple):
    """One image to work on.

    Attributes:
        path: of the file, as it was named; `-` for standard input.
        tree: its folder below the folder, pattern or list that named it; `.` for a file that was named itself.
        named: whether it was named itself, and is used whatever its suffix.
        data: the content of standard input, None for a file.
    """

    path: Path
    tree: Path = Path()
    named: bool = True
    data: bytes | None = None


class Found(NamedTuple):
    """What the inputs of a command name.

    Attributes:
        sources: each file once, in the order of their absolute paths.
        folder: that holds all inputs.
        single: whether a single file, or standard input, was named, so that a result may have a name of its own.
        manifests: of earlier runs, that lie among the files.
        left_out: what else lies there, by its kind.
    """

    sources: list[Source]
    folder: Path
    single: bool
    manifests: list[Path]
    left_out: Counter[str]


def find(inputs: Sequence[str]) -> Found:
    """The files that the inputs name.

    Folders are read recursively, and in them, as by patterns, hidden files and those without the suffix of an image
    are left out. A pattern with a suffix of its own, as in `*.ppm`, finds all that match. In a list there is a path on
    each line, relative to the list; blank lines and those that begin with # are skipped.

    Args:
        inputs: paths, patterns, `@list.txt`, or `-` alone.

    Raises:
        InputError: one of them names nothing.
    """
    if STDIN in inputs:
        return Found([_stdin(inputs)], Path(), True, [], Counter())
    sources, folders, manifests, left_out = list[Source](), list[Path](), list[Path](), Counter[str]()
    for text in inputs:
        folder, files = _listed(text) if text.startswith("@") else _named(text)
        taken, suffixes = len(sources), _suffixes(text)
        for source in files:
            if source.named or source.path.suffix.lower() in suffixes:
                sources.append(source)
            elif is_manifest(source.path):
                manifests.append(source.path)
            else:
                left_out[_kind(source.path)] += 1
        if len(sources) == taken:
            raise InputError(f"There is no image in '{text}'{_and_else(left_out)}: give photos, or a folder with some.")
        folders.append(folder)
    single = len(sources) == len(inputs) == 1 and sources[0].named and not inputs[0].startswith("@")
    return Found(_each_once(sources), _common(folders), single, manifests, left_out)


def without_results(found: Found, root: Path | None, results: set[str]) -> Found:
    """Leave out the results of earlier runs that are not named themselves.

    Args:
        found: the files.
        root: the folder of the results. What lies there is a result, unless all of the input does.
        results: absolute paths of results.

    Raises:
        InputError: nothing else is left.
    """
    real = cache(os.path.realpath)

    def is_result(source: Source) -> bool:
        folder, given = source.path.parent, source.path.parents[len(source.tree.parts)]
        below = root is not None and _is_below(real(folder), real(root)) and not _is_below(real(given), real(root))
        return below or os.path.abspath(source.path) in results

    kept = [source for source in found.sources if source.named or not is_result(source)]
    left_out = found.left_out + Counter({RESULTS: len(found.sources) - len(kept)})
    if not kept:
        raise InputError(f"There is no image in '{found.folder}'{_and_else(left_out)}: give photos.")
    return found._replace(sources=kept, left_out=left_out)


def is_manifest(path: Path) -> bool:
    """Whether a file has the name of a run's manifest."""
    return path.name.startswith("dequant.") and path.suffix == ".jsonl"


def identity(path: Path) -> object:
    """What is the same for two paths of one file, however they are written."""
    try:
        status = path.stat()
    except OSError:
        return os.path.realpath(path)
    return (status.st_dev, status.st_ino) if status.st_nlink == 1 else os.path.realpath(path)


def counted(left_out: Counter[str]) -> str:
    """As in "2 NEF, 1 TXT"."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(left_out.items()) if count)


def _stdin(inputs: Sequence[str]) -> Source:
    if len(inputs) > 1:
        raise InputError("Standard input (-) is one image: name no other input beside it.")
    if sys.stdin.isatty():
        raise InputError("There is nothing on standard input (-): pipe an image into the command.")
    return Source(Path(STDIN), data=sys.stdin.buffer.read())


def _named(text: str) -> tuple[Path, Iterable[Source]]:
    """The folder of an input, and the files that it names."""
    path = Path(text)
    if text and path.is_dir():
        return path, _below(path, path)
    if text and os.path.exists(text):
        if not path.is_file():
            raise InputError(f"'{text}' is not an ordinary file: give an image, or pipe it into the command with -.")
        return path.parent, [Source(path)]
    if _is_pattern(text):
        return _matching(text)
    what = "is a link to nothing" if os.path.islink(text) else "does not exist"
    raise InputError(f"'{text}' {what}: give files, folders, patterns, @LIST or -.")


def _matching(text: str) -> tuple[Path, list[Source]]:
    """The fixed folder of a pattern, and the files that match, or lie in folders that do."""
    parts = Path(text).parts
    fixed = next(i for i, part in enumerate(parts) if set(part) & set(PATTERN))
    folder, pattern = Path(*parts[:fixed]), parts[fixed:]
    try:
        matches = sorted(folder.glob("/".join(pattern)))
    except (ValueError, NotImplementedError) as error:
        raise InputError(f"'{text}' is not a pattern ({error}): use * and ?, and ** as a whole folder.") from None
    hidden_too = any(part.startswith(".") for part in pattern)
    visible = [path for path in matches if hidden_too or not _is_hidden(path.relative_to(folder))]
    if not visible:
        raise InputError(f"'{text}' matches no file: give files, folders, patterns, @LIST or -.")
    files = list[Source]()
    for path in visible:
        files += _below(path, folder) if path.is_dir() else [Source(path, path.parent.relative_to(folder), False)]
    return folder, files


def _listed(text: str) -> tuple[Path, list[Source]]:
    """The folder of a list, and the files that it names."""
    path = Path(text[1:])
    try:
        content = sys.stdin.buffer.read() if text[1:] == STDIN else path.read_bytes()
    except OSError as error:
        raise InputError(f"The list '{path}' cannot be read ({error.strerror}): give @ and a text file.") from None
    if b"\0" in content or content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"The list '{path}' is not a text in UTF-8: save it so, with a path on each line.")
    lines = os.fsdecode(content.removeprefix(b"\xef\xbb\xbf")).split("\n")
    folder, files = path.parent, list[Source]()
    for number, line in enumerate((line.removesuffix("\r") for line in lines), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        entry = folder / line
        if entry.is_dir():
            files += _below(entry, entry)
        elif entry.is_file():
            files.append(Source(entry, _tree(entry, folder)))
        else:
            raise InputError(f"'{entry}' does not exist (line {number} of '{path}'): mend the list.")
    return folder, files


def _below(folder: Path, root: Path) -> Iterator[Source]:
    """The files in a folder, whose tree begins at `root`."""
    from dequant.data.folders import files_below

    for path in files_below(folder):
        yield Source(path, path.parent.relative_to(root), False)


def _tree(path: Path, folder: Path) -> Path:
    """The folder of a file relative to another one; `.` where it is not below that."""
    tree = Path(os.path.relpath(path.parent, folder))
    return Path() if ".." in tree.parts else tree


def _suffixes(text: str) -> frozenset[str]:
    """Of the files to take from a folder, or by a pattern, which may have one of its own."""
    from dequant.io.formats import SUFFIXES

    return SUFFIXES | {".gif"} | ({Path(text).suffix.lower()} if _is_pattern(text) else set())


def _is_pattern(text: str) -> bool:
    return bool(set(text) & set(PATTERN)) and not os.path.lexists(text)


def _kind(path: Path) -> str:
    return path.suffix[1:].upper() if path.suffix[1:].isalnum() else "without a suffix"


def _and_else(left_out: Counter[str]) -> str:
    return f" (but {counted(left_out)})" if counted(left_out) else ""


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _each_once(sources: list[Source]) -> list[Source]:
    once = dict[object, Source]()
    for source in sorted(sources, key=lambda source: (not source.named, os.path.abspath(source.path))):
        once.setdefault(identity(source.path), source)
    return sorted(once.values(), key=lambda source: os.path.abspath(source.path))


def _common(folders: list[Path]) -> Path:
    if len(set(folders)) == 1:
        return folders[0]
    try:
        return Path(os.path.commonpath([os.path.abspath(folder) for folder in folders]))
    except ValueError:  # on several drives
        return Path()


def _is_below(folder: str, root: str) -> bool:
    return folder == root or folder.startswith(root.rstrip(os.sep) + os.sep)
