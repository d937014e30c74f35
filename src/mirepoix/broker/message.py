"""Messages that a worker receives from the broker: a notification of a task, and the task itself once it is leased."""

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
"""Properties of a message that the envelope has elsewhere, or that concern only the first sender."""


UNREADABLE = "an unreadable message"
"""The task name of a message without a readable name."""

_UNREADABLE = uuid.UUID("5e6ad93c-3b3f-4d0e-8f61-6f2f5a6f5c11")
"""The namespace of the ids of unreadable messages."""


@dataclass(slots=True, eq=False)
class Notification:
    """A message that was received and not yet acknowledged. It takes no place in the prefetch of tasks."""

    message: Any
    task_id: str
    envelope: Envelope | None = None
    """The row to write first: a task that was sent without the ledger, or an unreadable message."""
    unreadable: str | None = None
    """Why the message cannot be read; None if it can. An unreadable message becomes a parked row."""
    received_at: float = field(default_factory=time.monotonic)


class LeasedMessage(Message):  # type: ignore[misc]
    """A task that this worker leases, as Celery's worker expects it. To acknowledge it only frees its place."""

    def __init__(self, taken: Taken, installation: Host, accept: Any, done: Callable[[LeasedMessage], None]) -> None:
        message = as_message(taken, installation.app, installation.catalog.current_name)
        properties = message["properties"]
        body = base64.b64decode(message["body"]) if properties.pop("body_encoding") == "base64" else message["body"]
        self._state = "RECEIVED"
        super().__init__(
            body=body,
            delivery_tag=properties.pop("delivery_tag"),
            content_type=message["content-type"],
            content_encoding=message["content-encoding"],
            delivery_info=properties.pop("delivery_info"),
            properties=properties,
            headers=message["headers"],
            accept=accept,
        )
        self.lease: Lease = taken.lease
        self._done = done

    def ack(self, multiple: bool = False) -> None:
        """Free the place: the attempt is over."""
        if self._state not in ("ACK", "REJECTED"):
            self._state = "ACK"
            self._done(self)

    def reject(self, requeue: bool = False) -> None:
        """Free the place: the attempt is over, and its recorded outcome decides where the task goes."""
        if self._state not in ("ACK", "REJECTED"):
            self._state = "REJECTED"
            self._done(self)

    def requeue(self) -> None:
        self.reject(requeue=True)


def is_probe(message: Any) -> bool:
    """Whether *message* is a probe, which only shows that a worker consumes the queue."""
    return isinstance(message.headers, dict) and PROBE_HEADER in message.headers


def is_of_ledger(message: Any) -> bool:
    """Whether the task of *message* was in the ledger when the message was published."""
    return isinstance(message.headers, dict) and bool(message.headers.get(SENT_HEADER))


def unreadable(message: Any, queue: str) -> Envelope:
    """The row that stores an unreadable message. Its body is the whole message in base64, which any ledger can store.

    The id is computed from the message. If the broker sends the message again, it becomes the same row.
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
    """The envelope of a task that was sent without the ledger.

    Raises ValueError or TypeError for what the ledger cannot store. An invalid priority or number of retries is not
    checked here: Celery reads it in the message itself.
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
