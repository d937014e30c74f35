"""The asyncio pool: ``celery worker -P mirepoix-asyncio``. Its processes run coroutines side by side.

It is the direct pool with processes that run many jobs at once (`mirepoix.celery.pool.loop_child`).
"""

from __future__ import annotations

import importlib.util
import os
import signal
from typing import Any

from billiard.common import human_status
from billiard.einfo import ExceptionInfo
from billiard.exceptions import Terminated, WorkerLostError
from celery.exceptions import ImproperlyConfigured

from mirepoix.celery.async_def import is_coroutine
from mirepoix.celery.pool.blocked import BlockedLoops
from mirepoix.celery.pool.child import CANCELLED, RAISED, Child
from mirepoix.celery.pool.direct import STUCK_S, TaskPool
from mirepoix.celery.pool.job import Job
from mirepoix.celery.pool.loop_process import LoopProcess
from mirepoix.celery.pool.page import Page
from mirepoix.celery.pool.process import PoolProcess
from mirepoix.errors import ConfigurationError

SLOTS = 64
"""The most processes of one pool."""


FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGQUIT, -signal.SIGHUP)
"""The exit codes of a process that was probably killed by others: an operator, or the kernel when memory ran out."""

SUSPECT_AFTER = 3
"""A task that was lost so often with others, and nothing showed the cause, is a suspect: a worker runs one at once."""


class AsyncTaskPool(TaskPool):
    """Processes that each run up to ``-c`` tasks at once: coroutines in an event loop, and ``def`` tasks in threads.

    ``mirepoix_asyncio_processes`` says how many processes there are. It needs greenlet: ``mirepoix[asyncio]``.
    """

    name = "mirepoix-asyncio"

    def __init__(self, *args: Any, **options: Any) -> None:
        if importlib.util.find_spec("greenlet") is None:
            raise ImproperlyConfigured(f"The pool {self.name!r} needs greenlet: pip install 'mirepoix[asyncio]'.")
        if os.environ.get("USE_FAST_LOCALS"):
            raise ImproperlyConfigured(
                f"The pool {self.name!r} does not work with the variable USE_FAST_LOCALS: Celery would mix up the "
                "tasks of one thread. Unset it."
            )
        super().__init__(*args, **options)
        self._blocked = BlockedLoops(self)

    def _new_page(self) -> Page:
        return Page(SLOTS, int(self.limit))

    def _processes_wanted(self) -> int:
        return int(self.app.mirepoix.settings.asyncio_processes)

    def _new_process(self, slot: int) -> PoolProcess:
        return LoopProcess(self._page, slot, slot, self.app.tasks, self.lane.is_suspect)

    def _child(self, slot: int, sock: Any) -> Child:
        from mirepoix.celery.pool.loop_child import LoopChild  # it needs greenlet

        return LoopChild(*self._child_options(slot, sock), at_once=self._page.places)

    def register_with_event_loop(self, loop: Any) -> None:
        super().register_with_event_loop(loop)
        self._blocked.watch(loop)

    @property
    def loop_processes(self) -> list[LoopProcess]:
        """Its processes."""
        return [process for process in self._processes if isinstance(process, LoopProcess)]

    @property
    def places(self) -> int:
        return self._page.places * self._wanted

    def places_now(self, most: int) -> int:
        """How many tasks can run at once now: a process with a blocked loop begins no more. It is at least 1."""
        found = sum(
            self._page.places if process.will_begin(STUCK_S) else len(process.jobs) for process in self._processes
        )
        return max(1, min(found, self.places))

    @property
    def num_processes(self) -> int:
        """How many tasks it runs at once: by this Celery chooses how many messages it prefetches."""
        return self.places

    def _room(self) -> int:
        """How many more jobs can be given. A process that leaves may still run some of those that may run at once."""
        return max(0, self.places - sum(len(process.jobs) for process in self._processes))

    def check_scaling(self) -> None:
        raise ConfigurationError(f"--autoscale is not possible. {_FIXED}")

    def grow(self, n: int = 1) -> None:
        raise NotImplementedError(_FIXED)

    def shrink(self, n: int = 1) -> None:
        raise NotImplementedError(_FIXED)

    def ask_stack(self, key: tuple[str, int], until: float) -> bool:
        for process in self.loop_processes:
            for job, _ in process.running():
                lease = job.lease if job.taken is not None else getattr(job.request, "lease", None)
                if lease is not None and lease.key == key and process.is_in_loop(job):
                    process.ask_stack(job, until)
                    return True
        return False

    def refusal(self, task: Any) -> str | None:
        """Why it does not run *task*; None if it does. Tasks of Celery and of Mirepoix itself always run."""
        if self.app.mirepoix.settings.asyncio_sync_tasks == "threads" or is_coroutine(task):
            return None
        if task.name.startswith(("celery.", "mirepoix.")):
            return None
        return (
            f"{task.name} is no async def, and a worker with -P mirepoix-asyncio refuses such tasks "
            "(mirepoix_asyncio_sync_tasks = 'refuse'). Send it to a queue of other workers, then requeue this one."
        )

    def _get_info(self) -> dict[str, Any]:
        info = super()._get_info()
        info["max-concurrency"] = self.places
        info["blocked-loops"] = self._blocked.count
        return info

    # ---- the ends of jobs

    def _on_end(self, process: PoolProcess, job: Job, what: str, value: Any) -> None:
        if what == CANCELLED:
            try:
                raise Terminated(-(job.terminated_by or 0))
            except Terminated:
                what, value = RAISED, ExceptionInfo()
        super()._on_end(process, job, what, value)

    def _on_lost_beside(
        self, jobs: list[tuple[Job, float]], process: PoolProcess, culprit: Job | None, code: int | None
    ) -> None:
        """Give back, without blame, what else ran in a process that died."""
        if not jobs:
            return
        cause = culprit.task_name if culprit is not None else getattr(process, "ended_for", None)
        why = f"its process ended because of {cause}" if cause else f"its process ended: {human_status(code)}"
        suspect_after = 0 if cause or code in FROM_OUTSIDE else SUSPECT_AFTER
        for job, at in jobs:
            self._forget_limit(job)
            self.lane.lost_beside(job, process, at, why, suspect_after)

    def end_blocked(self, process: LoopProcess, job: Job | None, at: float, why: str) -> None:
        """Kill a process with a blocked loop. The job whose code blocks it is blamed; the others are given back."""
        process.is_leaving = True
        process.ended_for = job.task_name if job is not None else why
        process.kill()
        if job is None:
            return
        process.jobs.pop(job.number, None)
        self._forget_limit(job)
        try:
            raise WorkerLostError(why)
        except WorkerLostError:
            self._fail(job, process, at, ExceptionInfo())


_FIXED = (
    "The pool 'mirepoix-asyncio' has a fixed size. Restart the worker with another -c (tasks at once in each process) "
    "or another mirepoix_asyncio_processes."
)
