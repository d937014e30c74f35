"""Read the state of the ledger: its queues, its workers, the tasks that need a decision, and those of dead workers.

Every figure is read through a partial index. Finished tasks are counted for the last hour only, up to `COUNTED_MOST`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from mirepoix.ledger import holds
from mirepoix.ledger.holds import Hold, Kind
from mirepoix.ledger.query.releases import RELEASE
from mirepoix.ledger.query.values import seconds
from mirepoix.ledger.tx import Tx
from mirepoix.sql.columns import Row
from mirepoix.states import State

COUNTED_MOST = 50_000
"""The most finished tasks of the last hour that are counted. For people, more are just "many"."""

HOUR_S = 3600.0
RELAY_POOL = "relay"
"""The pool that a relay in a process of its own registers."""

GRACE_S = 5.0
"""The reaper takes back a dead worker's tasks in about a second. After this time, no reaper is at work."""


@dataclass(frozen=True, slots=True)
class QueueLoad:
    """One queue. ``late`` counts tasks that have been ready for longer than was asked for, ``late_taken`` held ones."""

    queue: str
    waiting: int = 0
    oldest_s: float | None = None
    late: int = 0
    scheduled: int = 0
    taken: int = 0
    oldest_taken_s: float | None = None
    late_taken: int = 0
    running: int = 0
    longest_s: float | None = None
    is_served: bool = False
    """Whether a live worker takes from it. A worker that is paused does not."""
    paused: Hold | None = None
    """Who paused it, since when and why; None if nobody has."""
    held: int = 0
    """How many of its tasks are held because their name is paused. They are not waiting."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The tasks in one state that needs a decision, and the newest of them."""

    state: State
    count: int
    newest_s: float
    newest_id: str
    newest_name: str
    newest_reason: str | None


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker that is alive or died lately. ``is_silent``: its heartbeats stopped, and it is not yet declared dead."""

    id: str
    name: str
    host: str
    pid: int
    pool: str
    concurrency: int
    queues: tuple[str, ...]
    is_alive: bool
    is_silent: bool
    reason: str | None
    up_s: float
    heartbeat_s: float
    ended_s: float | None
    held: int
    running: int
    stuck_s: float | None = None
    """The age of its maintenance at its latest heartbeat, if that was more than half of its lease."""
    software: dict[str, str] = field(default_factory=dict)
    """Its versions of ``mirepoix``, ``celery``, ``kombu`` and ``python``, and the setting ``release``, if set."""


@dataclass(frozen=True, slots=True)
class Stranded:
    """Tasks that a dead worker holds and that no reaper took back."""

    worker_id: str | None
    worker: str | None
    count: int
    oldest_s: float | None


def queues(tx: Tx, late_after_s: float, seen: tuple[WorkerSeen, ...]) -> tuple[QueueLoad, ...]:
    """Return every queue that has unfinished tasks or a live worker, by name."""
    ready = {row.queue: row for row in tx.fetch("load_ready", late_s=late_after_s)}
    due = {row.queue: row for row in tx.fetch("load_due", late_s=late_after_s)}
    held = {row.queue: row for row in tx.fetch("load_held", late_s=late_after_s)}
    found = holds.read(tx)
    paused = {hold.value: hold for hold in found if hold.kind is Kind.QUEUE}
    drained = {(hold.kind, hold.value) for hold in found}
    served = {
        queue
        for worker in seen
        if worker.is_alive
        and not worker.is_silent
        and (Kind.WORKER, worker.name) not in drained
        and (Kind.RELEASE, worker.software.get(RELEASE)) not in drained
        for queue in worker.queues
    }
    waiting: dict[str, int] = {}
    for tasks in holds.held(tx):
        waiting[tasks.queue] = waiting.get(tasks.queue, 0) + tasks.tasks
    return tuple(
        replace(
            _load(name, ready.get(name), due.get(name), held.get(name), is_served=name in served),
            paused=paused.get(name),
            held=waiting.get(name, 0),
        )
        for name in sorted({*ready, *due, *held, *served, *waiting, *paused})
    )


def kept(tx: Tx) -> tuple[Kept, ...]:
    """Return the tasks that need a decision, the most serious state first."""
    counts = {State(row.state): row for row in tx.fetch("kept_counts")}
    found = []
    for state in (State.QUARANTINED, State.PARKED, State.FAILED):
        newest = tx.fetch("kept_newest", state=state.value) if state in counts else []
        if newest:
            row = counts[state]
            found.append(Kept(state, row.tasks, seconds(row.newest_s) or 0.0, **newest[0].as_dict()))
    return tuple(found)


def last_hour(tx: Tx) -> dict[State, int]:
    """Return how many tasks ended in each final state during the last hour, up to `COUNTED_MOST` together."""
    counts = {State.SUCCEEDED: 0, State.FAILED: 0, State.CANCELLED: 0, State.EXPIRED: 0}
    counts |= {State(row.state): row.tasks for row in tx.fetch("finished_since", since_s=HOUR_S, cap=COUNTED_MOST)}
    counts[State.FAILED] = tx.fetch("failed_since", since_s=HOUR_S, cap=COUNTED_MOST)[0].tasks
    return counts


def workers(tx: Tx, dead_within_s: float = HOUR_S) -> tuple[WorkerSeen, ...]:
    """Return the workers that count as alive and those that died lately, by name."""
    return tuple(_worker(row) for row in tx.fetch("seen_workers", dead_within_s=dead_within_s))


def stranded(tx: Tx, grace_s: float = GRACE_S) -> tuple[Stranded, ...]:
    """Return the tasks that dead workers hold and that were not taken back within *grace_s*."""
    return tuple(
        Stranded(row.worker_id, worker=row.worker, count=row.tasks, oldest_s=seconds(row.oldest_s))
        for row in tx.fetch("held_by_gone", grace_s=grace_s)
    )


def held_by_gone(tx: Tx, task_ids: Iterable[str]) -> set[str]:
    """Return those of *task_ids* that are held by a worker which is not alive. Nobody runs them before they return."""
    return {task_id for task_id in task_ids if any(row.is_gone for row in tx.fetch("holder_is_gone", task_id=task_id))}


def _load(name: str, ready: Row | None, due: Row | None, held: Row | None, *, is_served: bool) -> QueueLoad:
    came_due = int(due.came_due) if due else 0
    ages = [seconds(ready.oldest_s) if ready else None, seconds(due.oldest_s) if due and came_due else None]
    return QueueLoad(
        queue=name,
        waiting=(int(ready.waiting) if ready else 0) + came_due,
        oldest_s=max((age for age in ages if age is not None), default=None),
        late=sum(int(row.late) for row in (ready, due) if row),
        scheduled=int(due.scheduled) if due else 0,
        taken=int(held.taken) if held else 0,
        oldest_taken_s=seconds(held.oldest_taken_s) if held else None,
        late_taken=int(held.late_taken) if held else 0,
        running=int(held.running) if held else 0,
        longest_s=seconds(held.longest_s) if held else None,
        is_served=is_served,
    )


def _worker(row: Row) -> WorkerSeen:
    is_alive = row.state == "alive"
    return WorkerSeen(
        id=row.id,
        name=row.name,
        host=row.host,
        pid=row.pid,
        pool=row.pool,
        concurrency=row.concurrency,
        queues=tuple(json.loads(row.queues)),
        is_alive=is_alive,
        is_silent=is_alive and bool(row.is_overdue),
        reason=row.reason,
        up_s=seconds(row.up_s) or 0.0,
        heartbeat_s=seconds(row.heartbeat_s) or 0.0,
        ended_s=seconds(row.ended_s),
        held=row.held,
        running=row.running,
        stuck_s=_stuck_s(row.maintained_s, row.ttl_s),
        software=json.loads(row.software),
    )


def _stuck_s(maintained_s: Any, ttl_s: Any) -> float | None:
    # Both are differences of times from one statement, so setting a clock changes neither.
    age_s = seconds(maintained_s)
    return age_s if age_s is not None and age_s > (seconds(ttl_s) or 0.0) / 2 else None
