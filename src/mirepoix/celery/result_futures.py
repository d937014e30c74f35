"""Wait for many tasks in one thread, on one connection. The ledger's commits resolve a future for each task."""

from __future__ import annotations

import concurrent.futures
import itertools
import logging
import os
import select
import threading
import time
import weakref
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celery.exceptions import TimeoutError as CeleryTimeoutError

from mirepoix.connect.source import OwnConnection
from mirepoix.errors import MirepoixError
from mirepoix.ledger import results
from mirepoix.ledger.results import Known
from mirepoix.states import FINAL, State

if TYPE_CHECKING:
    from mirepoix.celery.installation import Installation

logger = logging.getLogger("mirepoix.results")

ANY = "*"
"""Stands for results that were written and whose ids the notification does not name."""

LOOK_ANYWAY_S = 0.5
"""How long a lost notification delays a result."""

LOOK_AGAIN_FIRST_S = 0.001
LOOK_AGAIN_LAST_S = 0.1
"""When a transaction notifies before its commit can be seen, the thread looks again after 1, 2, 4 … 64 ms, and then
every 100 ms."""

LOOKING = 0.1
"""The largest share of the time for looking at all awaited tasks, if no notification names the finished ones."""

IDLE_S = 10.0
"""How long the thread stays alive when no future is waited for."""

SIGNAL_S = 0.5
"""How often a blocked wait lets Python call its signal handlers. A wait without a limit may never do so: the signal
may reach another thread, or come just before the wait begins."""

IDS_AT_ONCE = 1_000

