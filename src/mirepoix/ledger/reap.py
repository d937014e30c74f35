"""Take back the tasks of dead processes, and quarantine tasks that keep killing processes."""

from __future__ import annotations

from dataclasses import replace

from mirepoix.config import Settings
from mirepoix.ledger import blame, failures, finish
from mirepoix.ledger.text import storable
from mirepoix.ledger.tx import Tx
from mirepoix.records import AttemptFailure, Lease, LostTask
from mirepoix.sql.columns import Row
from mirepoix.states import AttemptOutcome


def lose(
    tx: Tx,
    lease: Lease,
    failure: AttemptFailure,
    settings: Settings,
    *,
    is_blamed: bool,
    outcome: AttemptOutcome,
    delay_s: float = 0.0,
    suspect_after: int = 0,
) -> LostTask | None:
    """Take back an attempt that was rejected or whose process died. The task waits again, or is quarantined.

    If *is_blamed*, the end counts against ``max_deaths``: the task killed its process. Otherwise it counts against the
    higher ``max_handovers``. A task that was lost *suspect_after* times runs beside no other suspect from then
    on; 0: this loss makes it no suspect. Returns None if the attempt had ended or was lost before.
    """
    of = {"task_id": lease.task_id, "fence": lease.fence, "worker_id": lease.worker_id, "is_blamed": int(is_blamed)}
    bounds = {"max_deaths": settings.max_deaths, "max_handovers": settings.max_handovers}
    reason = storable(failure.reason)
    rows = tx.fetch("quarantine", reason=reason, pid=failure.pid, **of, **bounds)
    state = "quarantined"
    causes = failures.causes(rows, failure)
    if not rows:
        rows = tx.fetch("lose", reason=reason, delay_s=delay_s, suspect_after=suspect_after, **of)
        state = "pending"
    if not rows:
        return None
    finish.record(tx, rows, outcome, failure, causes)
    tx.fetch("wake")
    failures.note(tx, rows, causes, settings.release)
    return LostTask(task_id=lease.task_id, name=rows[0].name, fence=lease.fence, state=state, was_started=is_blamed)


def lose_of_dead_workers(tx: Tx, settings: Settings) -> list[LostTask]:
    """Take back all tasks that dead workers hold. Every worker runs this, and it is idempotent.

    It checks all dead workers, not only those just found dead, because a dying worker may have committed a batch after
    its death was recorded. `mirepoix.ledger.blame` judges which task is blamed.
    """
    held = blame.held_by_dead_workers(tx)
    if not held:
        return []
    failure = AttemptFailure("its worker died")
    judged = blame.judge(held)
    lost = [
        lose(tx, task.lease, _of_culprit(words), settings, is_blamed=True, outcome=AttemptOutcome.LOST, suspect_after=1)
        for task in held
        for is_blamed, words in [judged[task.lease.task_id]]
        if is_blamed
    ]
    evidence = {task_id: task.words for task_id, task in judged.items()}
    reason = f"lost with its worker {settings.max_handovers} times, without evidence that the task caused it"
    quarantined = tx.fetch("quarantine_of_dead_workers", max_handovers=settings.max_handovers, reason=reason)
    pending = tx.fetch("lose_of_dead_workers")
    causes = failures.causes(quarantined, replace(failure, error_type="WorkerLostError"))
    finish.record(tx, [*quarantined, *pending], AttemptOutcome.LOST, failure, causes, evidence)
    if pending:
        tx.fetch("wake")
    failures.note(tx, quarantined, causes, settings.release)
    return [
        *(task for task in lost if task is not None),
        *(_lost(row, "quarantined") for row in quarantined),
        *(_lost(row, "pending") for row in pending),
    ]


def _of_culprit(words: str) -> AttemptFailure:
    return AttemptFailure("its worker died", "WorkerLostError", evidence=words)


def is_expiring(tx: Tx) -> bool:
    """Return whether a waiting task has expired."""
    return tx.fetch("expiring")[0].id is not None


def expire(tx: Tx) -> list[str]:
    """End the waiting tasks that have expired; return their ids."""
    return [row.id for row in tx.fetch("expire")]


def _lost(row: Row, state: str) -> LostTask:
    return LostTask(row.id, name=row.name, fence=row.fence, state=state, was_started=row.started_at is not None)
