"""A task of the shop that gathers its calls and runs three of them at once, as those of celery-batches do.

A copy of this file is put beside `shop.py`.
"""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any

from celery import Task
from celery.utils.imports import symbol_by_name
from celery.worker.request import create_request_cls
from shop import app, taken, tell

SIZE = 3


def run_all(task: Any, calls: list[Any]) -> None:
    """Run the task once for all calls; what it raises is nobody's business, as in celery-batches."""
    try:
        task(calls)
    except ValueError as error:
        tell(task, "batch failed", error=str(error))


class Gathering(Task):  # type: ignore[misc]
    """Waits for three calls."""

    abstract = True
    typing = False

    def Strategy(self, task: Any, app: Any, consumer: Any) -> Any:  # noqa: N802 (Celery's name)
        """Keep requests until there are enough."""
        make = create_request_cls(
            symbol_by_name(task.Request), task, consumer.pool, consumer.hostname, consumer.event_dispatcher, app=app
        )
        waiting: list[Any] = []

        def receive(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **_: Any) -> None:
            waiting.append(
                make(
                    message,
                    on_ack=ack,
                    on_reject=reject,
                    app=app,
                    task=task,
                    body=message.body,
                    headers=message.headers,
                    decoded=False,
                    utc=True,
                )
            )
            if len(waiting) >= SIZE:
                batch, waiting[:] = list(waiting), []
                calls = [SimpleNamespace(id=one.id, args=one.args) for one in batch]
                consumer.pool.apply_async(
                    run_all, (task, calls), callback=lambda _: [one.acknowledge() for one in batch]
                )

        return receive


@app.task(base=Gathering, bind=True, name="shop.total")
def total(self: Any, calls: list[Any]) -> None:
    """Tell which calls it was run for; die or raise if the test says so."""
    tell(self, "batch", ids=[call.id for call in calls])
    if taken("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    if taken("raise"):
        raise ValueError("no stock")
