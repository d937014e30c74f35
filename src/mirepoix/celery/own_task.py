"""Build the message of a task of ours inside a transaction, without Celery's sender.

Celery's sender calls signals and routers, which are user code. The transaction holds locks meanwhile: on SQLite, the
lock of the whole file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from celery.app.task import Context
from kombu.utils.json import dumps
from kombu.utils.uuid import uuid

from mirepoix.ledger.enqueue import can_be_header
from mirepoix.protocol import payload
from mirepoix.protocol.canonical import WRITER
from mirepoix.protocol.envelope import from_headers
from mirepoix.records import LEASE_HEADER, VERSION_HEADER, Envelope

if TYPE_CHECKING:
    from mirepoix.celery.installation import Installation


def own_task(
    installation: Installation, name: str, args: tuple[Any, ...], queue: str, follows: Context, own: Mapping[str, Any]
) -> Envelope:
    """The envelope of our task *name* with the headers *own*. It follows from the task of the request *follows*."""
    call: Any = (args, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None})
    new = uuid()
    root = follows.root_id or follows.id
    headers = {**own, "lang": "py", "task": name, "id": new, "root_id": root, "parent_id": follows.id}
    return from_headers(
        headers,
        body=dumps(call),
        queue=queue,
        properties={"correlation_id": new},
        routing_key=queue,
        retries=0,
        group_id=None,
        sent_fence=installation.sent_fence,
        shape=payload.shape_of(name, headers, call),
        written_by=WRITER,
    )


def own_headers(request: Context) -> dict[str, Any]:
    """The headers that the sender of a task added to its message: a tenant, a trace."""
    own: Mapping[str, Any] = request.headers or {}
    # Celery decodes some headers into values that no header can hold, such as bytes.
    return {key: own[key] for key in own if key not in (LEASE_HEADER, VERSION_HEADER) and can_be_header(own[key])}
