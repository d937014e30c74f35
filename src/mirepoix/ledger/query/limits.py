"""Read what a waiting task's limit says: who has the slots, and when the rate allows the next task."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mirepoix.ledger import limits
from mirepoix.ledger.limits import Limit, Room
from mirepoix.ledger.tx import Tx

HOLDERS_SHOWN = 5
"""The most tasks that are shown of those that have a slot."""

AHEAD_MOST = 10_000
"""The most tasks of the same key that are counted before a task."""

_LAST = "\U0010ffff"
"""A letter behind every other."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A task that has a slot, and the worker that holds it."""

    task_id: str
    worker_id: str | None


@dataclass(frozen=True, slots=True)
class AtLimit:
    """A task with a limit. *limit* is None if the ledger has no such limit, so that the task has none."""

    key: str
    limit: Limit | None
    in_use: int
    holders: tuple[Holder, ...]
    rate: Room
    """What the rate of the limit allows now."""
    ahead: int
    """How many tasks of the same key and queue are taken before it."""

    @property
    def name(self) -> str:
        """The name of the limit."""
        return limits.name_of(self.key)

    @property
    def value(self) -> str:
        """The value for which the limit counts; empty if it counts all tasks together."""
        return self.key.partition(":")[2]


def at_limit(tx: Tx, task_id: str) -> AtLimit | None:
    """Return what the task's limit says now; None if the task has no limit."""
    rows = tx.fetch("limit_of_task", task_id=task_id)
    if not rows:
        return None
    (row,) = rows
    key = row.limit_key
    limit = limits.read(tx).get(limits.name_of(key))
    holders = tx.fetch("holders_of_key", key=key, most=HOLDERS_SHOWN)
    (ahead,) = tx.fetch("ahead_of_key", queue=row.queue, key=key, priority=row.priority, seq=row.seq, cap=AHEAD_MOST)
    rate = Room(1)
    if limit is not None and limit.bounds.rate is not None and limit.bounds.period_s is not None:
        rate = limits.rate_room(row.starts, limit.bounds.rate, limit.bounds.period_s, limits.now_s(tx))
    return AtLimit(
        key,
        limit,
        limits.held(tx, [key]).get(key, 0),
        tuple(Holder(holder.id, holder.worker_id) for holder in holders),
        rate,
        int(ahead.tasks),
    )


def waiting_names(tx: Tx, queues: Iterable[str]) -> set[str]:
    """Return the names of the limits that have ready tasks in these queues. It reads one task of each name."""
    found: set[str] = set()
    for queue in queues:
        after = ""
        while keys := limits.waiting_keys(tx, queue, after, 1):
            name = limits.name_of(keys[0])
            found.add(name)
            after = keys[0] if keys[0] == name else f"{name}:{_LAST}"
    return found
