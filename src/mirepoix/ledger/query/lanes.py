"""Find the lanes of the ready tasks: all tasks of one queue with one priority. The index orders each by ``seq``."""

from __future__ import annotations

from dataclasses import dataclass

from mirepoix.ledger.tx import Tx

MOST = 40
"""With more lanes than this, reading all ready tasks takes about as long as reading the newest of each lane."""

_ABOVE_EVERY_PRIORITY = 32_768


@dataclass(frozen=True, slots=True)
class Lane:
    """The ready tasks of one queue with one priority."""

    queue: str
    priority: int


def lanes(tx: Tx, queue: str | None = None) -> list[Lane] | None:
    """Return the lanes that have tasks, or only those of *queue*. None: there are more than `MOST`.

    The cost grows with the lanes, and not with the tasks.
    """
    found: list[Lane] = []
    after = Lane(queue or "", _ABOVE_EVERY_PRIORITY)
    while True:
        rows = [
            Lane(row.queue, row.priority) for row in tx.fetch("next_lane", queue=after.queue, priority=after.priority)
        ]
        rows.sort(key=lambda lane: lane.queue != after.queue)
        if not rows or (queue is not None and rows[0].queue != queue):
            return found
        if len(found) == MOST:
            return None
        after = rows[0]
        found.append(after)
