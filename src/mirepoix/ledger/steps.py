"""The steps of a task: what each returned, under the task's id, written only by an attempt that holds its lease."""

from __future__ import annotations

from dataclasses import dataclass

from mirepoix.ledger.tx import Tx
from mirepoix.records import Lease


@dataclass(frozen=True, slots=True)
class Found:
    """What the ledger has of a step: its result as JSON, or None for one that was not done."""

    result: str | None


def find(tx: Tx, lease: Lease, name: str) -> Found | None:
    """What an earlier attempt, or this one, kept of the step; None if the lease was lost."""
    rows = tx.fetch("load_step", name=name, task_id=lease.task_id, fence=lease.fence, worker_id=lease.worker_id)
    return Found(rows[0].result) if rows else None


def store(tx: Tx, lease: Lease, name: str, result: str, run_time_s: float) -> Found | None:
    """Keep what the step returned, as JSON; return what is kept now, or None (and nothing is) if the lease was lost.

    What is there already stays: a COMMIT whose answer was lost is tried again, and finds its own work.
    """
    stored = tx.run(
        "store_step",
        name=name,
        result=result,
        run_time_s=round(run_time_s, 6),
        task_id=lease.task_id,
        fence=lease.fence,
        worker_id=lease.worker_id,
    )
    return Found(result) if stored else find(tx, lease, name)
