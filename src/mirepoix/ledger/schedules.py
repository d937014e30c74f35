"""Schedules and the decisions about their fire times. The caller passes the transaction and the ledger's time.

A worker that decides about fire times first moves ``fired_until`` forward, guarded by its old value and the revision.
That locks the schedule's row until the commit, so decisions about one schedule never run at the same time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mirepoix.ledger.query.values import bound_moment, known_moment, moment
from mirepoix.ledger.tx import Tx
from mirepoix.sql.columns import Row

AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A schedule as its row has it. ``definition`` is JSON."""

    name: str
    owner: str
    app: str
    task: str
    definition: str
    revision: int
    created_at: datetime
    changed_at: datetime
    changed_by: str
    fired_until: datetime
    next_fire_at: datetime | None
    next_due_at: datetime | None
    failures: int
    paused_at: datetime | None
    paused_by: str | None
    paused_reason: str | None
    removed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about one fire time: ``sent``, ``buffered``, ``skipped`` or ``missed``, and why."""

    fire_at: datetime
    due_at: datetime
    state: str
    reason: str | None = None
    task_id: str | None = None
    cause: str = "schedule"


@dataclass(frozen=True, slots=True)
class OpenFire:
    """A fire time with a run that waits or runs, or that waits for an earlier run."""

    fire_at: datetime
    task_id: str | None
    task_state: str


@dataclass(frozen=True, slots=True)
class EndedFire:
    """A fire time with a run that has ended; ``task_state`` is None if the task was deleted."""

    name: str
    fire_at: datetime
    task_state: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A fire time that waits for the end of an earlier run of its schedule."""

    name: str
    fire_at: datetime
    cause: str


@dataclass(frozen=True, slots=True)
class FireRow:
    """The decision about a fire time, and the state of its task now."""

    fire_at: datetime
    due_at: datetime
    state: str
    reason: str | None
    cause: str
    revision: int
    task_id: str | None
    decided_at: datetime
    ended_at: datetime | None
    task_state: str | None
    task_started_at: datetime | None


@dataclass(frozen=True, slots=True)
class LastFire:
    """The latest fire time of a schedule."""

    fire_at: datetime
    state: str
    reason: str | None
    task_id: str | None


@dataclass(frozen=True, slots=True)
class Next:
    """The next fire time of a schedule, and when it is due."""

    fire_at: datetime | None
    due_at: datetime | None


def clock(tx: Tx) -> datetime:
    """Return the ledger's time, cut to milliseconds."""
    ms = int(float(tx.fetch("now")[0].now_s) * 1000)
    return datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)


# ---- schedules


def find(tx: Tx, name: str) -> ScheduleRow | None:
    """Return the schedule, removed or not; None if there was never one of that name."""
    return next(iter(find_all(tx, [name])), None)


def find_all(tx: Tx, names: Sequence[str]) -> list[ScheduleRow]:
    """Return those of the schedules that there ever were, removed or not, by name."""
    found = [_schedule(row) for row in tx.fetch("schedules_named", names=json.dumps([*names]))]
    return sorted(found, key=lambda row: row.name)


def all_of(tx: Tx) -> list[ScheduleRow]:
    """Return the schedules that were not removed, by name."""
    return [_schedule(row) for row in tx.fetch("schedules")]


def next_due(tx: Tx) -> list[tuple[str, datetime]]:
    """Return the schedules that are due next, with the moments, the earliest first."""
    return [(row.id, known_moment(row.next_due_at)) for row in tx.fetch("next_schedules", batch=AT_ONCE)]


def add(
    tx: Tx, name: str, owner: str, app: str, task: str, definition: str, by: str, now: datetime, following: Next
) -> bool:
    """Record a schedule. Its fire times begin after *now*. Return False if there is one of that name."""
    given = {"name": name, "owner": owner, "app": app, "task": task, "definition": definition, "by": by}
    return bool(tx.run("add_schedule", **given, **_bound(tx, now=now, **_following(following))))


def redefine(
    tx: Tx,
    row: ScheduleRow,
    owner: str,
    app: str,
    task: str,
    definition: str,
    by: str,
    now: datetime,
    until: datetime,
    following: Next,
) -> bool:
    """Give the schedule of *row* another definition, for fire times after *until*.

    Return False if it was changed, or fired, since *row* was read.
    """
    given = {"name": row.name, "owner": owner, "app": app, "task": task, "definition": definition, "by": by}
    moments = _bound(tx, now=now, until=until, was_until=row.fired_until, **_following(following))
    return bool(tx.run("redefine_schedule", revision=row.revision, **given, **moments))


def advance(tx: Tx, row: ScheduleRow, until: datetime, following: Next) -> bool:
    """Take the fire times up to *until*, and lock the schedule. False if another has taken them, or changed it."""
    moments = _bound(tx, until=until, was_until=row.fired_until, **_following(following))
    return bool(tx.run("advance_schedule", name=row.name, revision=row.revision, **moments))


def lock(tx: Tx, name: str) -> None:
    """Lock a schedule until the end of the transaction."""
    tx.run("lock_schedule", name=name)


def pause(tx: Tx, name: str, by: str, reason: str | None, now: datetime) -> bool:
    """Pause a schedule. Return False if it is paused or does not exist."""
    return bool(tx.run("pause_schedule", name=name, by=by, reason=reason, **_bound(tx, now=now)))


