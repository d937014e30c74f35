"""What ends a worker that receives a task whose id begins with "boom": an error that nobody catches."""

from __future__ import annotations

from typing import Any

from celery import signals


def _boom() -> None:
    raise ArithmeticError("boom")


@signals.task_received.connect(weak=False)
def light(sender: Any, request: Any, **_: Any) -> None:
    """Let the worker's loop fail after the task was given to it."""
    if request.id.startswith("boom"):
        sender.hub.call_soon(_boom)
