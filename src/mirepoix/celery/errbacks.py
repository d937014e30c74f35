"""Call error callbacks after the end of their task is committed.

Error callbacks are user code, and Celery calls some of them in place. Instead, the transaction that ends the task sends
a task of ours, which calls them in a pool. For a task that failed, it calls those that Celery would call in place. For
a task that ended while none of its code ran (quarantined, expired), it calls all of them.
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

from mirepoix.celery import context, private
from mirepoix.celery.own_task import own_headers, own_task
from mirepoix.celery.versions import takes_more_than
from mirepoix.ledger import enqueue
from mirepoix.ledger.tx import Tx
from mirepoix.records import Envelope, LostTask
from mirepoix.sql.columns import Row
from mirepoix.states import State

if TYPE_CHECKING:
    from mirepoix.celery.installation import Installation

logger = logging.getLogger("mirepoix.attempt")

LONGEST_MESSAGE = 4_096

CALL_ERRBACKS = "mirepoix.call_errbacks"

_LEFT_OUT = frozenset({"errbacks", "callbacks", "chain", "chord", "children", "_children", "_protected"})
"""The attributes of a request that have no meaning after its task has ended."""

_ERRORS = {"quarantined": WorkerLostError, "expired": TaskRevokedError}


def add_tasks(app: Any) -> None:
    """Register the task that calls error callbacks."""

    @app.task(name=CALL_ERRBACKS, shared=False, ignore_result=True, typing=False)  # type: ignore[untyped-decorator]
    def call_errbacks(request: Any, state: str, reason: Any, traceback: str | None = None) -> None:
        backend = app.backend
        error = backend.exception_to_python(reason) if state == "failed" else _ERRORS[state](reason)
        call = getattr(backend, "call_errbacks_here", None) or private.errback_caller(backend)
        with context.outcome_code():  # what the callbacks send is committed with this task's outcome
            call(Context(request), error, traceback)


def is_called_in_place(app: Any, errback: Any) -> bool:
    """Whether Celery would call *errback* in the process that failed, with ``request, exc, traceback``."""
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

    The callbacks receive those attributes of *request* that JSON can hold. The request, the error and the traceback may
    each take a quarter of the payload limit. If one is longer, the request loses its arguments, the error keeps the
    first 4,096 characters of its message, and the traceback keeps its end.
    """
    backend = app.backend
    passed = {key: value for key, value in vars(request).items() if key not in _LEFT_OUT and _is_json(value)}
    limit = backend.installation.settings.payload_limit_bytes // 4
    if len(dumps(passed)) > limit:
        passed = {key: value for key, value in passed.items() if key not in ("args", "kwargs")}
    passed |= {"errbacks": [dict(app.signature(errback)) for errback in errbacks]}
    reason = backend.prepare_exception(error, serializer="json")
    if len(dumps(reason)) > limit:
        reason = {**reason, "exc_message": [str(error)[:LONGEST_MESSAGE]]}
    where = request.delivery_info or (current_task.request.delivery_info if current_task else None) or {}
    routed = {key: where[key] for key in ("exchange", "routing_key") if where.get(key) is not None}
    app.tasks[CALL_ERRBACKS].apply_async(
        (passed, "failed", reason, str(traceback or "")[-limit:] or None),
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
    """Send, in *tx*, the tasks that call the error callbacks of *task_ids*, which ended in *state*."""
    ids = list(task_ids)
    rows = tx.fetch("error_callbacks", ids=json.dumps(ids)) if ids else ()
    sent = [_call(installation, row, state, reason) for row in rows]
    enqueue.add(tx, [envelope for envelope in sent if envelope is not None])


def send_if_quarantined(installation: Installation, tx: Tx, lost: LostTask | None, reason: str) -> None:
    """Send the error callbacks of a task that *tx* took back from an attempt, if no attempt follows."""
    if lost is not None and lost.state == State.QUARANTINED:
        send_errbacks(installation, tx, [lost.task_id], lost.state, reason)


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
