"""What users have uploaded and made: files in a temporary folder for each session, gone when it ends."""

import secrets
import shutil
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from dequant.errors import InputError

PNG = ".png"
"""Suffix of results; photos have none."""


@dataclass(frozen=True)
class Limits:
    """What a server accepts and holds. Where there is more, the oldest is dropped.

    Attributes:
        body_bytes: of an uploaded photo.
        json_bytes: of any other body.
        body_seconds: that a body may take to arrive.
        sessions: held at the same time; the one that was not used for longest is dropped.
        photos: of a session.
        results: of a session.
        stored_bytes: of all files; those of the session that holds most are dropped.
        waiting: requests that work or wait for their turn.
    """

    body_bytes: int = 64 * 2**20
    json_bytes: int = 16 * 2**20
    body_seconds: float = 60
    sessions: int = 32
    photos: int = 32
    results: int = 64
    stored_bytes: int = 2 * 2**30
    waiting: int = 8


@dataclass
class Session:
    """One user's files.

    Attributes:
        token: which only its user knows.
        folder: of the files.
        files: name and bytes of each, oldest first: "ID" of a photo, "ID.png" of a result.
        ended: whether they are gone.
    """

    token: str
    folder: Path
    files: dict[str, int] = field(default_factory=dict)
    ended: bool = False

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())

    def path(self, name: str) -> Path | None:
        """Where a file is, None where the session has none of that name."""
        return self.folder / name if name in self.files else None

    def drop(self, name: str) -> None:
        """Delete a file."""
        del self.files[name]
        (self.folder / name).unlink(missing_ok=True)


class Store:
    """All sessions, in a temporary folder that only this user of the machine can read."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._root = TemporaryDirectory(prefix="dequant-", ignore_cleanup_errors=True)
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def find(self, token: str | None) -> Session | None:
        """The session of a token, which now was used last."""
        session = self._sessions.get(token or "")
        if session is not None:
            self._sessions.move_to_end(session.token)
        return session

    def begin(self) -> Session:
        """A new session; where there are too many, that which was not used for longest ends."""
        session = Session(secrets.token_urlsafe(32), Path(self._root.name) / secrets.token_hex(8))
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

    @contextmanager
    def partial(self, suffix: str = ".part") -> Iterator[Path]:
        """A path for a file that is not yet a session's; what is left of it is deleted."""
        path = Path(self._root.name) / f"{secrets.token_hex(8)}{suffix}"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

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
            session.drop(old)
        while sum(one.size for one in self._sessions.values()) > limits.stored_bytes:
            self._drop_oldest(name)
        return identity

    def close(self) -> None:
        """Delete everything."""
        for session in list(self._sessions.values()):
            self.end(session)
        self._root.cleanup()

    def _drop_oldest(self, kept: str) -> None:
        """Drop one file, but not that which was just kept, of the session that holds most."""
        held = [one for one in self._sessions.values() if any(name != kept for name in one.files)]
        largest = max(held, key=lambda one: one.size)
        largest.drop(next(name for name in largest.files if name != kept))
