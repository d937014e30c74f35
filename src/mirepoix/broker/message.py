"""Messages of the broker as a worker receives them: a notification of a task, and the task itself once it is leased."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kombu.message import Message

from mirepoix.delivery.host import Host
from mirepoix.ledger import enqueue
from mirepoix.ledger.text import storable
from mirepoix.protocol.delivered import as_message
from mirepoix.protocol.envelope import as_text, from_foreign_headers, is_storable
from mirepoix.records import LEASE_HEADER, PROBE_HEADER, SENT_HEADER, UNSENT, Envelope, Lease, Taken

_OF_THE_TRANSPORT = frozenset(
    {
        *("body_encoding", "delivery_tag", "delivery_info", "application_headers", "content_type", "content_encoding"),
        *("expiration", "timestamp", "message_id", "type", "user_id", "app_id", "cluster_id"),
    }
)
"""Properties of a message that are said elsewhere, or that only its first sender could mean."""


UNREADABLE = "an unreadable message"
"""As the name of a task: nobody can tell which."""

_UNREADABLE = uuid.UUID("5e6ad93c-3b3f-4d0e-8f61-6f2f5a6f5c11")
"""The namespace of their ids."""


@dataclass(slots=True, eq=False)
class Notification:
    """A message that was received and not yet acknowledged. It holds no place in the prefetch of tasks."""

    message: Any
    task_id: str
    foreign: Envelope | None = None
    """The task, if it was sent past the ledger and is to be adopted; or the row that keeps what nobody can read."""
    unreadable: str | None = None
    """Why nobody can read the message, if so: it is kept as a parked row."""
    received_at: float = field(default_factory=time.monotonic)


class LeasedMessage(Message):  # type: ignore[misc]
    """A task that this worker holds the lease of. Acknowledging it only says that the worker is done with it."""

    def __init__(self, taken: Taken, installation: Host, accept: Any, done: Callable[[LeasedMessage], None]) -> None:
        told = as_message(taken, installation.app, installation.catalog.current_name)
        properties = told["properties"]
        body = base64.b64decode(told["body"]) if properties.pop("body_encoding") == "base64" else told["body"]
        self._state = "RECEIVED"
        super().__init__(
            body=body,
            delivery_tag=properties.pop("delivery_tag"),
            content_type=told["content-type"],
            content_encoding=told["content-encoding"],
            delivery_info=properties.pop("delivery_info"),
            properties=properties,
            headers=told["headers"],
            accept=accept,
        )
        self.lease: Lease = taken.lease
        self._done = done

    def ack(self, multiple: bool = False) -> None:
        """The attempt is over."""
        if self._state not in ("ACK", "REJECTED"):
            self._state = "ACK"
            self._done(self)

    def reject(self, requeue: bool = False) -> None:
        """The attempt is over; where the task goes was decided when its outcome was recorded."""
        if self._state not in ("ACK", "REJECTED"):
            self._state = "REJECTED"
            self._done(self)

    def requeue(self) -> None:
        """The same."""
        self.reject(requeue=True)


def is_probe(message: Any) -> bool:
    """Whether it only shows that somebody listens."""
    return isinstance(message.headers, dict) and PROBE_HEADER in message.headers


def is_of_ledger(message: Any) -> bool:
    """Whether its task was in the ledger when it was published."""
    return isinstance(message.headers, dict) and bool(message.headers.get(SENT_HEADER))


def unreadable(message: Any, queue: str) -> Envelope:
    """The row of a message that nobody can read: all of it is in the body, in base64, and any ledger can hold that.

    Its id follows from the message: one that the broker gives out again is the same row.
    """
    headers = message.headers
    body = (
        message.body.encode("utf-8", "surrogatepass") if isinstance(message.body, str) else bytes(message.body or b"")
    )
    info = message.delivery_info or {}
    whole = {
        "headers": headers,
        "properties": message.properties,
        "content_type": message.content_type,
        "content_encoding": message.content_encoding,
        "delivery_info": {key: info.get(key) for key in ("exchange", "routing_key")},
        "body": base64.b64encode(body).decode("ascii"),
    }
    text = json.dumps(whole, default=repr)
    name = headers.get("task") if isinstance(headers, dict) else None
    return Envelope(
        id=str(uuid.uuid5(_UNREADABLE, f"{queue}\n{text}")),
        name=str(name) if is_storable(name) else UNREADABLE,
        queue=queue,
        body=base64.b64encode(text.encode()).decode("ascii"),
        body_encoding="base64",
        headers={},
        properties={},
        routing_key=queue,
        sent_fence=UNSENT,
    )


def task_id_of(message: Any) -> str | None:
    """The id of a task of protocol 2, or None."""
    headers = message.headers
    if not isinstance(headers, dict) or "task" not in headers:
        return None
    found = headers.get("id")
    return found if isinstance(found, str) and found else None


def adopted(message: Any, queue: str) -> Envelope:
    """The envelope of a task that was sent past the ledger.

    Raises ValueError or TypeError for what the ledger cannot hold. A priority or a number of retries that is none is
    left to Celery, which reads it in the message itself.
    """
    headers = message.headers
    info = message.delivery_info or {}
    body, encoding = as_text(message.body)
    if storable(body) != body:
        body, encoding = base64.b64encode(body.encode("utf-8", "surrogatepass")).decode("ascii"), "base64"
    properties = {key: value for key, value in (message.properties or {}).items() if key not in _OF_THE_TRANSPORT}
    envelope = from_foreign_headers(
        {key: value for key, value in headers.items() if key not in (LEASE_HEADER, SENT_HEADER)},
        body=body,
        queue=queue,
        body_encoding=encoding,
        content_type=message.content_type if is_storable(message.content_type) else "application/data",
        content_encoding=message.content_encoding if is_storable(message.content_encoding) else "utf-8",
        properties=properties,
        exchange=info.get("exchange") or "",
        routing_key=info.get("routing_key") or queue,
        sent_fence=UNSENT,
    )
    enqueue.as_row(envelope)  # raises for headers that JSON cannot hold
    return envelope
