"""Run the tasks that wait in the ledger in this thread, without a worker. For tests.

Each task goes the whole way. It is leased, its message is read as a worker reads it, its arguments come out of the
serializer, and its outcome is recorded behind the fence. What it sends runs after it. There is no pool, there are no
time limits, and nothing waits for tasks that are due later.
"""

from __future__ import annotations

import base64
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import states
from celery.app.task import Context
from celery.app.trace import trace_task
from celery.exceptions import NotRegistered
from kombu.message import Message
from kombu.serialization import prepare_accept_content

from mirepoix.celery import chords, errbacks, outcome
from mirepoix.celery.context import Attempt
from mirepoix.celery.installation import Installation
from mirepoix.celery.pool_result import Reported
from mirepoix.connect.source import Source
from mirepoix.ledger import finish, limits, operate, reap, results, take, workers
from mirepoix.ledger.tx import Tx
from mirepoix.protocol.delivered import as_message
from mirepoix.records import AttemptFailure, Completion, IncompatibilityKind, Taken, Worker
from mirepoix.states import AttemptOutcome

WATCHERS: list[Callable[[Any, tuple[Any, ...], dict[str, Any]], None]] = []
"""Functions that are called with each task and its arguments just before it runs. ``pytest --crashpoints`` adds one, to
explore these tasks."""

NAME = "run_tasks"
"""The worker's name in the ledger."""

TTL_S = 3600.0
"""How long its leases are valid. It sends no heartbeat."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A task that was run, and the exception that ended its attempt, or None."""

    id: str
    name: str
    error: BaseException | None = None


@contextmanager
def working(installation: Installation, source: Source) -> Iterator[Callable[[bool], Ran | None]]:
    """A function that takes the next task, runs it and returns it. It returns None when nothing waits any more.

    With the argument True it also runs what is due later. It uses *source*, the caller's way to the ledger.
    """
    own = installation.source
    worker = Worker(f"{NAME}-{uuid.uuid4().hex}", NAME, "localhost", os.getpid(), "inline", 1, ())
    with source.transaction() as tx:
        workers.register(tx, worker, TTL_S)
    installation.source = source
    try:
        yield lambda run_now: _next(installation, worker.id, run_now)
    finally:
        installation.source = own
        with source.transaction() as tx:
            finish.give_back(tx, worker.id, None, "its test ended")
            workers.stop(tx, worker.id)


def _next(installation: Installation, worker_id: str, run_now: bool) -> Ran | None:
    with installation.source.transaction() as tx:
        take.release_due(tx)
        if run_now:
            operate.run_now(tx, [row.id for row in tx.query(_LATER)])
        queues = [row.queue for row in tx.query(_QUEUES)]
        taken = take.take(tx, worker_id, queues, 1) or _take_limited(tx, worker_id, queues)
    if not taken:
        return None
    return Ran(taken[0].lease.task_id, taken[0].name, _run(installation, taken[0]))


def _take_limited(tx: Tx, worker_id: str, queues: list[str]) -> list[Taken]:
    """Take a task with a limit. No limit holds here: one task runs at once, and no test waits for a rate."""
    for queue in queues:
        for key in limits.waiting_keys(tx, queue, "", 1):
            return take.take_limited(tx, worker_id, [(queue, key, 1)])
    return []


_LATER = "SELECT id FROM mirepoix_task WHERE state = 'pending' AND due_at IS NOT NULL"
_QUEUES = "SELECT DISTINCT queue FROM mirepoix_task WHERE state = 'pending' AND due_at IS NULL ORDER BY queue"


def _run(installation: Installation, taken: Taken) -> BaseException | None:
    app = installation.app
    raw = as_message(taken, installation.app, installation.catalog.current_name)
    try:
        task = app.tasks[installation.catalog.current_name(taken.name)]
    except NotRegistered as error:
        reason = f"no task named {error} is registered in this worker"
        return _park(installation, taken, AttemptFailure(reason), error, IncompatibilityKind.TASK)
    try:
        args, kwargs, embed = _message(app, raw).decode()
    except Exception as error:  # noqa: BLE001 (a sender may send anything)
        return _park(installation, taken, AttemptFailure(f"the body cannot be decoded: {error}"), error)
    properties = raw["properties"]
    request = {
        **raw["headers"],
        "reply_to": properties.get("reply_to"),
        "correlation_id": properties.get("correlation_id"),
        "delivery_info": properties["delivery_info"],
        "hostname": NAME,
        "is_eager": False,
        "args": args,
        "kwargs": kwargs,
        **(embed or {}),
    }
    for watch in tuple(WATCHERS):
        watch(task, tuple(args), dict(kwargs))
    traced = trace_task(task, taken.lease.task_id, args, kwargs, request, app=app, hostname=NAME)
    if getattr(traced[1], "state", None) == states.REJECTED:
        _rejected(installation, taken, traced[1].retval)
    elif isinstance(traced[3], Reported) and not traced[3].is_recorded:
        _record(installation, taken, traced, request)
    return _error_of(traced)


def _error_of(traced: Any) -> BaseException | None:
    """The exception that the task raised. For a retry, its cause."""
    error: Any = getattr(traced[1], "retval", None)
    if error is None and isinstance(traced[0], ExceptionInfo):
        error = traced[0].exception
    cause: Any = getattr(error, "exc", None)
    error = cause or error
    return error if isinstance(error, BaseException) else None


def _message(app: Any, raw: dict[str, Any]) -> Message:
    body = raw["body"]
    return Message(
        body=base64.b64decode(body) if raw["properties"]["body_encoding"] == "base64" else body.encode(),
        content_type=raw["content-type"],
        content_encoding=raw["content-encoding"],
        headers=raw["headers"],
        accept=prepare_accept_content(app.conf.accept_content),
    )


def _record(installation: Installation, taken: Taken, traced: Any, request: dict[str, Any]) -> None:
    """Record a success with nothing to send, as a worker's parent would."""
    report = traced[3]
    done = Completion(taken.lease, traced[2], pid=os.getpid())
    parts = [replace(part, origin=Context(request)) for part in report.parts]

    def write(endings: chords.Endings | None) -> None:
        with installation.source.transaction() as tx:
            if finish.succeed(tx, taken.lease.worker_id, [done]):
                results.store(tx, list(report.results), is_outcome=True)
                chords.return_parts(installation, tx, parts, endings)

    chords.ending_apart(installation, write)


def _rejected(installation: Installation, taken: Taken, error: Any) -> None:
    if not error.requeue:
        outcome.fail(installation, Attempt(taken.lease, taken.name), AttemptFailure(f"Reject: {error}", "Reject"))
        return
    failure = AttemptFailure(f"rejected back to its queue: {error}")
    with installation.source.transaction() as tx:
        lost = reap.lose(
            tx,
            taken.lease,
            failure,
            installation.settings,
            is_blamed=False,
            outcome=AttemptOutcome.REJECTED,
            delay_s=1.0,
        )
        errbacks.send_if_quarantined(installation, tx, lost, failure.reason)


def _park(
    installation: Installation,
    taken: Taken,
    failure: AttemptFailure,
    error: Exception,
    lacking: IncompatibilityKind | None = None,
) -> Exception:
    outcome.park(installation, taken.lease, taken.name, failure, error, lacking)
    return error
