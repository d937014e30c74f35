"""Messages of the broker as a worker meets them: one that rings for a task, and the task itself once it is leased."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kombu.message import Message

from mirepoix.celery import payload
from mirepoix.celery.options import moment_in_utc
from mirepoix.kombu.delivered import as_message
from mirepoix.records import LEASE_HEADER, PROBE_HEADER, SENT_HEADER, UNSENT, Envelope, Lease, Taken

if TYPE_CHECKING:
    from mirepoix.celery.app import Installation

_OF_THE_TRANSPORT = frozenset(
    {
        *("body_encoding", "delivery_tag", "delivery_info", "application_headers", "content_type", "content_encoding"),
        *("expiration", "timestamp", "message_id", "type", "user_id", "app_id", "cluster_id"),
    }
)
"""Properties of a message that are said elsewhere, or that only its first sender could mean."""


@dataclass(slots=True, eq=False)
class Doorbell:
    """A message that was received and not yet acknowledged. It holds no place in the prefetch of tasks."""

    message: Any
    task_id: str
    foreign: Envelope | None = None
    """The task, if it was sent past the ledger and is to be adopted."""
    received_at: float = field(default_factory=time.monotonic)


class LeasedMessage(Message):  # type: ignore[misc]
    """A task that this worker holds the lease of. Acknowledging it only says that the worker is done with it."""

    def __init__(
        self, taken: Taken, installation: Installation, accept: Any, done: Callable[[LeasedMessage], None]
    ) -> None:
        told = as_message(taken, installation)
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


def task_id_of(message: Any) -> str | None:
    """The id of a task of protocol 2, or None."""
    headers = message.headers
    if not isinstance(headers, dict) or "task" not in headers:
        return None
    found = headers.get("id")
    return found if isinstance(found, str) and found else None


def adopted(message: Any, queue: str) -> Envelope:
    """The envelope of a task that was sent past the ledger. Raises ValueError for a moment that cannot be read."""
    headers = message.headers
    info = message.delivery_info or {}
    body: Any = bytes(message.body) if isinstance(message.body, memoryview) else message.body
    encoding = "utf-8"
    if isinstance(body, bytes):
        try:
            body = body.decode("utf-8")
        except UnicodeDecodeError:
            body, encoding = base64.b64encode(body).decode("ascii"), "base64"
    properties = {key: value for key, value in (message.properties or {}).items() if key not in _OF_THE_TRANSPORT}
    return Envelope(
        id=headers["id"],
        name=str(headers["task"]),
        queue=queue,
        priority=properties.get("priority") or 0,
        body=body,
        body_encoding=encoding,
        content_type=message.content_type or "application/data",
        content_encoding=message.content_encoding or "utf-8",
        headers={key: value for key, value in headers.items() if key not in (LEASE_HEADER, SENT_HEADER)},
        properties=properties,
        exchange=info.get("exchange") or "",
        routing_key=info.get("routing_key") or queue,
        eta=moment_in_utc(str(headers["task"]), "eta", headers.get("eta")),
        expires=moment_in_utc(str(headers["task"]), "expires", headers.get("expires")),
        retries=headers.get("retries") or 0,
        root_id=headers.get("root_id"),
        parent_id=headers.get("parent_id"),
        group_id=headers.get("group"),
        sent_fence=UNSENT,
        version=payload.version_in(headers),
        shape=payload.shape_of_text(str(headers["task"]), headers, body, message.content_type or "", encoding),
    )
