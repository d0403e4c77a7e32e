"""The files below a folder, and which of them are read."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path

from dequant.data.checks import shown
from dequant.data.tars import TOO_LARGE_FILE
from dequant.errors import InputError
from dequant.io.formats import SUFFIXES


def files_below(root: Path) -> Iterator[Path]:
    """Files under a folder, and broken links; hidden ones left out. Folders that several links lead to come once.

    Raises:
        InputError: a folder cannot be read.
    """
    seen, folders, links = set[tuple[int, int]](), deque([root]), deque[Path]()
    while folders or links:
        folder = folders.popleft() if folders else links.popleft()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        except OSError as error:
            raise InputError(
                f"The folder {shown(folder)} cannot be read ({error.strerror}): make it readable."
            ) from None
        for path in paths:
            if not path.is_dir():
                yield path
            else:
                (links if path.is_symlink() else folders).append(path)


def unread(file: Path, max_bytes: float) -> str | None:
    """What a file is that is not read, or None."""
    if file.suffix.lower() not in SUFFIXES:
        return file.suffix[1:].upper() if file.suffix[1:].isalnum() else "without a suffix"
    if not file.is_file():
        return "broken links"
    return TOO_LARGE_FILE if file.stat().st_size > max_bytes else None
