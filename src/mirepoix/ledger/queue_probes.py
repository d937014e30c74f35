"""Record the probes of queues: tasks that go the way of every task, and do nothing.

A queue has one probe at a time. The next one is sent only when the last one has run or ended otherwise, so probes never
pile up in a queue that nobody takes from.
"""

from __future__ import annotations

from dataclasses import dataclass

from mirepoix.ledger.query.values import seconds
from mirepoix.ledger.tx import Tx


@dataclass(frozen=True, slots=True)
class QueueProbe:
    """The latest probe of one queue."""

    queue: str
    asked_ago_s: float
    is_pending: bool
    took_s: float | None
    """How long the latest probe that ran took, from its sending to its end; None if none has run."""


def ask(tx: Tx, queue: str, task_id: str, every_s: float) -> bool:
    """Return whether the queue is to get *task_id* as its new probe. The same transaction sends it."""
    asked = {"queue": queue, "task_id": task_id}
    return bool(tx.run("ask_probe", every_s=every_s, **asked) or tx.run("add_probe", **asked))


def end(tx: Tx, queue: str, task_id: str) -> None:
    """Record that the probe has run."""
    tx.run("end_probe", queue=queue, task_id=task_id)


def latest(tx: Tx) -> list[QueueProbe]:
    """Return the latest probe of each queue, by name."""
    return [
        QueueProbe(row.queue, seconds(row.asked_ago_s) or 0.0, bool(row.is_pending), seconds(row.took_s))
        for row in tx.fetch("queue_probes")
    ]
