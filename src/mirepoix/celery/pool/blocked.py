"""Find the processes of the asyncio pool in which the event loop is blocked, and by which task."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from celery.utils.log import get_logger

from mirepoix.celery.pool.loop_process import LoopProcess

if TYPE_CHECKING:
    from mirepoix.celery.pool.asynchronous import AsyncTaskPool

logger = get_logger("mirepoix.pool")

LOOK_S = 0.1
"""How often the parent looks when each loop turned last."""

LINES = 6
"""How many lines of the stack of a blocked loop are logged."""


class BlockedLoops:
    """Logs each blocked loop with the task and the line that block it, counts it, and ends it if it stays blocked.

    A process that somebody has stopped (SIGSTOP) looks the same; then no task is to blame.
    """

    def __init__(self, pool: AsyncTaskPool) -> None:
        self._pool = pool
        self._hub: Any = None
        self.count = 0
        """How many blocked loops were found since the start of the worker."""

    def watch(self, hub: Any) -> None:
        """Look from now on, by the timers of this event loop."""
        self._hub = hub
        hub.call_later(LOOK_S, self._look, hub)

    def _look(self, hub: Any) -> None:
        if hub is not self._hub or self._pool.is_closing:
            return
        settings = self._pool.app.mirepoix.settings
        for process in self._pool.loop_processes:
            silent_s = process.silent_s()
            if silent_s < settings.asyncio_blocked_report_s:
                process.is_told = False
                continue
            is_new, process.is_told = not process.is_told, True
            is_due = settings.asyncio_blocked_limit_s is not None and silent_s >= settings.asyncio_blocked_limit_s
            if not process.is_leaving and (is_new or is_due):
                self._on_blocked(process, silent_s, is_new=is_new, is_due=is_due)
        hub.call_later(LOOK_S, self._look, hub)

    def _on_blocked(self, process: LoopProcess, silent_s: float, *, is_new: bool, is_due: bool) -> None:
        stack = self._pool.app.mirepoix.worker.stacks.of_process(process.pid)
        job = process.executing() if stack.text else None  # without an answer it is stopped, or waits in the kernel
        who = "a callback, or asyncio itself" if job is None else f"{job.task_name}[{job.task_id}]"
        if not stack.text:
            who = stack.trouble
        lines = _of_loop(stack.text)
        if is_new:
            self.count += 1
            logger.warning(
                "the event loop of process %d has been blocked for %.1f s by %s: its other tasks wait. "
                "Await what blocks, or run it with asyncio.to_thread.\n%s",
                process.pid, silent_s, who, lines,
            )  # fmt: skip
        if is_due:
            logger.error("process %d is replaced: its event loop was blocked for %.1f s", process.pid, silent_s)
            at = time.monotonic() if job is None else process.begun_at(job.number)
            where = lines.strip().partition("\n")[0]
            why = f"its event loop was blocked for {silent_s:.1f} s by {who} {where}"
            self._pool.end_blocked(process, job, at, why)


def _of_loop(text: str) -> str:
    """The last lines of the loop's own thread, from a dump of all threads: the main thread is the last."""
    return "\n".join(text.rstrip().rpartition("\n\n")[2].splitlines()[1 : LINES + 1])
