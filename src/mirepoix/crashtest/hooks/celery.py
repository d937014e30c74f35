"""Tasks that a task sends. They are recorded and not sent, with any broker and with eager tasks."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from importlib import import_module
from typing import Any

from celery import Celery
from celery.canvas import _chord
from celery.result import AsyncResult

from mirepoix.connect import ambient
from mirepoix.crashtest.hooks.patch import replace
from mirepoix.crashtest.points import Delivery, current


def install(stack: ExitStack) -> None:
    """Install the fault points until *stack* is closed."""
    replace(stack, Celery, "send_task", _sending)
    replace(stack, Celery, "producer_or_acquire", _without_producer)
    replace(stack, _chord, "apply_async", _sending_chord)


def _sending(original: Any) -> Any:
    def send_task(
        self: Any,
        name: str,
        args: Any = None,
        kwargs: Any = None,
        *positional: Any,
        task_id: str | None = None,
        **options: Any,
    ) -> Any:
        delivery = current()
        if delivery is None:
            return original(self, name, args, kwargs, *positional, task_id=task_id, **options)
        said = {"args": list(args or ()), "kwargs": dict(kwargs or {})}
        if task_id != delivery.task_id or name != delivery.task_name:
            is_known = task_id is not None and getattr(self, "mirepoix", None) is not None
            effect = {"kind": "enqueue", "subject": name, "payload": said, "key": task_id if is_known else None}
            _send(self, delivery, f"send {name}", effect)
        return AsyncResult(task_id or "sent-by-crashpoints", app=self)

    return send_task


def _sending_chord(original: Any) -> Any:
    def apply_async(self: Any, *args: Any, **options: Any) -> Any:
        delivery = current()
        if delivery is None:
            return original(self, *args, **options)
        app = self.app
        given = args[1] if len(args) > 1 else options.get("kwargs") or {}
        body = (given or {}).get("body", self.body)
        name = "?" if body is None else body.task
        members = [[member.task, list(member.args)] for member in getattr(self.tasks, "tasks", self.tasks)]
        said = {"members": members, "args": [] if body is None else list(body.args)}
        _send(app, delivery, f"send chord of {name}", {"kind": "enqueue", "subject": f"chord {name}", "payload": said})
        return AsyncResult("sent-by-crashpoints", app=app)

    return apply_async


def _without_producer(original: Any) -> Any:
    def producer_or_acquire(self: Any, producer: Any = None) -> Any:
        return original(self, producer) if current() is None else nullcontext(producer)

    return producer_or_acquire


def _send(app: Any, delivery: Delivery, label: str, effect: dict[str, Any]) -> None:
    """Record the send. With Mirepoix it is part of the task's open transaction, if there is one."""
    installation = getattr(app, "mirepoix", None)
    wait: Any = None
    if installation is not None:
        alias = getattr(installation.source, "alias", None)
        if ambient.current() is not None:
            wait = delivery.waiting.append
        elif alias is not None:
            wait = import_module("mirepoix.crashtest.hooks.django").waiting_for(delivery, alias)
    with delivery.point("enqueue", label, is_durable=wait is None) as note:
        (wait or note)(effect)
