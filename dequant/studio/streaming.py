"""Edits as streams of events: the place in the queue, the steps, and what came of it."""

import asyncio
import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from starlette.types import Receive, Scope, Send

from dequant.studio.answers import KNOWN, Refusal
from dequant.studio.lanes import Job, Lane
from dequant.studio.progress import Progress
from dequant.studio.stopping import Stopped

KIND = "text/event-stream"

ALIVE = 5.0
"""Seconds between two signs of life."""


class Stream:
    """The answer to a request for a piece of work: an ASGI application. When its client leaves, the work is cancelled.

    Args:
        lane: that does the work.
        seconds: that it may take.

    Attributes:
        progress: of the work; its events are sent.
    """

    def __init__(self, lane: Lane, seconds: float) -> None:
        self._lane, self._events = lane, asyncio.Queue[bytes | None]()
        self._loop = asyncio.get_running_loop()
        self.progress = Progress(seconds, self._tell)

    def begin(
        self, job: Job[dict[str, Any]], keep: Callable[[dict[str, Any]], dict[str, Any]], held: ExitStack
    ) -> "Stream":
        """Let the work wait for its turn.

        Args:
            job: the work, with the `progress` and `placed` of this.
            keep: turns what the work returns into what is sent.
            held: is closed in the end.

        Raises:
            HTTPException: 503, too many wait.
        """
        self._lane.enter(job)
        self._job, self._keep, self._held = job, keep, held
        job.done.add_done_callback(lambda _: self._events.put_nowait(None))
        return self

    def placed(self, ahead: int) -> None:
        """Say how many are ahead."""
        self._events.put_nowait(encoded("waiting", {"place": ahead}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        headers = [(b"content-type", KIND.encode()), (b"x-accel-buffering", b"no")]
        leaving = asyncio.create_task(self._left(receive))
        error: Exception | None = None
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while (event := await self._next()) is not None:
                await send({"type": "http.response.body", "body": event, "more_body": True})
            last, error = self._last(leaving.done())
            await send({"type": "http.response.body", "body": last})
        finally:
            leaving.cancel()
            self._lane.cancel(self._job)
            if not self._job.done.done():
                await asyncio.wait([self._job.done])
            self._held.close()
        if error is not None and not isinstance(error, KNOWN):
            raise error

    def _tell(self, name: str, content: dict[str, Any]) -> None:
        """From the thread of the work."""
        self._loop.call_soon_threadsafe(self._events.put_nowait, encoded(name, content))

    async def _next(self) -> bytes | None:
        """The next event; a comment where there is none for a while."""
        try:
            return await asyncio.wait_for(self._events.get(), ALIVE)
        except TimeoutError:
            return b": still here\n\n"

    def _last(self, left: bool) -> tuple[bytes, Exception | None]:
        """The event that ends the stream, and the error that it is of."""
        try:
            about = self._job.done.result()
            if left:
                raise Stopped
            return encoded("done", self._keep(about)), None
        except Exception as error:
            refusal = Refusal.of(error)
            return encoded("error", {"error": refusal.said, "status": refusal.status}), error

    async def _left(self, receive: Receive) -> None:
        """Cancel the work when the client leaves."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._lane.cancel(self._job)


def encoded(name: str, content: dict[str, Any]) -> bytes:
    """An event as it is sent."""
    return f"event: {name}\ndata: {json.dumps(content, allow_nan=False)}\n\n".encode()
