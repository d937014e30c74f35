"""Schedules as people see them: when they fire, what became of the last fire time, and where code and ledger differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mirepoix.errors import ConfigurationError
from mirepoix.ledger import schedules
from mirepoix.ledger.schedules import ScheduleRow
from mirepoix.ledger.tx import Tx
from mirepoix.operations.format import duration
from mirepoix.schedules.definition import CODE, Definition
from mirepoix.schedules.plan import Plan

LATELY_S = 86_400.0
"""The time for which missed fire times are counted."""
UNREADABLE = "this code cannot read it"
OVERDUE_S = 60.0
"""A fire time that is overdue for longer is late: no worker fires schedules."""


@dataclass(frozen=True, slots=True)
class ScheduleLine:
    """One schedule."""

    name: str
    task: str
    owner: str
    app: str
    when: str
    timezone: str
    state: str
    """``active``, ``paused`` or ``ended`` (it has no further fire time)."""
    paused_reason: str | None
    next_fire_at: datetime | None
    overdue_s: float
    """For how long its next fire time has been due; 0 if it is not."""
    last_fire_at: datetime | None
    last_state: str | None
    last_reason: str | None
    missed: int
    """How many fire times were missed lately."""
    failures: int
    """How many runs in a row have failed."""
    drift: str | None
    """In what the code of this app and the ledger differ; None if nothing is known to differ."""

    @property
    def is_well(self) -> bool:
        """Whether it fires in time, missed nothing lately, and its last run did not fail."""
        return not self.is_overdue and not self.missed and self.last_state not in ("failed", "missed")

    @property
    def is_overdue(self) -> bool:
        """Whether it has been due for so long that no worker fires it."""
        return self.overdue_s > OVERDUE_S


def lines(
    tx: Tx,
    defined: Mapping[str, Definition] | None = None,
    app: str | None = None,
    *,
    lately_s: float = LATELY_S,
) -> list[ScheduleLine]:
    """Return all schedules, by name. *defined* is what the code of *app* defines. Misses of *lately_s* are counted.

    Of a schedule that this code cannot read, the line says so instead of when it fires.
    """
    now = schedules.clock(tx)
    last, counts = schedules.last_of_each(tx), schedules.counts(tx, lately_s)
    found = []
    rows = schedules.all_of(tx)
    for row in rows:
        definition = _readable(row)
        latest = last.get(row.name)
        overdue_s = 0.0 if row.next_due_at is None else max(0.0, (now - row.next_due_at).total_seconds())
        found.append(
            ScheduleLine(
                row.name,
                row.task,
                row.owner,
                row.app,
                UNREADABLE if definition is None else when_of(definition.plan),
                "UTC" if definition is None else definition.plan.timezone,
                state_of(row),
                row.paused_reason,
                row.next_fire_at,
                overdue_s,
                None if latest is None else latest.fire_at,
                None if latest is None else latest.state,
                None if latest is None else latest.reason,
                counts.get(row.name, {}).get("missed", 0),
                row.failures,
                drift_of(row, defined, app),
            )
        )
    return found


def _readable(row: ScheduleRow) -> Definition | None:
    """Return the definition, or None if a newer release wrote it, or a library for its plan is not installed here."""
    try:
        return Definition.from_text(row.definition)
    except ConfigurationError:
        return None


def state_of(row: ScheduleRow) -> str:
    """Return the state of a schedule in one word."""
    if row.removed_at is not None:
        return "removed"
    if row.paused_at is not None:
        return "paused"
    return "active" if row.next_fire_at is not None else "ended"


def when_of(plan: Plan) -> str:
    """Return when a plan fires, in few words."""
    if plan.cron is not None:
        days = "" if plan.weekdays is None else f" on weekdays {','.join(map(str, plan.weekdays))}"
        return f"{plan.cron}{days}"
    if plan.every_s is not None:
        return f"every {duration(plan.every_s) if plan.every_s >= 1 else f'{plan.every_s:g}s'}"
    if plan.solar is not None:
        return f"{plan.solar[0]} at {plan.solar[1]:g}, {plan.solar[2]:g}"
    return f"at {plan.at}"


def drift_of(row: ScheduleRow, defined: Mapping[str, Definition] | None, app: str | None) -> str | None:
    """Return in what the code and the ledger differ about a schedule that the code of *app* owns."""
    if defined is None or row.owner != CODE or row.app != app:
        return None
    own = defined.get(row.name)
    if own is None:
        return "the code here has no such schedule"
    known = _readable(row)
    differing = ["definition"] if known is None else known.differences(own)
    return f"the code here has another {', '.join(differing)}" if differing else None


def unrecorded(tx: Tx, defined: Mapping[str, Definition]) -> list[str]:
    """Return the schedules of the code that the ledger does not have: no worker has started with this code."""
    known = {row.name for row in schedules.all_of(tx)}
    return sorted(set(defined) - known)


def details(row: ScheduleRow) -> dict[str, Any]:
    """Return the definition of a schedule, for people and for JSON."""
    definition = Definition.from_text(row.definition)
    return {
        "task": definition.task,
        "args": list(definition.args),
        "kwargs": dict(definition.kwargs),
        "options": dict(definition.options),
        "plan": definition.plan.as_dict(),
    }
