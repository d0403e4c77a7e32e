"""The temporary folder of a server: it goes when the server ends, or at the next start where it could not."""

import os
import shutil
import stat
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX, LOCK, FILES = "dequant-", "lock", "files"
"""Names: of the folder, of the file in it that its living process has locked, and of the folder of all files."""


class Folder:
    """A folder that only this user of the machine can read. Those that crashed servers have left are removed first.

    Attributes:
        path: of the files.
    """

    def __init__(self) -> None:
        remove_left()
        root = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = FileLock(root / LOCK)
        lock.acquire()
        self.path = root / FILES
        self.path.mkdir(mode=0o700)  # after the lock: a folder without it is nobody's to remove
        self.remove = weakref.finalize(self, _remove, root, lock)
        """Deletes it with all that is in it, at the end of the process at the latest."""


def remove_left() -> None:
    """Delete the folders of servers of this user that do not live any more."""
    for root in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout):
            if _is_own(root) and (root / LOCK).is_file() and (root / FILES).is_dir():
                lock = FileLock(root / LOCK, timeout=0)
                lock.acquire()
                _remove(root, lock)


def _remove(root: Path, lock: FileLock) -> None:
    shutil.rmtree(root / FILES, ignore_errors=True)
    lock.release()
    shutil.rmtree(root, ignore_errors=True)


def _is_own(root: Path) -> bool:
    """Whether this is a real folder of this user."""
    status = root.lstat()
    return stat.S_ISDIR(status.st_mode) and (not hasattr(os, "getuid") or status.st_uid == os.getuid())
