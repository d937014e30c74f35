"""A leased task as Celery's worker expects a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mirepoix.protocol.canonical import as_of_now
from mirepoix.protocol.lease import with_lease
from mirepoix.records import Taken


def as_message(taken: Taken, app: Any, current_name: Callable[[str], str]) -> dict[str, Any]:
    """A lease's message for the code that runs here, as kombu's virtual transports hold one.

    The message is as the running Celery would have written it. If the task has another name by now, *current_name* says
    so. The message has no eta, since that has come, and expires by the clock of this host, which Celery reads.
    """
    name = current_name(taken.name)
    taken = as_of_now(taken, app)
    # Whatever stands in the row, the worker must come to see it: it is the consumer that parks what cannot be read.
    headers = taken.headers if isinstance(taken.headers, dict) else {}
    if name != taken.name and headers.get("task") == taken.name:
        headers = {**headers, "task": name}
    return {
        "body": taken.body,
        "content-type": taken.content_type,
        "content-encoding": taken.content_encoding,
        "headers": {**with_lease(headers, taken), "eta": None, "expires": taken.expires or headers.get("expires")},
        "properties": {
            **(taken.properties if isinstance(taken.properties, dict) else {}),
            "priority": taken.priority,
            "body_encoding": None if taken.body_encoding == "utf-8" else taken.body_encoding,
            "delivery_tag": tag_of(taken),
            "delivery_info": {
                "exchange": taken.exchange,
                "routing_key": taken.routing_key,
                "priority": taken.priority,
                "redelivered": taken.is_redelivered,
            },
        },
    }


def tag_of(taken: Taken) -> str:
    """The delivery tag of a lease's message."""
    return f"{taken.lease.fence}:{taken.lease.task_id}"
