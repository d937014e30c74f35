"""Watch the tasks of activities: send heartbeats while they run, cancel them, complete each activity by its token.

The token of the latest attempt stands in the ledger. Every Temporal worker with the plugin completes activities whose
tasks have ended, its own at once and those of others after `OTHERS_S`: the worker that began one may be dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from temporalio import activity
from temporalio.client import AsyncActivityCancelledError, AsyncActivityHandle, Client, WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from mirepoix.celery.handle import Handle
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.errors import MirepoixError
from mirepoix.ledger import keys
from mirepoix.ledger.keys import Due
from mirepoix.states import State
from mirepoix.temporal.callback import Callback, callback_to

logger = logging.getLogger("mirepoix.temporal")

HEARTBEAT_S = 0.4
"""How often a heartbeat is sent. Its answer says whether the activity is cancelled; nothing else does."""

LOOK_S = 1.0
"""How often the ledger is asked for activities to complete although nothing woke this."""

OTHERS_S = 3.0
"""How long an activity of another worker is left to that one, after its task has ended."""

CANCEL_AGAIN_S = 3.0

CANCELLED = frozenset({State.CANCELLED, State.EXPIRED})


@dataclass(slots=True)
class _Watched:
    handle: Handle
    info: activity.Info
    cancelled_at: float | None = None
    """When it was last cancelled, by the monotonic clock."""


class Watch:
    """The activities of one Temporal worker whose tasks have not ended, on that worker's event loop."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._client: Client | None = None
        self._watched: dict[str, _Watched] = {}
        """By what the ledger keeps of each."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._woken: asyncio.Event | None = None
        self._seen: dict[str, float] = {}
        """When each activity that is due was first seen to be."""

    @contextlib.asynccontextmanager
    async def running(self, client: Client) -> AsyncIterator[None]:
        """Around a worker's life."""
        self._client = client
        self._woken = asyncio.Event()
        completing = asyncio.create_task(self._complete_all())
        try:
            yield
        finally:
            for task in (completing, *self._tasks):
                task.cancel()
            await asyncio.gather(completing, *self._tasks, return_exceptions=True)
            self._watched.clear()

    def begin(self, handle: Handle, info: activity.Info, callback: str) -> None:
        """Watch the task of an activity from now on; called on the worker's event loop."""
        watched = self._watched[callback] = _Watched(handle, info)
        task = asyncio.get_running_loop().create_task(self._follow(callback, watched))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- one activity

    async def _follow(self, callback: str, watched: _Watched) -> None:
        """Send heartbeats until the task has ended, or Temporal knows of no such attempt any more."""
        ended = asyncio.wrap_future(watched.handle.ended())
        pause_s = _pause_s(watched.info)
        try:
            while not ended.done():
                await asyncio.wait((ended,), timeout=pause_s)
                try:
                    if not ended.done() and not await self._is_wanted(callback, watched):
                        return
                except Exception as error:  # noqa: BLE001 (the ledger is away, say)
                    logger.warning("the activity of task %s: %s", watched.handle.id, _first_line(error))
            ended.result()
        except MirepoixError:
            # Without heartbeats Temporal tries the activity again, which joins the task.
            logger.exception("the activity of task %s is not watched any more", watched.handle.id)
        finally:
            ended.cancel()
        if self._woken is not None:
            self._woken.set()

    async def _is_wanted(self, callback: str, watched: _Watched) -> bool:
        """Send a heartbeat; False if Temporal knows of no such attempt any more."""
        try:
            await self._activity(callback).heartbeat()
        except AsyncActivityCancelledError as error:
            if error.details is None or error.details.cancel_requested:
                await self._cancel(watched)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                self._watched.pop(callback, None)
                await self._abandon(callback, watched)
                return False
            logger.warning("no heartbeat for task %s: %s", watched.handle.id, error)
        return True

    async def _cancel(self, watched: _Watched) -> None:
        """Cancel the task, and again every `CANCEL_AGAIN_S`: the order to end a process may reach no worker."""
        now = time.monotonic()
        if watched.cancelled_at is None or now - watched.cancelled_at > CANCEL_AGAIN_S:
            await asyncio.to_thread(watched.handle.cancel, terminate=True)
            watched.cancelled_at = now

    async def _abandon(self, callback: str, watched: _Watched) -> None:
        """The attempt is over for Temporal: it timed out, and is tried again, or its workflow has ended."""
        info, handle = watched.info, watched.handle
        if info.workflow_id is None:
            return
        try:
            workflow = self._required().get_workflow_handle(info.workflow_id, run_id=info.workflow_run_id)
            status = (await workflow.describe()).status
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                return
            status = None
        if status is not WorkflowExecutionStatus.RUNNING:
            logger.info("task %s is cancelled: workflow %s has ended", handle.id, info.workflow_id)
            await asyncio.to_thread(handle.cancel, terminate=True)
            await asyncio.to_thread(self._drop, Due(handle.key, handle.id, callback))

    # ---- completing

    async def _complete_all(self) -> None:
        while True:
            try:
                await self._complete_due()
            except Exception as error:  # noqa: BLE001 (the ledger or Temporal is away)
                logger.warning("activities are completed later: %s", _first_line(error))
            assert self._woken is not None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), LOOK_S)
            self._woken.clear()

    async def _complete_due(self) -> None:
        due = await asyncio.to_thread(self._due)
        self._seen = {one.callback: self._seen.get(one.callback, time.monotonic()) for one in due}
        ready = [one for one in due if one.callback in self._watched or self._is_left(one)]
        await asyncio.gather(*(self._complete(one) for one in ready))

    def _is_left(self, due: Due) -> bool:
        return time.monotonic() - self._seen[due.callback] > OTHERS_S

    def _due(self) -> list[Due]:
        with self._app.mirepoix.source.reading() as tx:
            return keys.due_callbacks(tx, callback_to(self._required().namespace))

    async def _complete(self, due: Due) -> None:
        """Tell Temporal how the task ended, then note that. Told twice, it answers that there is no such attempt."""
        handle = Handle(self._app, due.key, due.task_id, "", is_new=False)
        reached(Crashpoint.ACTIVITY_BEFORE_COMPLETE)
        try:
            await self._tell(due, handle)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                logger.warning("the activity of task %s is completed later: %s", due.task_id, error)
                return
        reached(Crashpoint.ACTIVITY_AFTER_COMPLETE)
        await asyncio.to_thread(self._drop, due)
        reached(Crashpoint.ACTIVITY_AFTER_COMMIT)
        self._watched.pop(due.callback, None)

    async def _tell(self, due: Due, handle: Handle) -> None:
        told = self._activity(due.callback)
        try:
            value = await asyncio.to_thread(handle.outcome)
        except Exception as error:  # noqa: BLE001 (whatever the task raised)
            state = await asyncio.to_thread(lambda: handle.state)
            if state in CANCELLED and await self._is_to_be_cancelled(due):
                await told.report_cancellation()
            else:
                is_final = not Callback.read(due.callback).is_retryable
                await told.fail(ApplicationError(str(error), type=type(error).__name__, non_retryable=is_final))
            return
        await told.complete(value)

    async def _is_to_be_cancelled(self, due: Due) -> bool:
        watched = self._watched.get(due.callback)
        if watched is not None and watched.cancelled_at is not None:
            return True
        try:
            await self._activity(due.callback).heartbeat()
        except AsyncActivityCancelledError as error:
            return error.details is None or error.details.cancel_requested
        return False

    def _drop(self, due: Due) -> None:
        with self._app.mirepoix.source.transaction() as tx:
            keys.drop_callback(tx, due)

    def _activity(self, callback: str) -> AsyncActivityHandle:
        return self._required().get_async_activity_handle(task_token=Callback.read(callback).token)

    def _required(self) -> Client:
        if self._client is None:
            raise RuntimeError("The activity runs in a worker that has no MirepoixPlugin.")
        return self._client


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _pause_s(info: activity.Info) -> float:
    if info.heartbeat_timeout is None:
        return HEARTBEAT_S
    return min(HEARTBEAT_S, max(0.05, info.heartbeat_timeout.total_seconds() / 3))
