"""What a person may decide about a task: cancel, requeue, run now, discard, purge, prune."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mirepoix.ledger import keys, results
from mirepoix.ledger.tx import Tx


def cancel(tx: Tx, task_ids: Iterable[str], reason: str = "cancelled by an operator") -> list[str]:
    """End waiting or parked tasks: once committed, they never start. Returns the ids that were.

    A task that a worker holds is not touched: `revoke` it, through Celery's remote control.
    """
    return _each(tx, "cancel", task_ids, reason=reason)


def revoke(tx: Tx, task_ids: Iterable[str]) -> list[str]:
    """Cancel what waits, and note of the rest that it is revoked, for the workers that are told of it by id.

    The note is of the task's generation: its retries are revoked too, and what is requeued or sent again is not.
    Returns the ids that were cancelled.
    """
    ids = list(task_ids)
    cancelled = cancel(tx, ids, "revoked")
    _each(tx, "note_revoked", [task_id for task_id in ids if task_id not in cancelled])
    return cancelled


def requeue(tx: Tx, task_ids: Iterable[str], reason: str = "requeued by an operator") -> list[str]:
    """Run failed, quarantined, parked, cancelled or expired tasks again, at once and with all their retries.

    What was kept of their failure as a result is dropped: to those who ask, they wait again. A chord that failed
    because of one stays failed.
    """
    changed = _each(tx, "requeue", task_ids, reason=reason)
    for task_id in changed:
        results.forget(tx, task_id)
    if changed:
        tx.fetch("wake")
    return changed


def run_now(tx: Tx, task_ids: Iterable[str]) -> list[str]:
    """Let tasks that wait for an eta or for their next retry run now."""
    changed = _each(tx, "run_now", task_ids)
    if changed:
        tx.fetch("wake")
    return changed


def discard(tx: Tx, task_ids: Iterable[str], reason: str = "discarded by an operator") -> list[str]:
    """Decide that failed, quarantined or parked tasks need not run. Their history stays until it is pruned."""
    return _each(tx, "discard", task_ids, reason=reason)


def note(tx: Tx, task_ids: Iterable[str], verb: str, by: str, reason: str) -> None:
    """Keep who decided what about tasks, and why: it goes with the task."""
    for task_id in task_ids:
        tx.run("note_decision", task_id=task_id, verb=verb, decided_by=by, reason=reason)


def purge(tx: Tx, queue: str) -> list[str]:
    """Cancel everything that waits in a queue; return the ids. The rows stay until they are pruned."""
    return [row.id for row in tx.fetch("purge", queue=queue)]


def prune(tx: Tx, older_than_s: float, batch: int = 5_000, keys_kept_s: float | None = 0.0) -> int:
    """Delete up to *batch* finished tasks older than that, with their attempts; return how many.

    The keys that they were submitted under may be used again *keys_kept_s* later; never, if that is None.
    """
    pruned = [row.id for row in tx.fetch("prune", older_than_s=older_than_s, batch=batch)]
    keys.expire(tx, pruned, keys_kept_s)
    if len(pruned) < batch:
        tx.fetch("prune_workers", older_than_s=older_than_s)
    return len(pruned)


@dataclass(frozen=True, slots=True)
class Size:
    """What the ledger takes on disk, how many finished tasks it keeps, and how many of them finished within a day."""

    bytes: int
    finished: int
    finished_in_a_day: int


def prunable(tx: Tx, older_than_s: float) -> int:
    """How many tasks `prune` would delete."""
    return int(tx.fetch("count_prunable", older_than_s=older_than_s)[0].tasks)


def size(tx: Tx) -> Size:
    """How large the ledger is. Every finished task is counted: not for a look every few seconds."""
    (kept,) = tx.fetch("tasks_kept")
    return Size(int(tx.fetch("bytes")[0].bytes), int(kept.finished), int(kept.finished_in_a_day))


def _each(tx: Tx, statement: str, task_ids: Iterable[str], **params: str) -> list[str]:
    return [task_id for task_id in task_ids if tx.fetch(statement, task_id=task_id, **params)]
