"""Pause and resume a queue, a task's name, a limit or one of its keys, a worker or a release.

Something is paused if it has a row in ``mirepoix_hold``. Workers read these rows several times a second. A worker
takes nothing from a paused queue, no task with a paused limit or key, and nothing at all if it, or its release, is
paused.

A paused name holds its tasks. When a worker takes such a task, it puts the task back with the last day of 9999 as its
due time. So the task leaves the index of ready rows, as a scheduled task does, and stays ``pending``. After a resume,
the command that resumed the name releases its tasks. If that command is killed, any worker does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.ledger.query.values import known_moment, seconds
from mirepoix.ledger.tx import Connection, Tx
from mirepoix.records import Lease

AHEAD = 1_000
"""How many of a queue's first ready tasks are searched at once for tasks with a paused name."""

RELEASED_TOGETHER = 1_000
"""How many held tasks are released in one transaction."""

LONGEST_VALUE = 255


class Kind(StrEnum):
    """What can be paused."""

    QUEUE = "queue"
    TASK = "task"
    LIMIT = "limit"
    """A limit with all its keys, by its name, or one key as in ``limit_key``: the name, a colon and a value."""
    WORKER = "worker"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Hold:
    """Something that is paused: since when, by whom, and why."""

    kind: Kind
    value: str
    paused_at: datetime
    paused_by: str
    note: str
    paused_s: float

    @property
    def name(self) -> str:
        """What ``held_by`` of a task says that it holds."""
        return name_of(self.kind, self.value)


@dataclass(frozen=True, slots=True)
class HeldTasks:
    """How many tasks of one queue and one name are held, and by what."""

    queue: str
    name: str
    held_by: str | None
    tasks: int


@dataclass(frozen=True, slots=True)
class Steered:
    """Who did what to a queue, a task's name, a worker, a release, a schedule or a limit."""

    decided_at: datetime
    verb: str
    kind: str
    value: str
    decided_by: str
    reason: str


def name_of(kind: Kind, value: str) -> str:
    """Return what ``held_by`` says of a hold."""
    return f"{kind} {value}"


def read(tx: Tx) -> list[Hold]:
    """Return what is paused, the oldest first."""
    return [
        Hold(
            Kind(row.kind),
            row.value,
            known_moment(row.paused_at),
            row.paused_by,
            row.note,
            seconds(row.paused_s) or 0.0,
        )
        for row in tx.fetch("holds")
        if row.kind in {kind.value for kind in Kind}
    ]


def pause(tx: Tx, kind: Kind, value: str, by: str, note: str) -> bool:
    """Pause something, and record who did it. False: it was paused before, and stays paused by whom it was."""
    if not tx.run("add_hold", kind=kind.value, value=value, paused_by=by, note=note):
        return False
    note_act(tx, "pause", kind.value, value, by, note)
    return True


def resume(tx: Tx, kind: Kind, value: str, by: str, note: str) -> bool:
    """Resume something, and record who did it. False: it was not paused. Release its tasks after the commit."""
    if not tx.run("drop_hold", kind=kind.value, value=value):
        return False
    note_act(tx, "resume", kind.value, value, by, note)
    tx.fetch("wake")
    return True


def held(tx: Tx) -> list[HeldTasks]:
    """Return how many tasks are held, by queue and name."""
    return [HeldTasks(row.queue, row.name, row.held_by, int(row.tasks)) for row in tx.fetch("held_tasks")]


def busy(tx: Tx, kind: Kind, value: str) -> tuple[int, int]:
    """Return how many tasks run, and how many are handed to workers: of a queue, a name, a limit or a worker's id."""
    prefix = "" if ":" in value else f"{value}:"
    (row,) = tx.fetch("busy_of", kind=kind.value, value=value, prefix=prefix, length=len(prefix))
    return int(row.running or 0), int(row.taken or 0)


def note_act(tx: Tx, verb: str, kind: str, value: str, by: str, reason: str) -> None:
    """Record who did what to something that can be paused, to a ``schedule`` or to a ``limit``."""
    tx.run("note_steering", verb=verb, kind=kind, value=value, decided_by=by, reason=reason)


def history(tx: Tx, most: int) -> list[Steered]:
    """Return who paused, resumed, ran and changed what, the latest first."""
    return [
        Steered(known_moment(row.decided_at), row.verb, row.kind, row.value, row.decided_by, row.reason)
        for row in tx.fetch("audit_steering", most=most)
    ]


# ---- the tasks of a paused name


def hold_taken(tx: Tx, worker_id: str, name: str, leases: Iterable[Lease]) -> set[str]:
    """Put tasks of a paused name back that the worker has just taken; return their ids. None if it was resumed."""
    rows = json.dumps([{"id": lease.task_id, "fence": lease.fence} for lease in leases])
    held_by = name_of(Kind.TASK, name)
    return {row.id for row in tx.fetch("hold_taken", worker_id=worker_id, name=name, held_by=held_by, rows=rows)}


def hold_ready(tx: Tx, queues: Sequence[str], names: Iterable[str], ahead: int = AHEAD) -> int:
    """Hold the tasks of these names among the first *ahead* ready tasks of each queue; return how many."""
    found = 0
    for name in names:
        for queue in queues:
            params = {"queue": queue, "name": name, "held_by": name_of(Kind.TASK, name), "batch": ahead}
            found += len(tx.fetch("hold_ready", **params))
    return found


def orphaned(tx: Tx) -> list[str]:
    """Return what holds tasks and is not paused any more."""
    return [row.held_by for row in tx.fetch("orphaned_holds")]


def release(
    connection: Connection,
    held_by: str,
    advanced: Callable[[int], None] = lambda _: None,
    most: int | None = None,
) -> int:
    """Release the tasks that it holds, in batches, unless it is paused again; return how many.

    It can be interrupted after each batch. With *most* it stops after so many.
    """
    released = 0
    while most is None or released < most:
        with connection.transaction() as tx:
            found = len(tx.fetch("release_held", held_by=held_by, batch=RELEASED_TOGETHER))
            if found:
                tx.fetch("wake")
                reached(Crashpoint.RELEASE_HELD_BEFORE_COMMIT)
        if not found:
            break
        reached(Crashpoint.RELEASE_HELD_AFTER_COMMIT)
        released += found
        advanced(released)
    return released
