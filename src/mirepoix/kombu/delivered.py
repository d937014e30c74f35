"""A leased task as Celery's worker expects a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mirepoix.celery.canonical import as_of_now
from mirepoix.records import LEASE_HEADER, Taken

if TYPE_CHECKING:
    from mirepoix.celery.app import Installation


def as_message(taken: Taken, installation: Installation) -> dict[str, Any]:
    """A lease's message for the code that runs here, as kombu's virtual transports hold one.

    It is as the running Celery would have written it, and names the task that takes it, if that has another name by
    now. Its eta has come: nobody need wait for it again. Its expiry is by the clock of this host: Celery looks at that.
    """
    name = installation.catalog.current_name(taken.name)
    taken = as_of_now(taken, installation.app)
    # Whatever stands in the row, the worker must come to see it: it is the consumer that parks what cannot be read.
    headers = taken.headers if isinstance(taken.headers, dict) else {}
    if name != taken.name and headers.get("task") == taken.name:
        headers = {**headers, "task": name}
    mark = {
        "id": taken.lease.task_id,
        "fence": taken.lease.fence,
        "worker": taken.lease.worker_id,
        "eta": headers.get("eta"),
        "expires": taken.expires,
    }
    return {
        "body": taken.body,
        "content-type": taken.content_type,
        "content-encoding": taken.content_encoding,
        "headers": {**headers, "eta": None, "expires": taken.expires or headers.get("expires"), LEASE_HEADER: mark},
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
