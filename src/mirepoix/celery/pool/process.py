"""A process of the direct pool, as its parent sees it: the jobs that it has, and those that it has begun."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import billiard

from mirepoix.celery.pool.child import Child
from mirepoix.celery.pool.frames import READ_AT_ONCE, Reader, Writer, packed
from mirepoix.celery.pool.job import Job
from mirepoix.celery.pool.page import Page
from mirepoix.celery.pool.soft_limit import SOFT_LIMIT

AHEAD_S = 0.005
"""A process is given as many jobs as it runs in this time, so that it need not wait for its parent between two."""

MOST_AHEAD = 64


class PoolProcess:
    """The parent's end of one process."""

    def __init__(self, page: Page, slot: int, index: int) -> None:
        self._page, self.slot, self._index = page, slot, index
        self.jobs: dict[int, Job] = {}
        """The jobs that it was given and that have not ended, in their order."""
        self.is_ready = False
        """Whether it has finished its own initialization."""
        self.is_leaving = False
        """Whether it was told to exit, or has to be killed. It is given no more jobs."""
        self.is_silent = False
        """Whether it has begun nothing of what it was given. It is given no more until it reports something."""
        self.is_dead = False
        self.is_cut = False
        """Whether its end of the socket is closed: it is about to exit."""
        self._reader = Reader()
        self._number = 0
        self._mean_s: float | None = None
        self._given_at = 0.0
        self._process: Any = None
        self._socket: socket.socket
        self._writer: Writer
        self.exit_fd: int | None = None
        """A descriptor that can be read when the process has ended; None where the system has none."""
        self.write_fd = -1
        """The same socket. Celery's event loop takes one descriptor for reading or for writing, not for both."""

    def start(self, make: Callable[[int, socket.socket], Child], others: Callable[[], list[PoolProcess]]) -> None:
        """Fork. The new process closes the parent's ends of the *others*."""
        own, childs = socket.socketpair()
        self._page.clear(self.slot)

        def run() -> None:
            own.close()
            for other in others():
                other.close()
            sys.exit(make(self.slot, childs).run())

        self._process = billiard.get_context("fork").Process(
            target=run, name=f"PoolProcess-{self._index + 1}", daemon=True
        )
        self._process.index = self._index
        self._process.start()
        childs.close()
        own.setblocking(False)
        self._socket, self._writer = own, Writer(own)
        self.write_fd = os.dup(own.fileno())
        if hasattr(os, "pidfd_open"):
            with suppress(OSError):
                self.exit_fd = os.pidfd_open(self.pid)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return int(self._process.pid)

    @property
    def end(self) -> socket.socket:
        """The parent's end."""
        return self._socket

    @property
    def exitcode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return None if self._process is None else self._process.exitcode

    # ---- jobs

    @property
    def room(self) -> int:
        """How many more jobs it can be given: one at a time, and more while they are quick."""
        if self.is_leaving or self.is_dead or self.is_silent:
            return 0
        ahead = 1
        if self._mean_s is not None:
            ahead = max(1, int(min(MOST_AHEAD, AHEAD_S / max(self._mean_s, 1e-6))))
        return ahead - len(self.jobs)

    def share(self, waiting: int, free: int) -> int:
        """How many of the *waiting* jobs it is given now: several idle processes share a small batch."""
        return self.room if self.jobs else min(self.room, -(-waiting // free))

    def give(self, jobs: list[Job]) -> None:
        """Give it these jobs."""
        if not self.jobs:
            self._given_at = time.monotonic()
        for job in jobs:
            self._number = self._next_number()
            job.given(self, self._number)
            self.jobs[job.number] = job
        self._send([job.message for job in jobs])

    def _next_number(self) -> int:
        return self._number + 1

    def running(self) -> list[tuple[Job, float]]:
        """The jobs that it runs, each with when it began, by the monotonic clock."""
        number = self._page.last_begun(self.slot)
        job = self.jobs.get(number)
        at = None if job is None else self._page.begun_at(self.slot, number)
        return [] if job is None or at is None else [(job, at)]

    def culprit(self, running: Iterable[Job]) -> Job | None:
        """The one of the *running* jobs that is blamed for its death; None if nothing shows which."""
        return next(iter(running), None)

    def began(self, job: Job) -> float | None:
        """When it began that job, by the monotonic clock; None if it has not."""
        return self._page.begun_at(self.slot, job.number)

    def begun_at(self, number: int) -> float:
        """When it began that job, by the monotonic clock; now, if it has begun another since."""
        at = self._page.begun_at(self.slot, number)
        return time.monotonic() if at is None else at

    def ended(self, number: int, took_s: float) -> Job | None:
        """Return the job that has ended, and forget it. The time that it took shows how quick jobs are."""
        mean_s = took_s if self._mean_s is None else self._mean_s
        # On a busy machine a quick job may have waited long for the CPU. One must not slow down the next twenty.
        weight = 0.2 if took_s > mean_s else 0.5
        self._mean_s = mean_s + weight * (took_s - mean_s)
        return self.jobs.pop(number, None)

    @property
    def has_not_begun_all(self) -> bool:
        """Whether it was given jobs that it has not begun."""
        return bool(self.jobs) and next(reversed(self.jobs)) > self._page.last_begun(self.slot)

    def recall(self) -> list[Job] | None:
        """Take back the jobs that it has not begun. None if it is just beginning one: ask again."""
        if not self.jobs:
            return []
        begun = self._page.recall(self.slot, self._number)
        if begun is None:
            return None
        back = [job for number, job in self.jobs.items() if number > begun]
        for job in back:
            del self.jobs[job.number]
            job.returned()
        return back

    def is_slow(self, after_s: float) -> bool:
        """Whether the job that it runs has run for that time, with others behind it. Then few are given from now on."""
        running = self.running() if len(self.jobs) > 1 else []
        if not running:
            return False
        ran_s = time.monotonic() - running[0][1]
        if ran_s < after_s:
            return False
        self._mean_s = max(ran_s, self._mean_s or 0.0)
        return True

    def is_stuck(self, after_s: float) -> bool:
        """Whether it has begun nothing for that time, although it was ready: it is frozen, or gets no CPU."""
        if not self.is_ready or not self.jobs or self.running():
            return False
        self.is_silent = time.monotonic() - self._given_at > after_s
        return self.is_silent

    def will_begin(self, within_s: float) -> bool:
        """Whether it is about to begin jobs that wait for it. Of a process with one job at a time nobody knows."""
        return False

    def limit_softly(self, job: Job, signum: int) -> bool:
        """Send the signal of the soft time limit for that job alone; False if the process does not run it now."""
        return self._page.signal(self.slot, job.number, self.pid, signum, interruption=SOFT_LIMIT)

    def end_with(self, job: Job, signum: int) -> bool:
        """End the process with a signal if it runs that job now, and return whether it does."""
        if not self._page.signal(self.slot, job.number, self.pid, signum):
            return False
        self.is_leaving = True
        return True

    def terminate(self, job: Job, signum: int) -> bool:
        """End that job if the process runs it now, and return whether it does. It takes the process with it."""
        return self.end_with(job, signum)

    # ---- the way there and back

    def leave(self) -> None:
        """Tell it to exit after the jobs that it has begun."""
        if not self.is_leaving:
            self.is_leaving = True
            self._send([None])

    def kill(self, signum: int = signal.SIGKILL) -> None:
        """Send it a signal."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signum)

    def read(self) -> Iterator[tuple[str, int, Any, float]]:
        """What it has reported. Ends at the end of what has arrived."""
        while True:
            try:
                arrived = self._socket.recv(READ_AT_ONCE)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                arrived = b""
            if not arrived:
                self.is_cut = True
                return
            self.is_silent = False
            yield from self._reader.feed(arrived)

    @property
    def is_behind(self) -> bool:
        """Whether something waits until its socket takes more."""
        return self._writer.is_behind

    def flush(self) -> None:
        """Send what waits."""
        with suppress(OSError):
            self._writer.flush()

    def close(self) -> None:
        """Close the parent's end of a process that is gone."""
        self.is_dead = True
        self._socket.close()
        os.close(self.write_fd)
        if self.exit_fd is not None:
            os.close(self.exit_fd)
            self.exit_fd = None

    def _send(self, jobs: list[Any]) -> None:
        with suppress(OSError):  # it is gone; its end is noticed elsewhere
            self._writer.send(packed(jobs))
