"""The trigger: it waits in the triggerer until a task has ended, and cancels the task if a person ends the wait.

All waits of a triggerer share one thread and one connection to the ledger.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.triggers.base import BaseTrigger, TriggerEvent

from mirepoix.airflow.ends import ENDED
from mirepoix.airflow.hook import MirepoixHook, client_of
from mirepoix.celery.handle import Handle
from mirepoix.ledger import keys
from mirepoix.states import State

CANCEL_AGAIN_S = 3.0
"""The order to end a process may reach no worker. So it is given again."""

CANCEL_FOR_S = 20.0

LOOK_FOR_KEY_S = 1.0
"""How often the ledger is asked for a key that nobody has submitted yet."""


class MirepoixTrigger(BaseTrigger):  # type: ignore[misc]
    """Waits for the task with the id *ledger_id*; without an id for the task that is submitted under *key*.

    Its event holds ``ledger_id``, ``task`` and ``state``. If *cancels* is true, the task is cancelled when a person
    marks the waiting task instance as failed or succeeded, or clears it. A triggerer that stops cancels nothing.
    """

    def __init__(
        self, conn_id: str, key: str, ledger_id: str | None = None, task: str = "", cancels: bool = True
    ) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.key = key
        self.ledger_id = ledger_id
        self.name_of_task = task
        self.cancels = cancels

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores of it. There are no arguments of the task in it."""
        return (
            "mirepoix.airflow.trigger.MirepoixTrigger",
            {
                "conn_id": self.conn_id,
                "key": self.key,
                "ledger_id": self.ledger_id,
                "task": self.name_of_task,
                "cancels": self.cancels,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event, after the task has ended."""
        handle = await self._handle()
        ended = await asyncio.wrap_future(handle.ended())
        yield TriggerEvent({"ledger_id": handle.id, "task": handle.task_name, "state": ended.state})

    async def on_kill(self) -> None:
        """Cancel the task: a person has marked or cleared the task instance."""
        if self.cancels and self.ledger_id is not None:
            # Airflow cancels this coroutine again about each second. A thread goes on.
            await asyncio.shield(asyncio.to_thread(self._cancel, self.ledger_id))

    def _cancel(self, ledger_id: str) -> None:
        if self._is_still_deferred():
            self.log.warning("Task %s goes on: another triggerer waits for it now.", ledger_id)
            return
        app = MirepoixHook(self.conn_id).get_conn()
        handle = Handle(app, self.key, ledger_id, self.name_of_task, is_new=False)
        self.log.info("Task %s[%s] is cancelled.", handle.task_name, handle.id)
        ended = handle.ended()
        until = time.monotonic() + CANCEL_FOR_S
        while not ended.done() and time.monotonic() < until:
            handle.cancel(terminate=True)
            concurrent.futures.wait((ended,), CANCEL_AGAIN_S)
        ended.cancel()

    def _is_still_deferred(self) -> bool:
        """Whether the task instance waits on: Airflow calls `on_kill` also if it gave the trigger to another triggerer.

        A task instance that was cleared, and waits again, looks the same. Then its new try cancels the task.
        """
        instance = self.task_instance
        if instance is None:
            return False
        states = RuntimeTaskInstance.get_task_states(
            dag_id=instance.dag_id,
            map_index=instance.map_index,
            task_ids=[instance.task_id],
            run_ids=[instance.run_id],
        )
        return "deferred" in states.get(instance.run_id, {}).values()

    async def _handle(self) -> Handle:
        app = await client_of(self.conn_id)
        while self.ledger_id is None:
            found = await asyncio.to_thread(find, app, self.key)
            if found is not None:
                return found
            await asyncio.sleep(LOOK_FOR_KEY_S)
        return Handle(app, self.key, self.ledger_id, self.name_of_task, is_new=False)


def find(app: Any, key: str) -> Handle | None:
    """Return the task that was submitted under *key*, or None."""
    with app.mirepoix.source.reading() as tx:
        claimed = keys.find(tx, key)
    if claimed is None or claimed.is_unsent:
        return None
    return Handle(app, key, claimed.task_id, claimed.name, is_new=False)


def has_ended(handle: Handle) -> bool:
    """Whether nothing more happens to the task. A task that was pruned has ended."""
    state = handle.state
    return state is None or State(state) in ENDED
