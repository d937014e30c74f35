"""The trigger: it waits in the triggerer until a task has ended, and cancels the task if a person ends the wait.

All waits of a triggerer share one thread and one connection to the ledger.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from mirepoix.airflow.ends import ENDED
from mirepoix.airflow.hook import MirepoixHook, client_of
from mirepoix.airflow.instances import state_of
from mirepoix.celery.handle import Handle
from mirepoix.ledger import keys
from mirepoix.states import State

CANCEL_AGAIN_S = 3.0
"""The order to end a process may reach no worker. So it is given again."""

CANCEL_FOR_S = 20.0

LOOK_FOR_KEY_S = 1.0
"""How often the ledger is asked for a key that nobody has submitted yet."""

_knows_airflow = threading.Event()
"""Whether this triggerer has asked for the state of a task instance."""


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
        ended_later = handle.ended()
        if self.cancels and not _knows_airflow.is_set():
            # The first question makes the triggerer load Airflow's API, for seconds. A person's decision must not wait.
            _knows_airflow.set()
            try:
                await asyncio.to_thread(self._is_still_deferred)
            except Exception:  # the wait needs no answer
                self.log.warning("Airflow does not tell the state of a task instance yet.", exc_info=True)
        ended = await asyncio.wrap_future(ended_later)
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
        return self.task_instance is not None and state_of(self.task_instance) == "deferred"

    async def _handle(self) -> Handle:
        app = await client_of(self.conn_id)
        while self.ledger_id is None:
            try:
                found = await asyncio.to_thread(find, app, self.key)
            except app.mirepoix.source.disconnects as error:
                self.log.warning("The key is looked for again later: %s", str(error).strip())
            else:
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
