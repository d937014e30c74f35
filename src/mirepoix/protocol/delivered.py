"""Make a message from a leased task, in the form that Celery's worker expects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mirepoix.protocol.canonical import as_of_now
from mirepoix.protocol.lease import with_lease
from mirepoix.records import Taken


def as_message(taken: Taken, app: Any, current_name: Callable[[str], str]) -> dict[str, Any]:
    """The message of a lease, in the form that kombu's virtual transports give a message.

    It is as the running Celery would have written it. *current_name* returns the present name of a task that was
    renamed. The message has no eta, since the eta has passed. It expires by the clock of this host, which Celery reads.
    """
    name = current_name(taken.name)
    taken = as_of_now(taken, app)
    # The row may hold anything, and the worker must see it: the consumer parks what cannot be read.
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
