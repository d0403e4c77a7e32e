"""Work in a thread, one piece at a time, with turns: light work never waits behind heavy work."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import Any, Generic, TypeVar

from starlette.exceptions import HTTPException

from dequant.studio.progress import Progress
from dequant.studio.stopping import Stopped

Result = TypeVar("Result")
Placed = Callable[[int], None]
"""Called with the number of pieces of work ahead, whenever it changes."""

BUSY = "Too many requests wait for their turn: try again soon."


class Job(Generic[Result]):
    """A piece of work that waits, runs or is done.

    Attributes:
        user: whose it is.
        done: its result, or `Stopped` where it was stopped.
    """

    def __init__(
        self, user: str, task: Callable[[Progress], Result], progress: Progress, placed: Placed | None = None
    ) -> None:
        self.user, self._task, self.progress = user, task, progress
        self.done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.done.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may ask for it
        self._placed, self._place = placed, -1

    def run(self) -> Result:
        """Do the work, in its thread."""
        self.progress.begin()
        self.progress.check()
        return self._task(self.progress)

    def place(self, ahead: int) -> None:
        """Say how many are ahead, if that has changed."""
        if self._placed is not None and ahead != self._place:
            self._placed(ahead)
        self._place = ahead


class Lane:
    """A thread and those who wait for it. Users take turns: the next is the one who had the last turn longest ago.

    Args:
        most: pieces of work that run or wait, at most; half of them of one user.
    """

    def __init__(self, most: int) -> None:
        self._most, self._thread = most, ThreadPoolExecutor(1)
        self._waiting: list[Job[Any]] = []
        self._running: Job[Any] | None = None
        self._turns, self._last = count(1), dict[str, int]()
        self._closed = False

    def enter(self, job: Job[Any]) -> None:
        """Let a piece of work wait for its turn.

        Raises:
            HTTPException: 503, too many wait, or the server ends.
        """
        jobs = [*self._waiting, *([] if self._running is None else [self._running])]
        own = sum(one.user == job.user for one in jobs)
        if self._closed or len(jobs) >= self._most or own >= max(1, (self._most + 1) // 2):
            raise HTTPException(503, BUSY, {"Retry-After": "5"})
        self._waiting.append(job)
        self._next()

    def cancel(self, job: Job[Any]) -> None:
        """Take a piece of work out, or have it stop at its next step."""
        job.progress.stop()
        if job in self._waiting:
            self._waiting.remove(job)
            job.done.set_exception(Stopped())
            self._next()

    def leave(self, user: str) -> None:
        """Cancel all work of a user."""
        jobs = [*self._waiting, *([] if self._running is None else [self._running])]
        for job in [one for one in jobs if one.user == user]:
            self.cancel(job)

    async def close(self) -> None:
        """Cancel all work, and wait until the thread has ended."""
        self._closed = True
        for job in [*self._waiting, *([] if self._running is None else [self._running])]:
            self.cancel(job)
        await asyncio.to_thread(self._thread.shutdown)

    def _next(self) -> None:
        """Begin the next piece of work, if the thread is free, and say to all others where they are."""
        order = list(self._order())
        if self._running is None and order:
            job = self._running = order.pop(0)
            self._waiting.remove(job)
            self._last[job.user] = next(self._turns)
            job.place(0)
            work = asyncio.get_running_loop().run_in_executor(self._thread, job.run)
            work.add_done_callback(partial(self._finish, job))
        for ahead, other in enumerate(order, start=1):
            other.place(ahead)

    def _order(self) -> Iterator[Job[Any]]:
        """Those who wait, in the order in which their turns come."""
        last, left = dict(self._last), list(self._waiting)
        for turn in range(len(left)):
            job = min(left, key=lambda one: last.get(one.user, 0))  # the first of equal ones came first
            left.remove(job)
            last[job.user] = max(self._last.values(), default=0) + turn + 1
            yield job

    def _finish(self, job: Job[Any], work: asyncio.Future[Any]) -> None:
        self._running = None
        if not job.done.done():
            error = Stopped() if work.cancelled() else work.exception()
            if error is None:
                job.done.set_result(work.result())
            else:
                job.done.set_exception(error)
        users = {one.user for one in self._waiting}
        self._last = {user: turn for user, turn in self._last.items() if user in users}
        self._next()


async def finished(lane: Lane, job: Job[Result], gone: Callable[[], Any], every: float = 0.5) -> Result:
    """The result of a piece of work, which is cancelled when the one who asked for it is gone.

    Args:
        lane: where it is.
        job: the work.
        gone: says whether the one who asked is gone; awaited.
        every: seconds between two such questions.

    Raises:
        Stopped: it was cancelled.
    """
    try:
        while not job.done.done():
            await asyncio.wait([job.done], timeout=every)
            if not job.done.done() and await gone():
                lane.cancel(job)
                await asyncio.wait([job.done])
    finally:
        if not job.done.done():
            lane.cancel(job)
            await asyncio.wait([job.done])
    return job.done.result()
