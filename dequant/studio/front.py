"""What all endpoints share: the sessions, the files, the two lanes, and how a request is read."""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path
from typing import TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request

from dequant.errors import InputError
from dequant.io import formats
from dequant.studio.lanes import Job, Lane, finished
from dequant.studio.operations import Workshop
from dequant.studio.progress import Progress
from dequant.studio.session import Limits, Session, Store
from dequant.studio.views import PIXELS

COOKIE, HEADER = "dequant_session", "X-Session"
"""Either holds the token of a session; the header takes precedence."""

EVERY = 60.0
"""Seconds between two looks for sessions that were not used for too long."""

Result = TypeVar("Result")


class Front:
    """The state of a server.

    Attributes:
        limits: what it accepts.
        workshop: what it knows from earlier work.
        pictures: of it, what was read and made of files.
        store: all sessions.
        light: for what takes a moment.
        heavy: for edits.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits, self.workshop = limits, Workshop()
        self.pictures = self.workshop.pictures
        self.light, self.heavy = Lane(limits.waiting), Lane(limits.waiting)
        self.store = Store(limits, self._dropped, self._ended)
        self._strangers = count()

    def session(self, request: Request) -> Session | None:
        """That of a request."""
        return self.store.find(request.headers.get(HEADER) or request.cookies.get(COOKIE))

    def file(self, request: Request, name: str) -> tuple[Session, Path]:
        """A file of the request's own session.

        Raises:
            HTTPException: 404 where there is none, be it another's or nobody's.
        """
        session = self.session(request)
        path = None if session is None else session.path(name)
        if session is None or path is None:
            raise HTTPException(404, "Your session has no such image: upload it, or make it again.")
        return session, path

    async def quick(self, request: Request, task: Callable[[], Result], loads: bool = False) -> Result:
        """Do light work when it is its turn.

        Args:
            request: who asks.
            task: the work.
            loads: whether it may load networks. Then it has its turn among the heavy work: libraries leave parameters
                without data where two threads load networks at the same time.

        Raises:
            HTTPException: 503, too many wait.
            Stopped: the one who asked is gone.
        """
        session = self.session(request)
        user = f"stranger {next(self._strangers)}" if session is None else session.token
        job = Job(user, lambda progress: task(), Progress(self.limits.work_seconds))
        lane = self.heavy if loads else self.light
        lane.enter(job)
        return await finished(lane, job, request.is_disconnected)

    async def body(self, request: Request, most: int) -> AsyncIterator[bytes]:
        """The parts of a body.

        Args:
            request: whose.
            most: bytes that are taken.

        Raises:
            HTTPException: 413 as soon as there is too much of it, 408 where it takes too long.
        """
        found, too_large = 0, HTTPException(413, f"The body is too large: at most {most} bytes.", CLOSE)
        length = request.headers.get("content-length", "")
        if length.isdecimal() and (len(length) > 15 or int(length) > most):
            raise too_large
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                async for part in request.stream():
                    found += len(part)
                    if found > most:
                        raise too_large
                    yield part
        except TimeoutError:
            raise HTTPException(408, "The body took too long to arrive.", CLOSE) from None

    async def json(self, request: Request) -> bytes:
        """The body of a request that has to be JSON.

        Raises:
            HTTPException: 415 where it says that it is not, and as `body`.
        """
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise HTTPException(415, "Send JSON, with the header Content-Type: application/json.")
        return b"".join([part async for part in self.body(request, self.limits.json_bytes)])

    async def expire(self) -> None:
        """End sessions that were not used for too long, for as long as the server lives."""
        while True:
            await asyncio.sleep(EVERY)
            self.store.expire()

    async def close(self) -> None:
        """Stop all work, and delete everything."""
        try:
            await asyncio.gather(self.light.close(), self.heavy.close())
        finally:
            self.store.close()

    def _dropped(self, path: Path) -> None:
        self.pictures.forget(path)
        self.workshop.tunings.forget(path)

    def _ended(self, session: Session) -> None:
        for lane in (self.light, self.heavy):
            lane.leave(session.token)


CLOSE = {"Connection": "close"}


def n_colors(request: Request) -> int | None:
    """The number of colours that a query asks for.

    Raises:
        InputError: it is none from 1 to 256.
    """
    return _number(request, "n_colors", 256)


def pixels(request: Request) -> int:
    """The number of pixels of a view that a query asks for.

    Raises:
        InputError: it is none from 1 to `formats.MAX_PIXELS`.
    """
    found = _number(request, "pixels", formats.MAX_PIXELS)
    return PIXELS if found is None else found


def _number(request: Request, name: str, most: int) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= most):
        raise InputError(f"Expected {name} from 1 to {most}.")
    return int(text)