_ENDS = frozenset({*FINAL, State.QUARANTINED})


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that has ended, with its state. The state is None if its row was pruned."""

    task_id: str
    state: str | None


class ResultFutures:
    """Futures of the tasks that this process waits for. The first future starts the thread."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._futures: dict[str, list[concurrent.futures.Future[Ended]]] = {}
        self._asked: set[str] = set()
        """The ids that were requested since the last look."""
        self._has_news = False
        """Whether a task may have finished since the last look at all of them."""
        self._rests_until = 0.0
        """The time from which all of them may be looked at again, by the monotonic clock."""
        self._thread: threading.Thread | None = None
        self._wake_r, self._wake_w = os.pipe()
        for fd in (self._wake_r, self._wake_w):
            os.set_blocking(fd, False)
            weakref.finalize(self, os.close, fd).atexit = False  # the thread may be reading it

    def future(self, task_id: str) -> concurrent.futures.Future[Ended]:
        """A future that is done after the task has ended. To cancel it ends the wait, and not the task."""
        if self._pid != os.getpid():
            self._begin_anew()  # a fork has copied no thread
        future: concurrent.futures.Future[Ended] = concurrent.futures.Future()
        with self._lock:
            self._futures.setdefault(task_id, []).append(future)
            self._asked.add(task_id)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mirepoix-results", daemon=True)
                self._thread.start()
        self._wake()
        return future

    def wait(self, task_id: str, timeout_s: float | None) -> Ended:
        """Block until the task has ended. Raises Celery's TimeoutError."""
        future = self.future(task_id)
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = SIGNAL_S if end is None else min(SIGNAL_S, max(0.0, end - time.monotonic()))
            if concurrent.futures.wait([future], left_s).done:
                return future.result()
            if end is not None and time.monotonic() >= end:
                future.cancel()
                raise CeleryTimeoutError(f"The operation timed out: task {task_id} has not ended.")

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._wake_w, b"x")

    def _run(self) -> None:
        connection: OwnConnection | None = None
        source = self._installation.source
        idle_since: float | None = None
        pause_s = 0.05
        while True:
            waiting = self._waiting()
            if waiting:
                idle_since = None
            else:
                idle_since = idle_since or time.monotonic()
                if self._ends(idle_since):
                    break
            try:
                if connection is None:
                    connection = source.open()
                    connection.listen_results()
                    with self._lock:
                        self._asked.update(self._futures)  # no notification came for what ended meanwhile
                self._look(connection, self._taken_asked())
                self._listen(connection)
                pause_s = 0.05
            except source.disconnects as error:
                logger.warning("waiting for results goes on when the ledger is back: %s", str(error).strip())
                _close(connection)
                connection = None
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, 2.0)
            except Exception as error:
                _close(connection)
                connection = None
                logger.exception("results cannot be waited for")
                self._fail(error)
        _close(connection)

    def _waiting(self) -> bool:
        with self._lock:
            for task_id, futures in list(self._futures.items()):
                left = [future for future in futures if not future.done()]
                if left:
                    self._futures[task_id] = left
                else:
                    del self._futures[task_id]
            return bool(self._futures)

    def _ends(self, idle_since: float) -> bool:
        """Whether the thread has been idle for so long that it ends. The next future starts another thread."""
        with self._lock:
            if self._futures or time.monotonic() - idle_since < IDLE_S:
                return False
            self._thread = None
            return True

    def _taken_asked(self) -> set[str]:
        with self._lock:
            asked, self._asked = self._asked, set()
            return asked & self._futures.keys()

    def _look(self, connection: OwnConnection, task_ids: Iterable[str]) -> None:
        ids = list(task_ids)
        for begin in range(0, len(ids), IDS_AT_ONCE):
            with connection.reading() as tx:
                found = results.find(tx, ids[begin : begin + IDS_AT_ONCE])
            for known in found:
                if self._has_ended(known):
                    self._resolve(known)

    def _has_ended(self, known: Known) -> bool:
        patience_s = self._installation.settings.parked_failure_after_s
        is_parked_for_long = known.parked_s is not None and float(known.parked_s) >= patience_s
        return (
            known.task_state in _ENDS or is_parked_for_long or (known.task_state is None and known.status is not None)
        )

    def _resolve(self, known: Known) -> None:
        with self._lock:
            futures = self._futures.pop(known.task_id, [])
        for future in futures:
            if future.set_running_or_notify_cancel():
                future.set_result(Ended(known.task_id, known.task_state))

    def _fail(self, error: Exception) -> None:
        with self._lock:
            futures, self._futures = self._futures, {}
        for future in itertools.chain.from_iterable(futures.values()):
            if future.set_running_or_notify_cancel():
                future.set_exception(MirepoixError(f"Results cannot be waited for: {error}"))

    def _listen(self, connection: OwnConnection) -> None:
        """Look for results, until another future is requested or `LOOK_ANYWAY_S` has passed."""
        poll = select.poll()
        poll.register(self._wake_r, select.POLLIN)
        fd = connection.wakeup_fd()
        if fd is not None:
            poll.register(fd, select.POLLIN)
        step_s = self._installation.settings.look_interval_s(self._installation.source.dialect)
        again_s = LOOK_AGAIN_FIRST_S
        until = time.monotonic() + LOOK_ANYWAY_S
        while (left_s := until - time.monotonic()) > 0:
            wait_s = left_s
            if fd is None:
                wait_s = min(left_s, step_s)
            elif connection.is_told_early:
                wait_s = min(left_s, again_s)
            elif connection.has_notified:
                wait_s = 0.0
            readable = {ready for ready, _ in poll.poll(max(1.0, wait_s * 1000))}
            again_s = LOOK_AGAIN_FIRST_S if fd in readable else min(2 * again_s, LOOK_AGAIN_LAST_S)
            finished = connection.finished()
            if ANY in finished:
                self._has_news = True
            elif finished:
                self._look(connection, self._waited_for(finished))
            self._look_at_all(connection)
            if self._wake_r in readable:
                with suppress(BlockingIOError):
                    os.read(self._wake_r, 4096)
                return
            if not self._futures:
                again_s = LOOK_AGAIN_LAST_S
        self._has_news = True
        self._look_at_all(connection)

    def _look_at_all(self, connection: OwnConnection) -> None:
        """Look at every task that is waited for, if one may have finished; at most `LOOKING` of the time."""
        began_at = time.monotonic()
        if not self._has_news or began_at < self._rests_until:
            return
        self._has_news = False
        with self._lock:
            waited_for = set(self._futures)
        self._look(connection, waited_for)
        took_s = time.monotonic() - began_at
        self._rests_until = began_at + took_s / LOOKING

    def _waited_for(self, finished: frozenset[str]) -> set[str]:
        with self._lock:
            return {*finished} & self._futures.keys()


def _close(connection: OwnConnection | None) -> None:
    if connection is not None:
        connection.close()
