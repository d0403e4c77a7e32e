"""What users have uploaded and made: files in a temporary folder for each session, gone when it ends."""

import secrets
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dequant.errors import InputError
from dequant.io.files import named_if_full
from dequant.studio.folders import Folder

PNG = ".png"
"""Suffix of results; photos have none."""

KEPT = "kept"
"""Name of the folder in a session's folder for what is kept of tunings."""


@dataclass(frozen=True)
class Limits:
    """What a server accepts and holds. Where there is more, the oldest is dropped.

    Attributes:
        body_bytes: of an uploaded photo.
        json_bytes: of any other body.
        body_seconds: that a body may take to arrive.
        sessions: held at the same time; the one that was not used for longest is dropped.
        session_seconds: after which a session ends that is not used.
        photos: of a session.
        results: of a session.
        stored_bytes: of all files; those of the session that holds most are dropped.
        waiting: requests that work or wait for their turn, in each of the two lanes; half of them of one session.
        work_seconds: that one edit may take.
    """

    body_bytes: int = 64 * 2**20
    json_bytes: int = 16 * 2**20
    body_seconds: float = 60
    sessions: int = 32
    session_seconds: float = 12 * 3600
    photos: int = 32
    results: int = 64
    stored_bytes: int = 2 * 2**30
    waiting: int = 32
    work_seconds: float = 600


@dataclass
class Session:
    """One user's files.

    Attributes:
        token: which only its user knows.
        folder: of the files.
        files: name and bytes of each, oldest first: "ID" of a photo, "ID.png" of a result.
        ended: whether they are gone.
        used: when it was, by `time.monotonic`.
    """

    token: str
    folder: Path
    files: dict[str, int] = field(default_factory=dict)
    ended: bool = False
    used: float = field(default_factory=time.monotonic)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values()) + self.kept

    @property
    def kept(self) -> int:
        """Bytes of what is kept of tunings."""
        return sum(path.stat().st_size for path in (self.folder / KEPT).rglob("*") if path.is_file())

    def path(self, name: str) -> Path | None:
        """Where a file is, None where the session has none of that name."""
        return self.folder / name if name in self.files else None


class Store:
    """All sessions, in a temporary folder that only this user of the machine can read.

    Args:
        limits: what it holds.
        dropped: called with the path of each file or folder that is deleted.
        ended: called with each session that ends.
    """

    def __init__(
        self,
        limits: Limits,
        dropped: Callable[[Path], None] = lambda path: None,
        ended: Callable[[Session], None] = lambda session: None,
    ) -> None:
        self.limits, self._dropped, self._ended = limits, dropped, ended
        self._folder = Folder()
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def find(self, token: str | None) -> Session | None:
        """The session of a token, which now was used last; None where it has none, or none any more."""
        session = self._sessions.get(token or "")
        if session is not None and self._is_over(session):
            self.end(session)
            return None
        if session is not None:
            session.used = time.monotonic()
            self._sessions.move_to_end(session.token)
        return session

    def begin(self) -> Session:
        """A new session; where there are too many, that which was not used for longest ends."""
        session = Session(secrets.token_urlsafe(32), self._folder.path / secrets.token_hex(8))
        session.folder.mkdir(mode=0o700)
        self._sessions[session.token] = session
        while len(self._sessions) > self.limits.sessions:
            self.end(next(iter(self._sessions.values())))
        return session

    def end(self, session: Session) -> None:
        """Delete a session with all its files."""
        session.ended = True
        self._sessions.pop(session.token, None)
        session.files.clear()
        shutil.rmtree(session.folder, ignore_errors=True)
        self._dropped(session.folder)
        self._ended(session)

    def expire(self) -> None:
        """End the sessions that were not used for too long."""
        for session in [one for one in self._sessions.values() if self._is_over(one)]:
            self.end(session)

    def drop(self, session: Session, name: str) -> None:
        """Delete a file."""
        del session.files[name]
        (session.folder / name).unlink(missing_ok=True)
        self._dropped(session.folder / name)

    @contextmanager
    def partial(self, suffix: str = ".part") -> Iterator[Path]:
        """A path for a file that is not yet a session's; what is left of it is deleted."""
        path = self._folder.path / f"{secrets.token_hex(8)}{suffix}"
        try:
            with named_if_full(path):
                yield path
        finally:
            path.unlink(missing_ok=True)
            self._dropped(path)

    def keep(self, session: Session, path: Path, suffix: str = "") -> str:
        """Move a file into a session, and drop what is too old.

        Returns:
            its id.

        Raises:
            InputError: the file alone is larger than all files may be.
        """
        size, limits = path.stat().st_size, self.limits
        if size > limits.stored_bytes:
            raise InputError(f"The picture has {size} bytes: at most {limits.stored_bytes} are held here.")
        identity = secrets.token_hex(8)
        name = identity + suffix
        path.replace(session.folder / name)
        session.files[name] = size
        alike = [one for one in session.files if one.endswith(PNG) == name.endswith(PNG)]
        for old in alike[: -(limits.results if suffix == PNG else limits.photos)]:
            self.drop(session, old)
        self.fit(name)
        return identity

    def fit(self, name: str = "") -> None:
        """Drop files until all fit into the limit, but not the one of this name."""
        while sum(one.size for one in self._sessions.values()) > self.limits.stored_bytes:
            if not self._drop_oldest(name):
                return

    def close(self) -> None:
        """Delete everything."""
        for session in list(self._sessions.values()):
            self.end(session)
        self._folder.remove()

    def _is_over(self, session: Session) -> bool:
        return time.monotonic() - session.used > self.limits.session_seconds

    def _drop_oldest(self, kept: str) -> bool:
        """Drop what is kept of tunings or one file, but not that which was just kept, of the session with most."""
        held = [one for one in self._sessions.values() if one.kept or any(name != kept for name in one.files)]
        if not held:
            return False
        largest = max(held, key=lambda one: one.size)
        if largest.kept:
            shutil.rmtree(largest.folder / KEPT, ignore_errors=True)
            self._dropped(largest.folder / KEPT)
            return True
        self.drop(largest, next(name for name in largest.files if name != kept))
        return True
