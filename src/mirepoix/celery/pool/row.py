"""Run a row of the ledger in a process of the direct pool, as Celery's consumer and pool would together."""

from __future__ import annotations

from functools import cache
from typing import Any

from celery.app.trace import fast_trace_task, trace_task_ret
from kombu.serialization import loads, prepare_accept_content

from mirepoix.celery.pool_result import Reported
from mirepoix.protocol.lease import with_lease
from mirepoix.records import Taken

Row = tuple[Any, ...]
"""A leased row as it travels to a process: made by `pack`, read by `run_row`."""


class Unsuitable(Exception):
    """Only Celery's consumer can judge this row. Nothing of it has run."""


def pack(taken: Taken, name: str) -> Row:
    """The row, with its lease and the present name of its task."""
    headers = with_lease(taken.headers, taken)
    headers["task"] = name
    headers["eta"] = headers["expires"] = None
    properties = taken.properties
    headers["properties"] = {**properties, "priority": taken.priority}
    headers["reply_to"] = properties.get("reply_to")
    headers["correlation_id"] = properties.get("correlation_id")
    headers["delivery_info"] = {
        "exchange": taken.exchange,
        "routing_key": taken.routing_key,
        "priority": taken.priority,
        "redelivered": taken.is_redelivered,
    }
    return name, taken.lease.task_id, headers, taken.body, taken.content_type, taken.content_encoding


def run_row(app: Any, hostname: str, row: Row) -> Any:
    """Run a row; return what Celery's tracer returns to a pool. Raises Unsuitable before anything has run."""
    name, task_id, request, body, content_type, content_encoding = row
    try:
        args, kwargs, embed = loads(body, content_type, content_encoding, accept=_accepted(app))
    except Exception as error:
        raise Unsuitable(f"its body cannot be read: {type(error).__name__}") from error
    if embed is not None and not isinstance(embed, dict):
        raise Unsuitable("what it carries for later is no mapping")
    request["hostname"] = hostname
    trace = fast_trace_task if app.use_fast_trace_task else trace_task_ret
    return trace(name, task_id, request, (args, kwargs, embed), None, None)


def is_short(shown: Any) -> bool:
    """Whether the end of a row leaves the parent no results and no parts of chords to record."""
    return isinstance(shown, Reported) and not shown.results and not shown.parts


@cache
def _accepted(app: Any) -> Any:
    return prepare_accept_content(app.conf.accept_content)
