"""The activity that submits a task and leaves: its slot is free while the task runs, and the ledger completes it."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from mirepoix.celery.handle import Handle
from mirepoix.celery.submit import KEY_LIMIT, submit_within
from mirepoix.errors import ConfigurationError, EnqueueError
from mirepoix.ledger import keys, operate, results
from mirepoix.ledger.keys import Claimed
from mirepoix.ledger.tx import Tx
from mirepoix.states import State
from mirepoix.temporal.call import ACTIVITY, TaskCall
from mirepoix.temporal.callback import Callback, callback_to

if TYPE_CHECKING:
    from mirepoix.temporal.watch import Watch

RERUN = frozenset({State.FAILED, State.QUARANTINED, State.EXPIRED})


class RunTask:
    """The activity, of one Celery app in one Temporal worker."""

    def __init__(self, app: Any, watch: Watch) -> None:
        self._app = app
        self._watch = watch

    @activity.defn(name=ACTIVITY)
    async def run_task(self, call: TaskCall) -> Any:
        """Submit the task under the activity's key, and note in the same transaction who is to be told of its end."""
        info = activity.info()
        try:
            handle = await asyncio.to_thread(self._submit, call, info)
        except (EnqueueError, ConfigurationError, TypeError) as error:
            raise ApplicationError(str(error), type=type(error).__name__, non_retryable=True) from error
        if info.is_local:
            return await handle
        self._watch.begin(handle, info, Callback.to(info.task_token, is_retryable=call.rerun_failed))
        return activity.raise_complete_async()

    def _submit(self, call: TaskCall, info: activity.Info) -> Handle:
        def within(tx: Tx, claimed: Claimed) -> None:
            if call.rerun_failed and info.attempt > 1 and _state(tx, claimed.task_id) in RERUN:
                operate.requeue(tx, [claimed.task_id], f"attempt {info.attempt} of activity {info.activity_id}")
            if not info.is_local:
                # A token is of one attempt: the latest is the one that Temporal waits for.
                told = Callback.to(info.task_token, is_retryable=call.rerun_failed)
                keys.ask_callback(tx, key, callback_to(info.namespace), told)

        key = call.key or key_of(info)
        task = self._app.signature(call.task)
        return submit_within(task, key, call.args, call.kwargs, call.options, within)


def key_of(info: activity.Info) -> str:
    """The same in every attempt of one activity, and in no other: workflow id, run id and activity id."""
    run_id = info.workflow_run_id or info.activity_run_id
    key = f"temporal/{info.namespace}/{info.workflow_id or ''}/{run_id}/{info.activity_id}"
    if len(key) <= KEY_LIMIT and key.isprintable() and key == key.strip():
        return key
    return f"temporal/sha256/{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _state(tx: Tx, task_id: str) -> str | None:
    return results.find(tx, [task_id])[0].task_state
