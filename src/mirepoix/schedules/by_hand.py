"""What people ask of a schedule: pause, resume, run now, and backfill a range of past fire times.

Who paused, resumed and ran it is recorded with the change, in ``mirepoix_steering``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import takewhile

from mirepoix.connect.source import OwnConnection
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.errors import ConfigurationError
from mirepoix.ledger import holds, outgoing, schedules
from mirepoix.ledger.schedules import Decision, ScheduleRow
from mirepoix.records import Outgoing
from mirepoix.schedules.calendar import times_after
from mirepoix.schedules.decide import MISSED, SENT, SKIPPED, overlapping
from mirepoix.schedules.definition import Definition
from mirepoix.schedules.firing import Firing, Sender, task_id_of
from mirepoix.schedules.plan import Plan

_MS = timedelta(milliseconds=1)

RUN_NOW, BACKFILL = "run now", "backfill"
"""The causes of decisions that people ask for."""

BACKFILL_OVERLAPS = ("buffer_all", "allow")

KIND = "schedule"
"""The kind of what was done to a schedule, among what was done to queues and others."""


@dataclass(frozen=True, slots=True)
class Backfilled:
    """One fire time of a backfill: its state now, and whether the backfill changed it."""

    fire_at: datetime
    state: str
    is_new: bool


def pause(connection: OwnConnection, firing: Firing, name: str, by: str, reason: str | None) -> bool:
    """Pause a schedule: its fire times are skipped. Return False if it is paused. Raises if there is none."""
    required(connection, name)
    with connection.transaction() as tx:
        is_new = schedules.pause(tx, name, by, reason, firing.clock(tx))
        if is_new:
            holds.note_act(tx, "pause", KIND, name, by, reason or "")
    return is_new


def resume(connection: OwnConnection, firing: Firing, name: str, by: str, reason: str = "") -> bool:
    """Let a paused schedule go on. The fire times until now stay skipped. Return False if it is not paused."""
    if required(connection, name).paused_at is None:
        return False
    while firing.fire_one(connection, name):  # they are skipped, so nothing is sent
        pass
    with connection.transaction() as tx:
        was_paused = schedules.resume(tx, name)
        if was_paused:
            holds.note_act(tx, "resume", KIND, name, by, reason)
    return was_paused


def run_now(
    connection: OwnConnection, firing: Firing, name: str, by: str, reason: str = ""
) -> tuple[datetime, str | None]:
    """Send a run at once, whatever the plan says and even if it is paused. Return its fire time and its task's id.

    Raises what ``apply_async`` raises, and ConfigurationError if there is no such schedule.
    """
    row = required(connection, name)
    definition = Definition.from_text(row.definition)
    with connection.reading() as tx:
        at = _between_fire_times(row, definition.plan, firing.clock(tx))
    while True:
        made = _message(firing.sender, row, definition, at)
        asked = f"run now by {by}" + (f": {reason}" if reason else "")
        decision = Decision(at, at, SENT, asked, task_id_of(made), RUN_NOW)
        with connection.transaction() as tx:
            schedules.lock(tx, name)
            is_new = schedules.decide(tx, row, decision, firing.clock(tx))
            if is_new:
                outgoing.add(tx, made)
                holds.note_act(tx, RUN_NOW, KIND, name, by, reason)
            reached(Crashpoint.RUN_SCHEDULE_BEFORE_COMMIT)
        reached(Crashpoint.RUN_SCHEDULE_AFTER_COMMIT)
        if is_new:
            firing.sender.announce(made)
            return at, decision.task_id
        at = _between_fire_times(row, definition.plan, at + _MS)


def past_times(connection: OwnConnection, firing: Firing, name: str, begin: datetime, end: datetime) -> list[datetime]:
    """The fire times of the schedule from *begin* to *end* that have come, also those before its creation.

    Those that no worker has decided about yet are left to the workers.
    """
    row = required(connection, name)
    plan = Definition.from_text(row.definition).plan
    with connection.reading() as tx:
        latest = min(end, firing.clock(tx), row.fired_until)
    return list(takewhile(lambda at: at <= latest, times_after(plan, row.created_at, begin - _MS)))


def backfill(
    connection: OwnConnection,
    firing: Firing,
    name: str,
    times: Sequence[datetime],
    by: str,
    overlap: str = "buffer_all",
) -> Iterator[Backfilled]:
    """Send the runs of *times* that were not sent: no decision is there, or they were missed or skipped.

    With *overlap* ``buffer_all`` they run one after another, with ``allow`` all at once. Each is one transaction, so a
    backfill that was interrupted can be repeated.
    """
    row = required(connection, name)
    definition = Definition.from_text(row.definition)
    plan = replace(definition.plan, overlap=overlap)
    for at in times:
        yield _backfill_one(connection, firing, row, definition, plan, at, by)


def required(connection: OwnConnection, name: str) -> ScheduleRow:
    """Return the schedule. Raises ConfigurationError if there is none."""
    with connection.reading() as tx:
        row = schedules.find(tx, name)
    if row is None or row.removed_at is not None:
        raise ConfigurationError(f"There is no schedule {name!r}. `mirepoix schedules list` names them all.")
    return row


def _backfill_one(
    connection: OwnConnection,
    firing: Firing,
    row: ScheduleRow,
    definition: Definition,
    plan: Plan,
    at: datetime,
    by: str,
) -> Backfilled:
    with connection.reading() as tx:
        was = schedules.decided(tx, row.name, at)
    if was not in (None, MISSED, SKIPPED):
        return Backfilled(at, was, is_new=False)
    made = _message(firing.sender, row, definition, at)
    asked = Decision(at, at, SENT, f"backfilled by {by}", task_id_of(made), BACKFILL)
    with connection.transaction() as tx:
        schedules.lock(tx, row.name)
        was, now = schedules.decided(tx, row.name, at), firing.clock(tx)
        if was not in (None, MISSED, SKIPPED):
            return Backfilled(at, was, is_new=False)
        waiting = [fire.fire_at for fire in schedules.buffered_of(tx, row.name)]
        (decision,) = overlapping(plan, [asked], schedules.open_runs(tx, row.name), waiting)
        if was is None:
            schedules.decide(tx, row, decision, now)
        else:
            schedules.change(tx, row.name, was, decision, now)
        sent = made if decision.state == SENT else []
        outgoing.add(tx, sent)
        reached(Crashpoint.BACKFILL_BEFORE_COMMIT)
    reached(Crashpoint.BACKFILL_AFTER_COMMIT)
    firing.sender.announce(sent)
    return Backfilled(at, decision.state, is_new=True)


def _message(sender: Sender, row: ScheduleRow, definition: Definition, at: datetime) -> list[Outgoing]:
    return sender.promised(sender.make(row.name, definition, at))


def _between_fire_times(row: ScheduleRow, plan: Plan, at: datetime) -> datetime:
    """*at*, or a moment right after it that is no fire time of the plan, whose row would be taken then."""
    while next(times_after(plan, row.created_at, at - _MS), None) == at:
        at += _MS
    return at
