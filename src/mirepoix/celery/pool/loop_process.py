"""A process of the asyncio pool, as its parent sees it: it runs many jobs at once, each in a place of the page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import takewhile
from typing import Any

from celery.utils.log import get_logger

from mirepoix.celery import private
from mirepoix.celery.async_def import is_coroutine
from mirepoix.celery.pool.child import STACK
from mirepoix.celery.pool.job import Job
from mirepoix.celery.pool.page import Page
from mirepoix.celery.pool.process import PoolProcess
from mirepoix.celery.pool.soft_limit import TERMINATION

logger = get_logger("mirepoix.pool")

MOST_AHEAD = 200
"""A process is given no more jobs while it has so many that it has not begun: they may have to be taken back."""


class LoopProcess(PoolProcess):
    """The parent's end of one process."""

    def __init__(self, page: Page, slot: int, index: int, tasks: Any, is_suspect: Callable[[Job], bool]) -> None:
        super().__init__(page, slot, index)
        self._tasks = tasks
        self._is_suspect = is_suspect
        self._free = list(range(page.places))
        self._turn = 0
        self.ended_for: str | None = None
        """Why its parent ends it; then none of the jobs that it still has is to blame."""
        self.is_told = False
        """Whether it was logged that its loop is blocked."""

    # ---- jobs

    @property
    def room(self) -> int:
        """How many more jobs it can be given: as many as have a place, and few that it has not begun."""
        if self.is_leaving or self.is_dead or self.is_silent:
            return 0
        last = self._page.last_begun(self.slot)
        not_begun = sum(1 for _ in takewhile(lambda number: number > last, reversed(self.jobs)))
        return min(self._page.places - len(self.jobs), MOST_AHEAD - not_begun)

    def share(self, waiting: int, free: int) -> int:
        """How many of the *waiting* jobs it is given now: processes with room share them."""
        return min(self.room, -(-waiting // free))

    def give(self, jobs: list[Job]) -> None:
        if not self.has_not_begun_all:
            self._given_at = time.monotonic()
        super().give(jobs)

    def _next_number(self) -> int:
        """The number says the place: see `Page`."""
        self._turn += 1
        return self._turn * self._page.places + self._free.pop()

    def _forget(self, number: int) -> None:
        self._free.append(number % self._page.places)

    def ended(self, number: int, took_s: float) -> Job | None:
        job = self.jobs.pop(number, None)
        if job is not None:
            self._forget(number)
        return job

    def recall(self) -> list[Job] | None:
        back = super().recall()
        for job in back or ():
            self._forget(job.number)
        return back

    def running(self) -> list[tuple[Job, float]]:
        found = ((job, self._page.begun_at(self.slot, number)) for number, job in tuple(self.jobs.items()))
        return [(job, at) for job, at in found if at is not None]

    def culprit(self, running: Iterable[Job]) -> Job | None:
        """The job whose code was being executed when the process died.

        If there was none: the only job, the only one with a thread, or the only suspect; None if there are more.
        """
        if self.ended_for is not None:
            return None
        running = list(running)
        executing = self.executing()
        if executing is not None:
            return executing if executing in running else None
        in_threads = [job for job in running if not self.is_in_loop(job)]
        suspects = [job for job in running if self._is_suspect(job)]
        return next((found[0] for found in (running, in_threads, suspects) if len(found) == 1), None)

    def executing(self) -> Job | None:
        """The job whose code is executed now, in the loop."""
        return self.jobs.get(self._page.executing(self.slot))

    def is_in_loop(self, job: Job) -> bool:
        """Whether the job is a coroutine. Others have a thread each."""
        return is_coroutine(self._tasks.get(job.task_name))

    def is_slow(self, after_s: float) -> bool:
        """Nothing waits behind a job that has begun."""
        return False

    def is_stuck(self, after_s: float) -> bool:
        """Whether it was given jobs that it has not begun, and its loop is blocked for that time, or it is frozen."""
        if not self.is_ready or not self.has_not_begun_all:
            return False
        self.is_silent = min(self.silent_s(), time.monotonic() - self._given_at) > after_s
        return self.is_silent

    def will_begin(self, within_s: float) -> bool:
        """Whether it is about to begin jobs: a place is free, and its loop went on within that time, or it starts."""
        is_open = not (self.is_leaving or self.is_dead or self.is_silent)
        return is_open and len(self.jobs) < self._page.places and self.silent_s() < within_s

    def limit_softly(self, job: Job, signum: int) -> bool:
        """Send the signal of the soft time limit for that job alone; False if it does not run, or runs in a thread."""
        return self.is_in_loop(job) and super().limit_softly(job, signum)

    def end_with(self, job: Job, signum: int) -> bool:
        """End the process with a signal because of that job. Its other jobs are not to blame."""
        if not super().end_with(job, signum):
            return False
        self.ended_for = job.task_name
        return True

    def terminate(self, job: Job, signum: int) -> bool:
        """Cancel the coroutine of that job, and no other; return whether it runs. A thread cannot be ended."""
        number = private.soft_limit_signal()
        if number is None:
            return False
        if not self.is_in_loop(job):
            logger.warning("%s runs in a thread, which cannot be terminated. Its outcome counts.", job.task_name)
            return False
        return self._page.signal(self.slot, job.number, self.pid, number, interruption=TERMINATION)

    # ---- its loop

    def ask_stack(self, job: Job, until: float) -> None:
        """Let the process write the stack of a coroutine, if it does so until then, by the monotonic clock."""
        self._send([(STACK, job.number, until)])

    def silent_s(self) -> float:
        """How long its loop has not gone on; 0.0 before it was ready."""
        beat = self._page.last_beat(self.slot)
        return time.monotonic() - beat if beat and self.is_ready else 0.0
