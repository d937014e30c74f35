"""Add the running task to log records: for Python's ``logging`` with any formatter, and for structlog.

``task_id``, ``task_name`` and ``attempt`` are those of the task that runs in this context, and None outside of a task.
``trace_id`` and ``span_id`` are those of OpenTelemetry's current span, in hexadecimal, or None without one. No
argument of a task is added.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

from mirepoix.celery import context

FIELDS = ("task_id", "task_name", "attempt", "trace_id", "span_id")


class TaskFilter(logging.Filter):
    """Set the attributes `FIELDS` of every record. It drops no record. Add it to a handler, not to a logger.

    An attribute that the caller has set by ``extra`` stays.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in fields().items():
            if getattr(record, name, None) is None:
                setattr(record, name, value)
        return True


def add_task(logger: Any, method_name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the fields that are known to *event*: a processor of structlog."""
    for name, value in fields().items():
        if value is not None:
            event.setdefault(name, value)
    return event


def fields() -> dict[str, Any]:
    """Return the values of `FIELDS` now."""
    found: dict[str, Any] = dict.fromkeys(FIELDS)
    attempt = context.current()
    if attempt is not None:
        found |= {"task_id": attempt.lease.task_id, "task_name": attempt.name, "attempt": attempt.lease.fence}
    trace = sys.modules.get("opentelemetry.trace")  # a process that traces nothing has not imported it
    if trace is not None:
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            found |= {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
    return found
