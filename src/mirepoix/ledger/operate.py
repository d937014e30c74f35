"""The decisions of people about tasks: cancel, requeue, run now, discard, purge, prune."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from mirepoix.ledger import keys, results, totals
from mirepoix.ledger.tx import Tx


def cancel(tx: Tx, task_ids: Iterable[str], reason: str = "cancelled by an operator") -> list[str]:
    """End waiting or parked tasks, which then never start. Return the ids of the tasks that were ended.

    It does not touch a task that a worker holds. Use `revoke` and Celery's remote control for that.
    """
    return _each(tx, "cancel", task_ids, reason=reason)


def revoke(tx: Tx, task_ids: Iterable[str]) -> list[str]:
    """Cancel the waiting tasks, and mark the others as revoked, for the workers that get the revocation by id.

    The mark is for the task's generation. So its retries are revoked too, but not the task that is requeued or sent
    again. Returns the ids that were cancelled.
    """
    ids = list(task_ids)
    cancelled = cancel(tx, ids, "revoked")
    _each(tx, "note_revoked", [task_id for task_id in ids if task_id not in cancelled])
    return cancelled


def requeue(tx: Tx, task_ids: Iterable[str], reason: str = "requeued by an operator") -> list[str]:
    """Run failed, quarantined, parked, cancelled or expired tasks again, at once and with all their retries.

    Their stored results are deleted, so that callers see waiting tasks. A chord that failed because of such a task
    stays failed.
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


def move(tx: Tx, task_ids: Iterable[str], queue: str) -> list[str]:
    """Move waiting tasks to another queue. A retry of the task goes where its code sends it."""
    changed = _each(tx, "move", task_ids, queue=queue)
    if changed:
        tx.fetch("wake")
    return changed


def set_priority(tx: Tx, task_ids: Iterable[str], priority: int) -> list[str]:
    """Give waiting tasks another priority."""
    return _each(tx, "set_priority", task_ids, priority=priority)


def postpone(tx: Tx, task_ids: Iterable[str], delay_s: float) -> list[str]:
    """Let waiting tasks be due in *delay_s* seconds by the ledger's clock, unless they are due later than that."""
    return _each(tx, "postpone", task_ids, delay_s=delay_s)


def seconds_until(tx: Tx, moment: datetime) -> float:
    """Return in how many seconds that moment comes, by the ledger's clock."""
    return moment.timestamp() - float(tx.fetch("now")[0].now_s)


def discard(tx: Tx, task_ids: Iterable[str], reason: str = "discarded by an operator") -> list[str]:
    """Decide that failed, quarantined or parked tasks need not run. Their history stays until it is pruned."""
    return _each(tx, "discard", task_ids, reason=reason)


def note(tx: Tx, task_ids: Iterable[str], verb: str, by: str, reason: str) -> None:
    """Record who decided what about tasks, and why. The record is pruned with the task."""
    for task_id in task_ids:
        tx.run("note_decision", task_id=task_id, verb=verb, decided_by=by, reason=reason)


def purge(tx: Tx, queue: str) -> list[str]:
    """Cancel every waiting task of a queue; return the ids. The rows stay until they are pruned."""
    return [row.id for row in tx.fetch("purge", queue=queue)]


def prune(tx: Tx, older_than_s: float, batch: int = 5_000, keys_kept_s: float | None = 0.0) -> int:
    """Delete up to *batch* finished tasks that are older, with their attempts; return how many.

    The numbers of these attempts are added to the totals. Their keys of `submit_once` can be used again *keys_kept_s*
    later, or never if that is None.
    """
    pruned = [row.id for row in tx.fetch("prunable", older_than_s=older_than_s, batch=batch)]
    if pruned:
        totals.fold(tx, pruned)
        keys.expire(tx, pruned, keys_kept_s)
        tx.run("prune", task_ids=json.dumps(pruned))
    if len(pruned) < batch:
        tx.fetch("prune_workers", older_than_s=older_than_s)
    return len(pruned)


@dataclass(frozen=True, slots=True)
class Size:
    """The size of the ledger on disk, its finished tasks, and how many of them finished within a day."""

    bytes: int
    finished: int
    finished_in_a_day: int


def prunable(tx: Tx, older_than_s: float) -> int:
    """Return how many tasks `prune` would delete."""
    return int(tx.fetch("count_prunable", older_than_s=older_than_s)[0].tasks)


def size(tx: Tx) -> Size:
    """Return the size of the ledger. It counts every finished task, so do not call it every few seconds."""
    (kept,) = tx.fetch("tasks_kept")
    return Size(int(tx.fetch("bytes")[0].bytes), int(kept.finished), int(kept.finished_in_a_day))


def _each(tx: Tx, statement: str, task_ids: Iterable[str], **params: str | float) -> list[str]:
    return [task_id for task_id in task_ids if tx.fetch(statement, task_id=task_id, **params)]
