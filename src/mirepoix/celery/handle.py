"""The handle of a task that was submitted under a key: wait for it, await it, watch it, cancel it."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from celery.states import READY_STATES
from celery.states import STARTED as CELERY_STARTED

from mirepoix.celery.result_futures import Ended
from mirepoix.errors import ResultGone
from mirepoix.ledger import results
from mirepoix.states import State

if TYPE_CHECKING:
    from celery.result import AsyncResult

    from mirepoix.celery.installation import Installation


class Handle:
    """One task, by the key that it was submitted under.

    A handle has no connection, and does not depend on the transaction in which it was made.
    """

    __slots__ = ("app", "id", "is_new", "key", "task_name")

    def __init__(self, app: Any, key: str, task_id: str, task_name: str, *, is_new: bool) -> None:
        self.app = app
        self.key = key
        """The key that it was submitted under."""
        self.id = task_id
        """Celery's task id."""
        self.task_name = task_name
        """The name of the task that is called."""
        self.is_new = is_new
        """Whether this call sent the task; False if an earlier call sent it."""

    def __repr__(self) -> str:
        return f"<handle of {self.task_name}[{self.id}], key {self.key!r}>"

    @property
    def result(self) -> AsyncResult[Any]:
        """Celery's own handle of the same task."""
        return self.app.AsyncResult(self.id)

    @property
    def state(self) -> State | None:
        """The state of the task in the ledger. None if its row was pruned, or its transaction is still open."""
        known = self._known()
        return None if known.task_state is None else State(known.task_state)

    @property
    def progress(self) -> Any:
        """What the running task last reported by ``update_state(meta=...)``; None if nothing, or if it has ended."""
        found = self.result
        state, info = found.state, found.info
        return None if state in READY_STATES or state in ("PENDING", "RETRY", CELERY_STARTED) else info

    def wait(self, timeout: float | None = None) -> Any:
        """Wait until the task has ended. Return what it returned, or raise what it raised.

        A quarantined task counts as failed. So does a task that has been parked for ``parked_failure_after_s``. A
        cancelled or expired task raises Celery's TaskRevokedError. Raises Celery's TimeoutError after *timeout*
        seconds, and ResultGone if the task ended and its result is not stored. Never wait within the transaction that
        sends the task: that wait never ends.
        """
        self._require_row()
        self._installation.result_futures.wait(self.id, timeout)
        return self.outcome()

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait without blocking the event loop. Thousands of waits use one thread and one connection."""
        return self._awaited().__await__()

    async def _awaited(self) -> Any:
        await asyncio.to_thread(self._require_row)
        await asyncio.wrap_future(self.ended())
        return await asyncio.to_thread(self.outcome)

    def ended(self) -> Future[Ended]:
        """A future that is done after the task has ended, for other ways to wait."""
        return self._installation.result_futures.future(self.id)

    def outcome(self) -> Any:
        """Return what the ended task returned, or raise what it raised. Raises ResultGone if that is not stored."""
        found = self.result
        if found.state in READY_STATES:
            return found.get(timeout=0.0, disable_sync_subtasks=False)
        state = self.state
        if state == State.SUCCEEDED and self._ignores_result():
            return None
        raise ResultGone(self.id, state or "pruned")

    def cancel(self, *, terminate: bool = False, signal: str = "SIGTERM") -> None:
        """Cancel the task. A task that waits never starts.

        A task that a worker has leased is revoked: it does not start, and is not retried. If it runs already, it
        continues, unless *terminate* is true: then *signal* ends its pool process, as with Celery's ``revoke``. A task
        that has ended does not change.
        """
        self.app.control.revoke(self.id, terminate=terminate, signal=signal)

    @property
    def _installation(self) -> Installation:
        from mirepoix.celery.installation import installation_of

        return installation_of(self.app)

    def _known(self) -> results.Known:
        with self._installation.source.reading() as tx:
            return results.find(tx, [self.id])[0]

    def _require_row(self) -> None:
        """Raise ResultGone for a pruned task: its end would never be reported. A new task may not be committed yet."""
        if not self.is_new:
            known = self._known()
            if known.task_state is None and known.status is None:
                raise ResultGone(self.id, "pruned")

    def _ignores_result(self) -> bool:
        task = self.app.tasks.get(self.task_name)
        return bool(self.app.conf.task_ignore_result if task is None else task.ignore_result)
