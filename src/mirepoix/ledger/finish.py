"""Finish an attempt: succeed, retry, fail, park or revoke, only while it holds its lease.

Every function returns whether the ledger took the outcome. False means that the lease was lost: the attempt is a
zombie, nothing was written, and the caller must not send anything for it.
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
    """Record that these attempts succeeded; return the ids that the ledger accepted."""
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
    """Record a success and what it sends, in *tx*: all of it commits, or nothing."""
    if not succeed(tx, completion.lease.worker_id, [completion]):
        return False
    outgoing.add(tx, continuations)
    return True


def fail(tx: Tx, lease: Lease, failure: AttemptFailure, continuations: Sequence[Outgoing] = ()) -> bool:
    """Record a failure without a retry, with its traceback. Errbacks are sent in the same transaction."""
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
    """Replace the message by *envelope*, which the attempt sent under its own id. It waits until it is due."""
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
    """Park a task that this code cannot take, with the reason.

    If other code may take it, *lacking* says what this code lacks. *shape* is the call, for rows without a shape.
    """
    return _end(tx, "park", lease, AttemptOutcome.PARKED, failure, parked_for=lacking, shape=shape)


def revoke(tx: Tx, lease: Lease, failure: AttemptFailure) -> bool:
    """End a task that was revoked while a worker held it."""
    return _end(tx, "revoke", lease, AttemptOutcome.CANCELLED, failure)


def is_revoked(tx: Tx, lease: Lease) -> bool:
    """Return whether a revocation of the task's id, which its worker received, is meant for this attempt.

    It is not if the task was requeued or sent again after the revocation. It returns True for a lost attempt.
    """
    rows = tx.fetch("is_revoked", task_id=lease.task_id, fence=lease.fence)
    return not rows or bool(rows[0].is_revoked)


def expire(tx: Tx, lease: Lease, failure: AttemptFailure) -> bool:
    """End a task that expired between its lease and its start."""
    return _end(tx, "expire_held", lease, AttemptOutcome.EXPIRED, failure)


def give_back(tx: Tx, worker_id: str, leases: Sequence[Lease] | None, reason: str) -> int:
    """Give leases back without blame (all that the worker holds if None); return how many were still held.

    Only attempts with a recorded start leave a row in the history.
    """
    rows = None if leases is None else json.dumps([{"id": lease.task_id, "fence": lease.fence} for lease in leases])
    returned = tx.fetch("give_back", worker_id=worker_id, rows=rows)
    record(tx, [row for row in returned if row.started_at is not None], AttemptOutcome.RETURNED, AttemptFailure(reason))
    if returned:
        tx.fetch("wake")
    return len(returned)


def is_settled(tx: Tx, lease: Lease) -> bool:
    """Return whether the outcome of this attempt was recorded already, so that a second report can be ignored."""
    rows = tx.fetch("settled", task_id=lease.task_id, fence=lease.fence)
    if not rows:
        return False
    (row,) = rows
    if row.outcome is not None:
        return row.outcome not in UNSETTLED
    # An attempt without a row has succeeded, or runs, or was given back before it began (and has no worker).
    return (row.fence, row.worker_id) == (lease.fence, lease.worker_id) and row.state not in ("leased", "running")


def record(
    tx: Tx,
    rows: Sequence[Row],
    outcome: AttemptOutcome,
    failure: AttemptFailure,
    causes: Causes = _NO_CAUSES,
    evidence: Mapping[str, str] = _NO_EVIDENCE,
) -> None:
    """Write the history of attempts that just ended: the *rows* that the statements of `finish` and `reap` return.

    *evidence*, by task ids, replaces the evidence of *failure*.
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
            "name": failure.name,
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
