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

    It holds no connection, and nothing of the transaction that it was made in.
    """

    __slots__ = ("app", "id", "is_new", "key", "task_name")

    def __init__(self, app: Any, key: str, task_id: str, task_name: str, *, is_new: bool) -> None:
        self.app = app
        self.key = key
        """What it was submitted under."""
        self.id = task_id
        """Celery's task id."""
        self.task_name = task_name
        """The task that is called."""
        self.is_new = is_new
        """Whether this call sent the task; False if an earlier one had."""

    def __repr__(self) -> str:
        return f"<handle of {self.task_name}[{self.id}], key {self.key!r}>"

    @property
    def result(self) -> AsyncResult[Any]:
        """Celery's own handle of the same task."""
        return self.app.AsyncResult(self.id)

    @property
    def state(self) -> State | None:
        """Where the task is, by the ledger; None if its row was pruned, or its transaction is still open."""
        known = self._known()
        return None if known.task_state is None else State(known.task_state)

    @property
    def progress(self) -> Any:
        """What the task last reported by ``update_state(meta=...)`` while it runs; None: nothing, or it has ended."""
        found = self.result
        state, info = found.state, found.info
        return None if state in READY_STATES or state in ("PENDING", "RETRY", CELERY_STARTED) else info

    def wait(self, timeout: float | None = None) -> Any:
        """Wait until the task has ended; return what it returned, or raise what it raised.

        A quarantined task counts as failed, and so does one that has been parked for a while. A cancelled or expired
        one raises Celery's TaskRevokedError. Raises Celery's TimeoutError after *timeout* seconds, ResultGone if the
        task ended and its result is not kept. A wait within the transaction that sends the task never ends.
        """
        self._require_row()
        self._installation.result_futures.wait(self.id, timeout)
        return self.outcome()

    def __await__(self) -> Generator[Any, None, Any]:
        """As `wait`, without blocking the event loop; thousands of them take one thread and one connection."""
        return self._awaited().__await__()

    async def _awaited(self) -> Any:
        await asyncio.to_thread(self._require_row)
        await asyncio.wrap_future(self.ended())
        return await asyncio.to_thread(self.outcome)

    def ended(self) -> Future[Ended]:
        """A future that is done once the task has ended, for those who wait in a way of their own."""
        return self._installation.result_futures.future(self.id)

    def outcome(self) -> Any:
        """What a task that has ended returned, or raise what it raised. Raises ResultGone if that is not kept."""
        found = self.result
        if found.state in READY_STATES:
            return found.get(timeout=0.0, disable_sync_subtasks=False)
        state = self.state
        if state == State.SUCCEEDED and self._ignores_result():
            return None
        raise ResultGone(self.id, state or "pruned")

    def cancel(self, *, terminate: bool = False, signal: str = "SIGTERM") -> None:
        """Cancel the task: one that waits never starts.

        One that a worker holds is revoked: it does not start any more, and is not retried. If it runs already, it runs
        on, unless *terminate* is true: then its pool process is ended by *signal*, as by Celery's ``revoke``. A task
        that has ended stays as it is.
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
        """Nobody would tell of the end of a task that was pruned. One that was just sent may not be committed yet."""
        if not self.is_new:
            known = self._known()
            if known.task_state is None and known.status is None:
                raise ResultGone(self.id, "pruned")

    def _ignores_result(self) -> bool:
        task = self.app.tasks.get(self.task_name)
        return bool(self.app.conf.task_ignore_result if task is None else task.ignore_result)