def resume(tx: Tx, name: str) -> bool:
    """Let a paused schedule go on. Return False if it is not paused."""
    return bool(tx.run("resume_schedule", name=name))


def remove(tx: Tx, name: str, by: str, now: datetime) -> bool:
    """Remove a schedule; the decisions about its fire times stay. Return False if it does not exist."""
    return bool(tx.run("remove_schedule", name=name, by=by, **_bound(tx, now=now)))


def count_failures(tx: Tx, name: str, failures: int) -> None:
    """Record how many runs in a row have failed."""
    tx.run("count_failed_fires", name=name, failures=failures)


# ---- fire times


def decide(tx: Tx, row: ScheduleRow, decision: Decision, now: datetime) -> bool:
    """Record a decision. Return False if there is one about that fire time."""
    given = {"state": decision.state, "reason": decision.reason, "cause": decision.cause, "task_id": decision.task_id}
    moments = _bound(tx, fire_at=decision.fire_at, due_at=decision.due_at, now=now)
    return bool(tx.run("add_fire", name=row.name, revision=row.revision, **given, **moments))


def change(tx: Tx, name: str, was: str, decision: Decision, now: datetime) -> bool:
    """Replace a decision, if its state is still *was*."""
    given = {"state": decision.state, "reason": decision.reason, "cause": decision.cause, "task_id": decision.task_id}
    moments = _bound(tx, fire_at=decision.fire_at, now=now)
    return bool(tx.run("change_fire", name=name, was=was, **given, **moments))


def end(tx: Tx, fire: EndedFire, state: str, reason: str | None, now: datetime) -> bool:
    """Record how the run of a fire time has ended. Return False if that is recorded."""
    moments = _bound(tx, fire_at=fire.fire_at, now=now)
    return bool(tx.run("end_fire", name=fire.name, state=state, reason=reason, **moments))


def decided(tx: Tx, name: str, fire_at: datetime) -> str | None:
    """Return the state of a fire time, or None if nothing was decided about it."""
    rows = tx.fetch("fire", name=name, **_bound(tx, fire_at=fire_at))
    return rows[0].state if rows else None


def open_runs(tx: Tx, name: str) -> list[OpenFire]:
    """Return the runs of a schedule that wait or run, the oldest first."""
    return [
        OpenFire(known_moment(row.fire_at), row.task_id, row.task_state) for row in tx.fetch("open_fires", name=name)
    ]


def buffered_of(tx: Tx, name: str) -> list[Waiting]:
    """Return the fire times of a schedule that wait for an earlier run, the oldest first."""
    return [Waiting(name, known_moment(row.fire_at), row.cause) for row in tx.fetch("buffered_of_schedule", name=name)]


def buffered(tx: Tx) -> list[Waiting]:
    """Return the fire times that wait for an earlier run, of schedules that are not paused."""
    return [Waiting(row.schedule_id, known_moment(row.fire_at), row.cause) for row in tx.fetch("buffered_fires")]


def ended(tx: Tx) -> list[EndedFire]:
    """Return the runs that have ended and are not recorded as ended, by schedule and time."""
    return [
        EndedFire(row.schedule_id, known_moment(row.fire_at), row.task_state, row.task_reason)
        for row in tx.fetch("ended_fires", batch=AT_ONCE)
    ]


def latest(tx: Tx, name: str, batch: int = AT_ONCE) -> list[FireRow]:
    """Return the latest decisions about a schedule, the newest first."""
    return [
        FireRow(
            known_moment(row.fire_at),
            known_moment(row.due_at),
            row.state,
            row.reason,
            row.cause,
            row.revision,
            row.task_id,
            known_moment(row.decided_at),
            moment(row.ended_at),
            row.task_state,
            moment(row.task_started_at),
        )
        for row in tx.fetch("fires_of_schedule", name=name, batch=batch)
    ]


def last_of_each(tx: Tx) -> dict[str, LastFire]:
    """Return the latest fire time of each schedule, by name."""
    return {
        row.schedule_id: LastFire(known_moment(row.fire_at), row.state, row.reason, row.task_id)
        for row in tx.fetch("last_fires")
    }


def counts(tx: Tx, seconds: float) -> dict[str, dict[str, int]]:
    """Return for each schedule how many fire times of the last *seconds* have which state."""
    found: dict[str, dict[str, int]] = {}
    for row in tx.fetch("fires_lately", seconds=seconds):
        found.setdefault(row.id, {})[row.state] = row.fires
    return found


def prune(tx: Tx, older_than_s: float) -> int:
    """Delete decisions about fire times that are older, unless their runs are not over. Return how many."""
    return tx.run("prune_fires", older_than_s=older_than_s)


def _following(following: Next) -> dict[str, datetime | None]:
    return {"next_fire_at": following.fire_at, "next_due_at": following.due_at}


def _bound(tx: Tx, **moments: datetime | None) -> dict[str, Any]:
    return {name: None if at is None else bound_moment(at, tx.dialect) for name, at in moments.items()}


def _schedule(row: Row) -> ScheduleRow:
    return ScheduleRow(
        row.id,
        row.owner,
        row.app,
        row.task,
        row.definition,
        row.revision,
        known_moment(row.created_at),
        known_moment(row.changed_at),
        row.changed_by,
        known_moment(row.fired_until),
        moment(row.next_fire_at),
        moment(row.next_due_at),
        row.failures,
        moment(row.paused_at),
        row.paused_by,
        row.paused_reason,
        moment(row.removed_at),
    )
