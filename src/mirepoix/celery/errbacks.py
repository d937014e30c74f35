"""Call the error callbacks of tasks that ended while no code of theirs ran: quarantined, or expired.

They are the user's code, and Celery calls some in place. So a task of ours is sent, in the transaction that ends the
task, and calls them where tasks run.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from billiard.exceptions import WorkerLostError
from celery.app.task import Context
from celery.exceptions import TaskRevokedError
from kombu.utils.json import dumps, loads
from kombu.utils.uuid import uuid

from mirepoix.celery import payload
from mirepoix.ledger import enqueue
from mirepoix.ledger.tx import Tx
from mirepoix.records import LEASE_HEADER, VERSION_HEADER, Envelope

if TYPE_CHECKING:
    from mirepoix.celery.app import Installation

logger = logging.getLogger("mirepoix.attempt")

CALL_ERRBACKS = "mirepoix.call_errbacks"

_ERRORS = {"quarantined": WorkerLostError, "expired": TaskRevokedError}


def add_tasks(app: Any) -> None:
    """Register the task that calls them."""

    @app.task(name=CALL_ERRBACKS, shared=False, ignore_result=True, typing=False)  # type: ignore[untyped-decorator]
    def call_errbacks(request: Any, state: str, reason: str) -> None:
        from mirepoix.celery import attempt as attempts

        with attempts.outcome_code():  # what they send is committed with this task's outcome
            app.backend._call_task_errbacks(Context(request), _ERRORS[state](reason), None)  # noqa: SLF001


def send_errbacks(installation: Installation, tx: Tx, task_ids: Iterable[str], state: str, reason: str) -> None:
    """Have the error callbacks of these tasks called, which ended in *state*, once *tx* is committed."""
    ids = list(task_ids)
    rows = tx.fetch("error_callbacks", ids=json.dumps(ids)) if ids else ()
    sent = [_call(installation, row, state, reason) for row in rows]
    enqueue.add(tx, [one for one in sent if one is not None])


def _call(installation: Installation, row: tuple[Any, ...], state: str, reason: str) -> Envelope | None:
    """The message, built without Celery's sender: signals and routers are the user's code, and *tx* holds locks."""
    id, queue, body, stored = row
    headers = stored if isinstance(stored, dict) else json.loads(stored)
    try:
        _, _, embed = loads(body)
        errbacks = embed["errbacks"]
    except (ValueError, TypeError, KeyError):
        logger.warning("the error callbacks of task %s cannot be read", id)
        return None
    request = {"id": id, "errbacks": errbacks, "delivery_info": {}}
    request |= {key: headers.get(key) for key in ("task", "root_id", "parent_id", "stamped_headers", "stamps")}
    call: Any = ((request, state, reason), {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None})
    own: Mapping[str, Any] = Context(headers).headers or {}
    told = {key: value for key, value in own.items() if key not in (LEASE_HEADER, VERSION_HEADER)}
    new = uuid()
    root = headers.get("root_id") or id
    told |= {"lang": "py", "task": CALL_ERRBACKS, "id": new, "root_id": root, "parent_id": id}
    return Envelope(
        id=new,
        name=CALL_ERRBACKS,
        queue=queue,
        body=dumps(call),
        headers=told,
        properties={"correlation_id": new},
        routing_key=queue,
        root_id=root,
        parent_id=id,
        sent_fence=installation.sent_fence,
        shape=payload.shape_of(CALL_ERRBACKS, told, call),
    )
