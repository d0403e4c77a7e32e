"""Processes that do the jobs of a run. One that dies takes a single file with it, and leaves when its parent does."""

import contextlib
import os
import pickle
import shutil
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from multiprocessing import connection, get_context, parent_process, resource_tracker
from typing import Any

from dequant.cli.jobs import Job, Outcome, Terms, carry_out, failed, staging_folder
from dequant.cli.signals import WATCHED, blocked

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Variables of the environment that libraries read when they are loaded."""

PATIENCE = 5.0
"""Seconds that a process has for its end once it has closed its pipe."""


def outcomes(terms: Terms, jobs: Sequence[Job], processes: int) -> Generator[tuple[Job, Outcome], None, None]:
    """Do jobs, in any order. Whoever stops early must close the iterator, which removes what is not complete.

    Args:
        terms: what they share.
        jobs: the jobs.
        processes: how many work at the same time; 0 works in this one.
    """
    if processes == 0:
        for job in jobs:
            try:
                yield job, carry_out(terms, job)
            finally:
                shutil.rmtree(staging_folder(job), ignore_errors=True)
        return
    pool = _Pool(terms, jobs, processes)
    try:
        yield from pool.run()
    finally:
        pool.end()


class _Pool:
    def __init__(self, terms: Terms, jobs: Sequence[Job], processes: int) -> None:
        self.terms, self.processes = terms, min(processes, len(jobs))
        self.waiting, self.unfinished = deque(jobs), list[Job]()
        self.idle, self.busy = list[_Worker](), list[_Worker]()
        if os.name == "posix":
            resource_tracker.ensure_running()  # later it would unblock the signals

    def run(self) -> Iterator[tuple[Job, Outcome]]:
        while self.waiting or self.busy:
            self._hand_out()
            done = [(worker.job, worker.outcome(self.terms)) for worker in self._ready()]
            self._hand_out()
            for job, outcome in done:
                yield job, outcome
                self.unfinished.remove(job)

    def end(self) -> None:
        """Kill the processes, and remove what they were working on."""
        for worker in (*self.idle, *self.busy):
            worker.end()
        for job in self.unfinished:
            shutil.rmtree(staging_folder(job), ignore_errors=True)

    def _hand_out(self) -> None:
        with blocked():
            while self.waiting and len(self.busy) < self.processes:
                worker = self.idle.pop() if self.idle else _Worker(self.terms, self.processes)
                self.busy.append(worker)
                self.unfinished.append(self.waiting[0])
                worker.give(self.waiting.popleft())

    def _ready(self) -> list["_Worker"]:
        """Wait for workers that have ended their job, or themselves."""
        signs = [sign for worker in self.busy for sign in (worker.connection, worker.process.sentinel)]
        seen = connection.wait(signs)
        ready = [worker for worker in self.busy if worker.connection in seen or worker.process.sentinel in seen]
        self.busy = [worker for worker in self.busy if worker not in ready]
        self.idle += [worker for worker in ready if worker.receive()]
        return ready


class _Worker:
    """One process, and the job that it is doing."""

    job: Job
    _answer: Outcome | None = None

    def __init__(self, terms: Terms, processes: int) -> None:
        context = get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, _share(processes)), daemon=True)
        self.process.start()
        other.close()
        self._send(pickle.dumps(terms))

    def give(self, job: Job) -> None:
        self.job = job
        self._send(pickle.dumps(job))

    def receive(self) -> bool:
        """Take the answer; False where the process has died."""
        try:
            self._answer = self.connection.recv() if self.connection.poll() else None
        except (EOFError, OSError):
            self._answer = None
        if self._answer is None:
            self.process.join(PATIENCE)
            self.end()
        return self._answer is not None

    def outcome(self, terms: Terms) -> Outcome:
        if self._answer is not None:
            return self._answer
        shutil.rmtree(staging_folder(self.job), ignore_errors=True)
        code = self.process.exitcode or 0
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
        perhaps = "; perhaps the memory was full" if code == -signal.SIGKILL else ""
        return failed(terms, self.job, f"The process that worked on it ended {how}{perhaps}.")

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()

    def _send(self, message: bytes) -> None:
        with contextlib.suppress(OSError):  # it is dead, which the next wait finds
            self.connection.send_bytes(message)


def _serve(jobs: Any, threads: int | None) -> None:
    """What a process does: jobs, until there are no more."""
    for signum in WATCHED:
        signal.signal(signum, signal.SIG_IGN)
    os.dup2(2, 1)  # standard output belongs to the parent
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    if threads is not None:
        os.environ.update(dict.fromkeys(THREADS, str(threads)))
    terms = pickle.loads(jobs.recv_bytes())
    while True:
        try:
            job = pickle.loads(jobs.recv_bytes())
        except EOFError:
            return
        jobs.send(carry_out(terms, job))


def _leave_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _share(processes: int) -> int | None:
    """How many threads each of several processes has; None where it has all, or the environment says how many.

    A network's sums depend on that number in their last bit, and so does, rarely, a level of a pixel.
    """
    if processes == 1 or os.environ.get("OMP_NUM_THREADS"):
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // processes)
