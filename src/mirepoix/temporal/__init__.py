"""Temporal and Celery: an activity that is one Celery task, and workflows that a database transaction starts.

::

    workflow:   run_task("shop.charge", ...)  ──>  activity  ──>  one task for each workflow id, run id and activity id
    your code:  start_workflow(...) in a transaction  ──>  a task that delivers it to Temporal once

What is here is imported when it is first used: a workflow's sandbox imports this package, and must not pay for Celery.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mirepoix.temporal.deliver import install
    from mirepoix.temporal.plugin import MirepoixPlugin
    from mirepoix.temporal.send import signal_workflow, start_workflow
    from mirepoix.temporal.workflows import run_task

__all__ = ["MirepoixPlugin", "install", "run_task", "signal_workflow", "start_workflow"]

_HOMES = {
    "MirepoixPlugin": "mirepoix.temporal.plugin",
    "install": "mirepoix.temporal.deliver",
    "run_task": "mirepoix.temporal.workflows",
    "signal_workflow": "mirepoix.temporal.send",
    "start_workflow": "mirepoix.temporal.send",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
