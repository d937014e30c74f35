"""Deliver a task once, through Celery's own tracer, so that retries, failures and ``Ignore`` work as in a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from celery.app.trace import build_tracer
from celery.backends.base import DisabledBackend
from kombu.utils.json import dumps, loads

from mirepoix.celery import private, step
from mirepoix.crashtest.points import Delivery, Died, current, delivering


@dataclass(frozen=True, slots=True)
class Call:
    """A task and its arguments."""

    task: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    id: str

    @property
    def is_redelivered(self) -> bool:
        """Whether the task is delivered again after a crash. With Mirepoix it always is."""
        return self.is_of_ledger or bool(self.task.acks_late)

    @property
    def is_of_ledger(self) -> bool:
        """Whether Mirepoix is installed on its app."""
        return getattr(self.task.app, "mirepoix", None) is not None

    @property
    def is_transactional(self) -> bool:
        """Whether its outcome commits together with its writes."""
        return self.is_of_ledger and bool(getattr(self.task, "transactional", False))


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a delivery: ``ok``, ``retry``, ``failed``, ``died`` or ``swallowed``, and the error, if any."""

    how: str
    error: BaseException | None = None
    traceback: str = ""


@contextmanager
def ready(task: Any) -> Iterator[None]:
    """Prepare the app for all deliveries: nothing runs eagerly, no result is stored, the tester stores the steps."""
    app = task.app
    eager, backend = app.conf.task_always_eager, private.own_backend(task)
    app.conf.task_always_eager = False
    private.replace_backend(task, DisabledBackend(app))
    token = step.recorder.set(_record_step)
    try:
        yield
    finally:
        step.recorder.reset(token)
        private.replace_backend(task, backend)
        app.conf.task_always_eager = eager


def deliver(call: Call, delivery: Delivery, *, retries: int = 0, is_redelivered: bool = False) -> Ended:
    """Run the task once, until it ends or dies."""
    args, kwargs = loads(dumps([list(call.args), call.kwargs]))
    tracer = build_tracer(call.task.name, call.task, app=call.task.app, eager=False, propagate=False)
    request = {
        "id": call.id,
        "task": call.task.name,
        "root_id": call.id,
        "retries": retries,
        "is_eager": False,
        "delivery_info": {"redelivered": is_redelivered, "routing_key": "celery", "exchange": ""},
        "args": args,
        "kwargs": kwargs,
        "hostname": "crashpoints",
        "ignore_result": True,
        "called_directly": False,
    }
    with delivering(delivery):
        try:
            traced = tracer(call.id, args, kwargs, request)
        except Died:
            return Ended("died")
    if delivery.is_dead:
        return Ended("swallowed")
    state = getattr(traced[1], "state", None)
    if state in {None, "IGNORED", "REJECTED"}:
        return Ended("ok")
    error = getattr(traced[1], "retval", None)
    return Ended("retry" if state == "RETRY" else "failed", error, str(getattr(traced[0], "traceback", "")))


def _record_step(name: str, run: Callable[[], Any]) -> Any:
    """Run a step of the current delivery. Once it has returned, its return value survives crashes."""
    delivery = current()
    if delivery is None:
        return run()
    steps = delivery.journal.steps
    if name in delivery.steps:
        raise step.called_twice(name, delivery.task_name)
    if name not in steps:
        value = dumps(run())
        with delivery.point("step", f"keep step {name!r}", is_durable=True):
            delivery.journal.keep(name, value)
    delivery.steps.add(name)
    return loads(steps[name])
