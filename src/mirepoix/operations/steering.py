"""Pause and resume queues, task names, limits, workers and releases, and say in words what is paused.

The command line, `mirepoix.control`, the admin and the dashboard use these functions and no other.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from mirepoix.ledger import holds, limits
from mirepoix.ledger.holds import Hold, Kind
from mirepoix.ledger.query import health
from mirepoix.ledger.query.health import WorkerSeen
from mirepoix.ledger.query.limits import ready_tasks
from mirepoix.ledger.query.releases import RELEASE, releases
from mirepoix.ledger.tx import Connection, Tx
from mirepoix.operations.batches import deciding
from mirepoix.operations.format import duration, one_line, when

FORGOTTEN_S = 24 * 3600.0
"""A pause that is older and has tasks waiting is a warning: somebody may have forgotten it."""

_EXISTS = {
    Kind.QUEUE: "No live worker consumes queue {!r}, and no task waits in it",
    Kind.TASK: "No task named {!r} waits or runs",
    Kind.LIMIT: "The ledger has no limit for {!r}",
    Kind.WORKER: "No live worker is named {!r}",
    Kind.RELEASE: "No worker in the ledger runs release {!r}",
}


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something that is paused, and how many tasks wait because of it. *tasks* is None if that is not counted."""

    hold: Hold
    tasks: int | None

    @property
    def is_forgotten(self) -> bool:
        """Whether it has been paused for so long that somebody may have forgotten it."""
        return self.hold.paused_s > FORGOTTEN_S and bool(self.tasks)


def pause(connection: Connection, kind: Kind, value: str, by: str, note: str) -> bool:
    """Pause something. False: it is paused already. Workers obey within a second; what runs goes on."""
    value = checked(value)
    with deciding(connection) as tx:
        return holds.pause(tx, kind, value, one_line(by), one_line(note))


def resume(
    connection: Connection,
    kind: Kind,
    value: str,
    by: str,
    note: str,
    advanced: Callable[[int], None] = lambda _: None,
) -> tuple[bool, int]:
    """Resume something, and release the tasks that it held in batches: ``(whether it was paused, how many)``.

    If that is interrupted, the next call, or any worker, releases the rest.
    """
    value = checked(value)
    with deciding(connection) as tx:
        was_paused = holds.resume(tx, kind, value, one_line(by), one_line(note))
    released = holds.release(connection, holds.name_of(kind, value), advanced) if kind is Kind.TASK else 0
    return was_paused, released


def checked(value: str) -> str:
    """Return the name of what is to be paused. Raises ValueError for one that no row can have."""
    if not value or len(value) > holds.LONGEST_VALUE or not value.isprintable():
        raise ValueError(f"{one_line(value)!r} is no name: a name has 1 to {holds.LONGEST_VALUE} printable characters.")
    return value


def unknown(tx: Tx, kind: Kind, value: str, also_known: Iterable[str] = ()) -> str | None:
    """Return a sentence if nothing has that name, with the names that are spelled like it. *also_known* are others."""
    known = {*also_known, *(hold.value for hold in holds.read(tx) if hold.kind is kind)}
    if value not in known:
        known |= _known(tx, kind)
    if value in known or (kind is Kind.LIMIT and limits.name_of(value) in known):  # a key may be new
        return None
    near = difflib.get_close_matches(value, sorted(known), n=3)
    like = f" Names that are spelled like it: {', '.join(repr(one_line(name)) for name in near)}." if near else ""
    return f"{_EXISTS[kind].format(one_line(value))}.{like}"


def _known(tx: Tx, kind: Kind) -> set[str]:
    match kind:
        case Kind.QUEUE:
            return {load.queue for load in health.queues(tx, health.HOUR_S, health.workers(tx))}
        case Kind.TASK:
            return {row.name for row in tx.fetch("known_names")}
        case Kind.LIMIT:
            return set(limits.read(tx))
        case Kind.WORKER:
            return {worker.name for worker in health.workers(tx)}
        case _:
            return {release.name for release in releases(tx)}


def busy(tx: Tx, kind: Kind, value: str) -> tuple[int, int]:
    """Return how many tasks of it run, and how many workers have that have not begun."""
    if kind in (Kind.QUEUE, Kind.TASK, Kind.LIMIT):
        return holds.busy(tx, kind, value)
    stopped = [worker for worker in health.workers(tx) if worker.is_alive and stops(worker, kind, value)]
    return sum(worker.running for worker in stopped), sum(worker.held - worker.running for worker in stopped)


def stops(worker: WorkerSeen, kind: Kind, value: str) -> bool:
    """Return whether a hold of that kind stops the worker."""
    return (kind is Kind.WORKER and worker.name == value) or (
        kind is Kind.RELEASE and worker.software.get(RELEASE) == value
    )


def stopped_by(worker: WorkerSeen, found: Iterable[Hold]) -> Hold | None:
    """Return what makes the worker take nothing more, or None."""
    return next((hold for hold in found if stops(worker, hold.kind, hold.value)), None)


def waiting(tx: Tx, loads: Sequence[health.QueueLoad]) -> list[Waiting]:
    """Return what is paused, with how many tasks wait because of it."""
    found = holds.read(tx)
    held = holds.held(tx) if any(hold.kind is Kind.TASK for hold in found) else []
    return [Waiting(hold, _tasks(tx, hold, loads, held)) for hold in found]


def _tasks(tx: Tx, hold: Hold, loads: Sequence[health.QueueLoad], held: Sequence[holds.HeldTasks]) -> int | None:
    if hold.kind is Kind.QUEUE:
        return sum(load.waiting for load in loads if load.queue == hold.value)
    if hold.kind is Kind.TASK:
        return sum(tasks.tasks for tasks in held if tasks.held_by == hold.name)
    if hold.kind is Kind.LIMIT:
        return ready_tasks(tx, [load.queue for load in loads], hold.value)
    return None


def what(kind: str, value: str) -> str:
    """Write what is paused: ``queue 'mail'``."""
    return f"{kind} {one_line(value)!r}"


def without_value(hold: Hold) -> Hold:
    """Return the pause without the value of a limit's key, which is made of arguments."""
    return replace(hold, value=key_without_value(hold.value)) if hold.kind is Kind.LIMIT else hold


def key_without_value(key: str) -> str:
    """Return the key of a limit, or words that end with it, with ``KEY`` in place of its value."""
    return f"{limits.name_of(key)}:KEY" if ":" in key else key


def since(hold: Hold) -> str:
    """Write by whom it was paused, since when, and why: ``by ann since 2026-03-29 02:30:00Z (2h): the bank``."""
    note = f": {one_line(hold.note)}" if hold.note else ""
    return f"by {one_line(hold.paused_by)} since {when(hold.paused_at)} ({duration(hold.paused_s)}){note}"


def sentence(found: Waiting) -> str:
    """Write one line about something that is paused."""
    hold = found.hold
    word = "takes nothing more" if hold.kind in (Kind.WORKER, Kind.RELEASE) else "is paused"
    wait = "" if not found.tasks else f"; {found.tasks:,} {'task waits' if found.tasks == 1 else 'tasks wait'}"
    return f"{what(hold.kind, hold.value)} {word}, {since(hold)}{wait}"


def command(hold: Hold) -> str:
    """Return the arguments of the command that resumes it."""
    return f"resume {hold.kind} {one_line(hold.value)}"
