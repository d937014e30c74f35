"""Read the tasks that run now."""

from __future__ import annotations

from dataclasses import dataclass

from mirepoix.ledger.query.values import seconds
from mirepoix.ledger.tx import Tx


@dataclass(frozen=True, slots=True)
class Running:
    """A task that has run for *running_s* seconds. The time that its worker held it before is not in it."""

    id: str
    name: str
    queue: str
    worker_id: str | None
    worker: str | None
    running_s: float


def running(tx: Tx, cap: int) -> tuple[Running, ...]:
    """Return the tasks that run now, the longest first, at most *cap*."""
    rows = tx.fetch("running_now", cap=cap)
    return tuple(
        Running(row.id, row.name, row.queue, row.worker_id, row.worker, max(0.0, seconds(row.running_s) or 0.0))
        for row in rows
    )
