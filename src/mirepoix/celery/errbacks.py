"""Call error callbacks once the end of their task is committed.

They are the user's code, and Celery calls some in place. So a task of ours is sent, in the transaction that ends the
task, and calls them where tasks run: those of tasks that failed, and all of those that ended while no code of theirs
ran (quarantined, or expired).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from billiard.exceptions import WorkerLostError
from celery import current_task
from celery.app.task import Context
from celery.exceptions import NotRegistered, TaskRevokedError
from kombu.utils.json import dumps, loads

from mirepoix.celery import context
from mirepoix.celery.own_task import own_headers, own_task
from mirepoix.celery.versions import takes_more_than
from mirepoix.ledger import enqueue
from mirepoix.ledger.tx import Tx
from mirepoix.records import Envelope
from mirepoix.sql.columns import Row

if TYPE_CHECKING:
    from mirepoix.celery.installation import Installation

logger = logging.getLogger("mirepoix.attempt")

LONGEST_MESSAGE = 4_096

CALL_ERRBACKS = "mirepoix.call_errbacks"

_NOT_TOLD = frozenset({"errbacks", "callbacks", "chain", "chord", "children", "_children", "_protected"})
"""What of a request has no meaning once its task has ended."""

_ERRORS = {"quarantined": WorkerLostError, "expired": TaskRevokedError}


def add_tasks(app: Any) -> None:
    """Register the task that calls them."""

    @app.task(name=CALL_ERRBACKS, shared=False, ignore_result=True, typing=False)  # type: ignore[untyped-decorator]
    def call_errbacks(request: Any, state: str, reason: Any, traceback: str | None = None) -> None:
        backend = app.backend
        error = backend.exception_to_python(reason) if state == "failed" else _ERRORS[state](reason)
        call = getattr(backend, "call_errbacks_here", backend._call_task_errbacks)  # noqa: SLF001
        with context.outcome_code():  # what they send is committed with this task's outcome
            call(Context(request), error, traceback)


def is_called_in_place(app: Any, errback: Any) -> bool:
    """Whether Celery would call it in the process that failed, with ``request, exc, traceback``."""
    signature = app.signature(errback)
    try:
        header = signature.type.__header__
    except (NotRegistered, AttributeError):
        return False
    if isinstance(header, partial):
        return False
    return takes_more_than(app.backend, signature, 1)


def send_calls(app: Any, request: Any, errbacks: Sequence[Any], error: BaseException, traceback: str | None) -> None:
    """Send the task that calls *errbacks*, with the outcome of the attempt that runs here.

    Of *request* they get what JSON can hold. Request, error and traceback are each cut to a quarter of what a payload
    may be: of the request the arguments are left out, of the error all but 4,096 letters of its message.
    """
    backend = app.backend
    told = {key: value for key, value in vars(request).items() if key not in _NOT_TOLD and _is_json(value)}
    limit = backend.installation.settings.payload_limit_bytes // 4
    if len(dumps(told)) > limit:
        told = {key: value for key, value in told.items() if key not in ("args", "kwargs")}
    told |= {"errbacks": [dict(app.signature(one)) for one in errbacks]}
    reason = backend.prepare_exception(error, serializer="json")
    if len(dumps(reason)) > limit:
        reason = {**reason, "exc_message": [str(error)[:LONGEST_MESSAGE]]}
    where = request.delivery_info or (current_task.request.delivery_info if current_task else None) or {}
    routed = {key: where[key] for key in ("exchange", "routing_key") if where.get(key) is not None}
    app.tasks[CALL_ERRBACKS].apply_async(
        (told, "failed", reason, str(traceback or "")[-limit:] or None),
        root_id=request.root_id or request.id,
        parent_id=request.id,
        **routed,
    )


def _is_json(value: Any) -> bool:
    try:
        dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def send_errbacks(installation: Installation, tx: Tx, task_ids: Iterable[str], state: str, reason: str) -> None:
    """Have the error callbacks of these tasks called, which ended in *state*, once *tx* is committed."""
    ids = list(task_ids)
    rows = tx.fetch("error_callbacks", ids=json.dumps(ids)) if ids else ()
    sent = [_call(installation, row, state, reason) for row in rows]
    enqueue.add(tx, [one for one in sent if one is not None])


def _call(installation: Installation, row: Row, state: str, reason: str) -> Envelope | None:
    id, headers = row.id, row.headers if isinstance(row.headers, dict) else json.loads(row.headers)
    try:
        _, _, embed = loads(row.body)
        errbacks = embed["errbacks"]
    except (ValueError, TypeError, KeyError):
        logger.warning("the error callbacks of task %s cannot be read", id)
        return None
    request = {"id": id, "errbacks": errbacks, "delivery_info": {}}
    request |= {key: headers.get(key) for key in ("task", "root_id", "parent_id", "stamped_headers", "stamps")}
    ended = Context({**headers, "id": id})
    return own_task(installation, CALL_ERRBACKS, (request, state, reason), row.queue, ended, own_headers(ended))
