import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from dequant.studio.lanes import Job, Lane, finished
from dequant.studio.progress import Progress, Stopped, TooLong
from tests.studio.conftest import Gate


def job(user: str, task: Callable[[Progress], Any] = lambda progress: None, **more: Any) -> Job[Any]:
    return Job(user, task, Progress(more.pop("seconds", 60)), more.get("placed"))


async def here() -> bool:
    return False


async def entered(lane: Lane, users: str, done: list[str], gate: Gate) -> list[Job[Any]]:
    """Jobs that wait behind one that stands still."""
    lane.enter(job("first", gate.pass_))
    await asyncio.to_thread(gate.begun.wait, 10)
    jobs = [job(user, lambda progress, user=user: done.append(user)) for user in users]
    for one in jobs:
        lane.enter(one)
    return jobs


@pytest.mark.parametrize(
    ("came", "served"),
    [("ab", "ab"), ("aaab", "abaa"), ("aaabbc", "abcaba"), ("aab" + "c", "abca"), ("aaaaa", "aaaaa")],
)
def test_users_take_turns(came: str, served: str) -> None:
    async def run() -> list[str]:
        lane, gate, done = Lane(40), Gate(), list[str]()
        jobs = await entered(lane, came, done, gate)
        gate.go.set()
        await asyncio.wait([one.done for one in jobs])
        await lane.close()
        return done

    assert "".join(asyncio.run(run())) == served


def test_the_one_who_had_a_turn_comes_after_the_one_who_had_none() -> None:
    async def run() -> list[str]:
        lane, gate, done = Lane(40), Gate(), list[str]()
        lane.enter(job("a", gate.pass_))
        await asyncio.to_thread(gate.begun.wait, 10)
        jobs = [job(user, lambda progress, user=user: done.append(user)) for user in "aaab"]
        for one in jobs:
            lane.enter(one)
        gate.go.set()
        await asyncio.wait([one.done for one in jobs])
        await lane.close()
        return done

    assert "".join(asyncio.run(run())) == "baaa"


def test_places_are_told_when_they_change() -> None:
    async def run() -> tuple[list[int], list[int]]:
        lane, gate = Lane(40), Gate()
        mine, late = list[int](), list[int]()
        lane.enter(job("first", gate.pass_))
        last = job("a", placed=mine.append)
        lane.enter(job("a"))
        lane.enter(last)
        lane.enter(job("b"))
        newest = job("b", placed=late.append)
        lane.enter(newest)
        gate.go.set()
        await asyncio.wait([last.done, newest.done])
        await lane.close()
        return mine, late

    mine, late = asyncio.run(run())
    assert mine == [2, 3, 2, 1, 0]  # b's first goes before a's second
    assert late == [4, 3, 2, 1, 0]


def test_too_many_and_too_many_of_one_user_are_refused() -> None:
    async def run() -> None:
        lane, gate = Lane(4), Gate()
        for user in ("a", "a", "b"):
            lane.enter(job(user, gate.pass_))
        with pytest.raises(HTTPException) as refused:
            lane.enter(job("a"))
        assert refused.value.status_code == 503 and refused.value.headers == {"Retry-After": "5"}
        lane.enter(job("c", gate.pass_))
        with pytest.raises(HTTPException):
            lane.enter(job("d"))
        gate.go.set()
        await lane.close()

    asyncio.run(run())


def test_what_waits_leaves_and_what_runs_stops_at_its_next_step() -> None:
    async def run() -> None:
        lane, gate, done = Lane(40), Gate(), list[str]()
        running = job("a", gate.pass_)
        lane.enter(running)
        await asyncio.to_thread(gate.begun.wait, 10)
        waiting, other = job("a", lambda progress: done.append("a")), job("b", lambda progress: done.append("b"))
        lane.enter(waiting)
        lane.enter(other)
        lane.leave("a")
        await asyncio.wait([running.done, waiting.done, other.done])
        assert isinstance(running.done.exception(), Stopped) and isinstance(waiting.done.exception(), Stopped)
        assert gate.stopped.is_set() and done == ["b"]
        await lane.close()

    asyncio.run(run())


def test_the_one_who_is_gone_is_not_worked_for() -> None:
    async def run() -> None:
        lane, gate = Lane(40), Gate()
        one = job("a", gate.pass_)
        lane.enter(one)

        async def gone() -> bool:
            return gate.begun.is_set()

        with pytest.raises(Stopped):
            await finished(lane, one, gone, every=0.01)
        assert gate.stopped.is_set()
        again = job("a", lambda progress: 3)
        lane.enter(again)
        assert await finished(lane, again, here) == 3
        await lane.close()

    asyncio.run(run())


def test_a_cancelled_request_waits_until_its_work_has_stopped() -> None:
    async def run() -> None:
        lane, gate = Lane(40), Gate()
        one = job("a", gate.pass_)
        lane.enter(one)
        asking = asyncio.create_task(finished(lane, one, here))
        await asyncio.to_thread(gate.begun.wait, 10)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert gate.stopped.is_set() and one.done.done()
        await lane.close()

    asyncio.run(run())


def test_errors_and_limits_of_time_come_back_and_the_lane_goes_on() -> None:
    async def run() -> None:
        lane, gate = Lane(40), Gate()

        def fail(progress: Progress) -> None:
            raise ValueError("no")

        wrong, long, good = job("a", fail), job("a", gate.pass_, seconds=0.05), job("a", lambda progress: 1)
        for one in (wrong, long, good):
            lane.enter(one)
        await asyncio.wait([wrong.done, long.done, good.done])
        assert isinstance(wrong.done.exception(), ValueError) and isinstance(long.done.exception(), TooLong)
        assert good.done.result() == 1
        await lane.close()

    asyncio.run(run())


def test_closing_stops_everything_and_ends_the_thread() -> None:
    async def run() -> None:
        before, lane, gate = threading.active_count(), Lane(40), Gate()
        jobs = [job("a", gate.pass_), job("b")]
        for one in jobs:
            lane.enter(one)
        await asyncio.to_thread(gate.begun.wait, 10)
        await lane.close()
        await asyncio.wait([one.done for one in jobs])
        assert all(isinstance(one.done.exception(), Stopped) for one in jobs)
        assert threading.active_count() <= before + 1  # the one that `to_thread` keeps
        with pytest.raises(HTTPException):
            lane.enter(job("a"))

    asyncio.run(run())
