"""Build the message of a task of ours without Celery's sender, inside of a transaction.

Signals and routers are the user's code, and the transaction holds locks: on SQLite the whole file.
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
    installation: Installation, name: str, args: tuple[Any, ...], queue: str, follows: Context, told: Mapping[str, Any]
) -> Envelope:
    """The task of ours *name* with the headers *told*. It follows from the task of the request *follows*."""
    call: Any = (args, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None})
    new = uuid()
    root = follows.root_id or follows.id
    headers = {**told, "lang": "py", "task": name, "id": new, "root_id": root, "parent_id": follows.id}
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
    """What a task's sender put into its message: a tenant, a trace."""
    own: Mapping[str, Any] = request.headers or {}
    # Celery decodes values for itself that no header can hold, such as bytes.
    return {key: own[key] for key in own if key not in (LEASE_HEADER, VERSION_HEADER) and can_be_header(own[key])}
