"""Finish an attempt: succeed, retry, fail, park or revoke, only while it holds its lease.

Every function answers whether the ledger took the outcome. False is a lost lease: the attempt is a zombie, nothing
was written, and whatever it wanted to send must not be sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from mirepoix.ledger import enqueue, failures, outgoing
from mirepoix.ledger.failures import Causes
from mirepoix.ledger.rows import batches
from mirepoix.ledger.text import storable
from mirepoix.ledger.tx import Tx
from mirepoix.records import AttemptFailure, Completion, Envelope, IncompatibilityKind, Lease, Outgoing
from mirepoix.sql.columns import Row
from mirepoix.states import UNSETTLED, AttemptOutcome

_NO_CAUSES: Causes = MappingProxyType({})
_NO_EVIDENCE: Mapping[str, str] = MappingProxyType({})


def succeed(tx: Tx, worker_id: str, completions: Sequence[Completion]) -> set[str]:
    """Record that these attempts ran to their end; return the ids that were accepted."""
    rows = [
        {
            "id": c.lease.task_id,
            "fence": c.lease.fence,
            "run_time_s": None if c.run_time_s is None else round(c.run_time_s, 6),
            "peak_memory_kb": c.peak_memory_kb,
            "reason": storable(c.reason),
            "pid": c.pid,
        }
        for c in completions
    ]
    return {row.id for row in tx.fetch("succeed", worker_id=worker_id, rows=json.dumps(rows))}


def succeed_with(tx: Tx, completion: Completion, continuations: Sequence[Outgoing]) -> bool:
    """Record a success together with what it sends: all of it commits with *tx*, or none."""
    if not succeed(tx, completion.lease.worker_id, [completion]):
        return False
    outgoing.add(tx, continuations)
    return True


def fail(tx: Tx, lease: Lease, failure: AttemptFailure, continuations: Sequence[Outgoing] = ()) -> bool:
    """Record a failure that no retry follows, with its traceback; errbacks go out with it."""
    rows = tx.fetch(
        "fail",
        reason=storable(failure.full_reason),
        run_time_s=failure.run_time_s,
        peak_memory_kb=failure.peak_memory_kb,
        pid=failure.pid,
        **_of(lease),
    )
    if not rows:
        return False
    causes = failures.causes(rows, failure)
    record(tx, rows, AttemptOutcome.FAILED, failure, causes)
    outgoing.add(tx, continuations)
    failures.note(tx, rows, causes, failure.release)
    return True


def retry(
    tx: Tx, lease: Lease, envelope: Envelope, failure: AttemptFailure, continuations: Sequence[Outgoing] = ()
) -> bool:
    """Replace the message by *envelope*, which the attempt sent under its own id, and wait until it is due."""
    rows = tx.fetch(
        "retry",
        reason=storable(failure.full_reason),
        rows=json.dumps([enqueue.as_row(*enqueue.timed(tx, [envelope]))]),
        **_of(lease),
    )
    if not rows:
        return False
    causes = failures.causes(rows, failure) if failure.error_type is not None else {}
    record(tx, rows, AttemptOutcome.RETRIED, failure, causes)
    outgoing.add(tx, continuations)
    failures.note(tx, rows, causes, failure.release)
    return True


def park(
    tx: Tx, lease: Lease, failure: AttemptFailure, lacking: IncompatibilityKind | None = None, shape: str | None = None
) -> bool:
    """Keep a task that no code here can take, with the reason.

    If other code may be able to, say what is *lacking* here, and what it calls (*shape*, for a row that does not say).
    """
    return _end(tx, "park", lease, AttemptOutcome.PARKED, failure, parked_for=lacking, shape=shape)


def revoke(tx: Tx, lease: Lease, failure: AttemptFailure) -> bool:
    """End a task that was revoked while a worker held it."""
    return _end(tx, "revoke", lease, AttemptOutcome.CANCELLED, failure)


def is_revoked(tx: Tx, lease: Lease) -> bool:
    """Whether a revocation that its worker has heard of, by the task's id, is meant for this attempt.

    It is not if the task was requeued, or sent again, after the revocation. Also true of an attempt that was lost.
    """
    rows = tx.fetch("is_revoked", task_id=lease.task_id, fence=lease.fence)
    return not rows or bool(rows[0].is_revoked)


def expire(tx: Tx, lease: Lease, failure: AttemptFailure) -> bool:
    """End a task whose expiry passed between its lease and its start."""
    return _end(tx, "expire_held", lease, AttemptOutcome.EXPIRED, failure)


def give_back(tx: Tx, worker_id: str, leases: Sequence[Lease] | None, reason: str) -> int:
    """Hand leases back unblamed (all that the worker holds if None); return how many were still held.

    Only attempts that were seen to start leave a row in the history: the others never were one.
    """
    rows = None if leases is None else json.dumps([{"id": lease.task_id, "fence": lease.fence} for lease in leases])
    returned = tx.fetch("give_back", worker_id=worker_id, rows=rows)
    record(tx, [row for row in returned if row.started_at is not None], AttemptOutcome.RETURNED, AttemptFailure(reason))
    if returned:
        tx.fetch("wake")
    return len(returned)


def is_settled(tx: Tx, lease: Lease) -> bool:
    """Whether this very attempt's outcome was recorded already (and a second report of it is no news)."""
    rows = tx.fetch("settled", task_id=lease.task_id, fence=lease.fence)
    if not rows:
        return False
    (row,) = rows
    if row.outcome is not None:
        return row.outcome not in UNSETTLED
    # Without a row of its own it succeeded, or is under way, or was given back before it began (and has no worker).
    return (row.fence, row.worker_id) == (lease.fence, lease.worker_id) and row.state not in ("leased", "running")


def record(
    tx: Tx,
    rows: Sequence[Row],
    outcome: AttemptOutcome,
    failure: AttemptFailure,
    causes: Causes = _NO_CAUSES,
    evidence: Mapping[str, str] = _NO_EVIDENCE,
) -> None:
    """Write the history of attempts that just ended: *rows* as the statements of `finish` and `reap` return them.

    *evidence* of some, by their ids, stands in place of what *failure* says.
    """
    if not rows:
        return
    attempts = [
        {
            "task_id": row.id,
            "fence": row.fence,
            "generation": row.generation,
            "outcome": outcome,
            "worker_id": row.worker_id,
            "pid": failure.pid,
            "leased_at": _text(row.leased_at),
            "started_at": _text(row.started_at),
            "run_time_s": failure.run_time_s,
            "peak_memory_kb": failure.peak_memory_kb,
            "error_type": storable(failure.error_type),
            "error": storable(_with(failure.reason, evidence.get(row.id, failure.evidence))),
            "traceback": storable(failure.traceback),
            "signal": failure.signal,
            "exit_code": failure.exit_code,
            "failure_group": causes[row.id].id if row.id in causes else None,
        }
        for row in rows
    ]
    for batch in batches(attempts):
        tx.run("record_attempts", rows=batch)


def _end(tx: Tx, statement: str, lease: Lease, outcome: AttemptOutcome, failure: AttemptFailure, **more: Any) -> bool:
    rows = tx.fetch(statement, reason=storable(failure.reason), **_of(lease), **more)
    record(tx, rows, outcome, failure)
    return bool(rows)


def _with(reason: str, evidence: str | None) -> str:
    return reason if evidence is None else f"{reason}: {evidence}"


def _of(lease: Lease) -> dict[str, Any]:
    return {"task_id": lease.task_id, "fence": lease.fence, "worker_id": lease.worker_id}


def _text(moment: Any) -> str | None:
    return None if moment is None else str(moment)
