"""The steps of a task and their results. Only an attempt that holds its lease writes them."""

from __future__ import annotations

from dataclasses import dataclass

from mirepoix.ledger.tx import Tx
from mirepoix.records import Lease


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a step as JSON, or None if it was not done."""

    result: str | None


def find(tx: Tx, lease: Lease, name: str) -> Found | None:
    """Return the step as this or an earlier attempt stored it; None if the lease was lost."""
    rows = tx.fetch("load_step", name=name, task_id=lease.task_id, fence=lease.fence, worker_id=lease.worker_id)
    return Found(rows[0].result) if rows else None


def store(tx: Tx, lease: Lease, name: str, result: str, run_time_s: float) -> Found | None:
    """Store the step's result, as JSON; return what is stored now. Store nothing and return None if the lease was lost.

    A result that is already stored stays: the caller tries again if the answer to its COMMIT was lost.
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
