"""Tell whether a message may depend on the process, and the task, that sends it: on a tenant, a trace, a language.

A receiver of a publish signal, a router that is a function, and a method of Celery that somebody has replaced can
read what the task that runs has set. What follows from that task must then be sent while it runs.
"""

from __future__ import annotations

import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import celery
from celery import signals
from celery.app.routes import MapRoute
from celery.utils.functional import maybe_evaluate

_SIGNALS = (signals.before_task_publish, signals.after_task_publish)
_OF_TASK = ("apply_async", "delay", "signature", "shadow_name")
_OF_APP = ("send_task",)
_OF_AMQP = ("send_task_message", "create_task_message", "_create_task_sender", "as_task_v2")
_KNOWN = (str(Path(celery.__file__).parent), str(Path(__file__).parents[1]))


def is_read_by_senders(app: Any) -> bool:
    """Whether code that is neither Celery's nor ours takes part when *app* sends a task."""
    tasks = list(app.tasks.values())
    return (
        any(signal.receivers for signal in _SIGNALS)
        or any(not isinstance(maybe_evaluate(route), MapRoute) for route in app.amqp.routes or ())
        or _is_replaced([app], _OF_APP)
        or _are_replaced(type(app.amqp).__mro__, _OF_AMQP)
        or _is_replaced(tasks, _OF_TASK)
    )


def _is_replaced(owners: list[Any], names: tuple[str, ...]) -> bool:
    if any(not _is_known(vars(owner)[name]) for owner in owners for name in names if name in vars(owner)):
        return True
    return _are_replaced({base for owner in owners for base in type(owner).__mro__}, names)


def _are_replaced(classes: Iterable[type], names: tuple[str, ...]) -> bool:
    return any(not _is_known(vars(cls)[name]) for cls in classes for name in names if name in vars(cls))


def _is_known(found: Any) -> bool:
    function = getattr(found, "fget", None) or getattr(found, "func", None) or found  # of a property
    return isinstance(function, types.FunctionType) and function.__code__.co_filename.startswith(_KNOWN)
