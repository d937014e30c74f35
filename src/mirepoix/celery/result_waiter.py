"""Wait for tasks to finish. A notification from the database wakes the wait."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from celery.exceptions import TimeoutError as CeleryTimeoutError

from mirepoix.connect.dropped import close_when_dropped
from mirepoix.connect.source import OwnConnection, Source

if TYPE_CHECKING:
    from mirepoix.celery.installation import Installation

ANY = "*"
"""Stands for results that were written and whose ids the notification does not name."""

LOOK_AGAIN_FIRST_S = 0.001
LOOK_AGAIN_LAST_S = 0.1
"""When a transaction notifies before its commit can be seen, the wait looks again after 1, 2, 4 … 64 ms, and then every
100 ms."""

IDLE_KEPT = 8
"""How many listening connections stay open for later waits."""


class Waiters:
    """The listening connections of one process: one for each thread or greenlet that waits now."""

    def __init__(self, installation: Installation, look: Callable[[set[str]], list[dict[str, Any]]]) -> None:
        self.pid = os.getpid()
        self._source: Source = installation.source
        self._poll_s = installation.settings.look_interval_s(installation.source.dialect)
        self._look = look
        self._idle: list[Listener] = []
        self._lock = threading.Lock()
        close_when_dropped(self, self._idle)

    def wait(
        self,
        task_ids: set[str],
        timeout_s: float | None,
        interval_s: float,
        on_interval: Callable[[], Any] | None = None,
        rounds: int | None = None,
        look: Callable[[set[str]], list[dict[str, Any]]] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """What *look* finds of each task, as it finishes. Looks at most *rounds* times. Raises celery's TimeoutError.

        *on_interval* is called about every *interval_s*, even if notifications wake this more often.

        If the database is away, this waits for it too, within *timeout_s*.
        """
        left = set(task_ids)
        asked_at = time.monotonic()
        deadline = None if timeout_s is None else asked_at + timeout_s
        with ExitStack() as listening:
            listener: Listener | None = None
            while left:
                try:
                    for ready in (look or self._look)(set(left)):
                        left.discard(ready["task_id"])
                        yield ready
                    if not left or rounds == 1:
                        return
                    rounds = None if rounds is None else rounds - 1
                    for_s = _remaining_s(deadline, interval_s, len(left), len(task_ids))
                    if listener is None:
                        # Listen before the second look, so that no result is missed between the two.
                        listener = listening.enter_context(self._listening())
                        continue
                    # Do not call it after each commit: for a chord's body, Celery checks every member here.
                    if on_interval is not None and time.monotonic() - asked_at >= interval_s:
                        on_interval()
                        asked_at = time.monotonic()
                    listener.wait(left, for_s)
                except self._source.disconnects:
                    if deadline is not None and time.monotonic() >= deadline:
                        raise
                    listener = None
                    time.sleep(min(interval_s, 0.5))

    @contextmanager
    def _listening(self) -> Iterator[Listener]:
        listener = self._lend()
        try:
            yield listener
        finally:
            self._take_back(listener)

    def _lend(self) -> Listener:
        with self._lock:
            while self._idle:
                listener = self._idle.pop()
                with suppress(*self._source.disconnects):
                    listener.forget()
                    return listener
                listener.close()
        return Listener(self._source.open(), self._poll_s)

    def _take_back(self, listener: Listener) -> None:
        with self._lock:
            if not listener.is_broken and len(self._idle) < IDLE_KEPT and os.getpid() == self.pid:
                self._idle.append(listener)
                return
        listener.close()


class Listener:
    """One connection that receives notifications of results. One wait at a time uses it."""

    def __init__(self, connection: OwnConnection, poll_s: float) -> None:
        self._connection = connection
        self._poll_s = poll_s
        self.is_broken = False
        try:
            connection.listen_results()
        except BaseException:
            connection.close()
            raise

    def wait(self, task_ids: set[str], for_s: float) -> None:
        """Return when one of the tasks may have finished, or after *for_s*."""
        deadline = time.monotonic() + for_s
        # Two commits may have notified before the last caller looked, and the second could not be seen yet.
        look_again_s = LOOK_AGAIN_FIRST_S if self._connection.is_told_early else None
        while True:
            finished = self._finished()
            if ANY in finished or finished & task_ids:
                return
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return
            fd = self._connection.wakeup_fd()
            if fd is None:
                time.sleep(min(self._poll_s, left_s))
            elif _is_readable(fd, left_s if look_again_s is None else min(left_s, look_again_s)):
                look_again_s = LOOK_AGAIN_FIRST_S if self._connection.is_told_early else None
            elif look_again_s is not None:
                look_again_s = min(2 * look_again_s, LOOK_AGAIN_LAST_S)

    def forget(self) -> None:
        """Drop the notifications that came while no wait used this."""
        self._finished()

    def _finished(self) -> frozenset[str]:
        self.is_broken = True  # unless this returns
        finished = self._connection.finished()
        self.is_broken = False
        return finished

    def close(self) -> None:
        self._connection.close()


def _remaining_s(deadline: float | None, interval_s: float, left: int, asked: int) -> float:
    if deadline is None:
        return interval_s
    remaining_s = deadline - time.monotonic()
    if remaining_s <= 0:
        raise CeleryTimeoutError(f"The operation timed out: {left} of {asked} tasks are not ready.")
    return min(interval_s, remaining_s)


def _is_readable(fd: int, for_s: float) -> bool:
    # poll() and not select(): a web server may have more than 1,024 files open.
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(0.0, for_s) * 1000))
