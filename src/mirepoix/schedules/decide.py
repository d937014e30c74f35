"""Decide about fire times: send a run, let it wait, skip it, or record it as missed. These functions are pure.

There are two steps. `due` decides what follows from the plan and the time, before the transaction begins. `overlapping`
decides what follows from the runs that have not ended, when the transaction has locked the schedule.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mirepoix.ledger.schedules import Decision, Next, OpenFire, ScheduleRow
from mirepoix.schedules.calendar import Fire, fires
from mirepoix.schedules.plan import Plan

SENT, BUFFERED, SKIPPED, MISSED = "sent", "buffered", "skipped", "missed"
RAN, FAILED, ENDED = "ran", "failed", "ended"

ON_TIME = timedelta(seconds=5)
"""A fire time that is overdue for longer has to be caught up."""
MOST_SENT = 20
"""The most runs that one transaction sends."""
MOST_DECIDED = 500
"""The most fire times that one transaction decides about."""


@dataclass(frozen=True, slots=True)
class Due:
    """The decisions about the due fire times of a schedule, and the next fire time after them."""

    decisions: list[Decision]
    following: Next

    @property
    def until(self) -> datetime:
        return self.decisions[-1].fire_at


def following(plan: Plan, name: str, anchor: datetime, after: datetime) -> Next:
    """The next fire time after *after*."""
    fire = next(fires(plan, name, anchor, after), None)
    return Next(None, None) if fire is None else Next(fire.at, fire.due)


def due(row: ScheduleRow, plan: Plan, now: datetime, *, is_early: bool = False) -> Due:
    """Decide about the fire times of *row* that are due at *now*, as far as one transaction can.

    With *is_early* a fire time that has come is due before its jitter is over.
    """
    decisions: list[Decision] = []
    number_sent = 0
    coming = fires(plan, row.name, row.created_at, row.fired_until)
    fire = next(coming, None)
    while (
        fire is not None
        and (fire.at if is_early else fire.due) <= now
        and len(decisions) < MOST_DECIDED
        and number_sent < MOST_SENT
    ):
        later = next(coming, None)
        decision = _by_time(row, plan, fire, later, now)
        number_sent += decision.state == SENT
        decisions.append(decision)
        fire = later
    return Due(decisions, Next(None, None) if fire is None else Next(fire.at, fire.due))


def _by_time(row: ScheduleRow, plan: Plan, fire: Fire, later: Fire | None, now: datetime) -> Decision:
    late = max(timedelta(), now - fire.due)
    late_s = f"{late.total_seconds():.0f} s"
    if row.paused_at is not None:
        why = f": {row.paused_reason}" if row.paused_reason else ""
        return _decision(fire, SKIPPED, f"paused by {row.paused_by}{why}")
    if rule := plan.excluded(fire.at):
        return _decision(fire, SKIPPED, f"excluded by {rule}")
    if late <= ON_TIME:
        return _decision(fire, SENT, None)
    if late > timedelta(seconds=plan.catch_up_s):
        return _decision(fire, MISSED, f"no worker fired it for {late_s}; it is caught up for {plan.catch_up_s:g} s")
    if plan.catch_up == "latest" and later is not None and later.due <= now:
        return _decision(fire, MISSED, f"no worker fired it for {late_s}, and only the latest fire time is caught up")
    return _decision(fire, SENT, f"caught up {late_s} late")


def overlapping(
    plan: Plan, decisions: list[Decision], running: list[OpenFire], waiting: list[datetime]
) -> Iterator[Decision]:
    """Decide again about the fire times that are to be sent, by the runs that wait or run.

    *waiting* are the buffered fire times. A buffered one that gives way to a later one is returned as skipped.
    """
    for decision in decisions:
        if decision.state != SENT:
            yield decision
            continue
        made = _by_overlap(plan.overlap, decision, running, waiting)
        for one in made:
            if one.state == SENT:
                running = [*running, OpenFire(one.fire_at, one.task_id, "pending")]
            elif one.state == BUFFERED:
                waiting = [*waiting, one.fire_at]
            elif one.fire_at in waiting:
                waiting = [at for at in waiting if at != one.fire_at]
        yield from made


def _by_overlap(overlap: str, decision: Decision, running: list[OpenFire], waiting: list[datetime]) -> list[Decision]:
    if overlap in ("allow", "terminate") or not (running or waiting):
        return [decision]
    earlier = running[0].fire_at if running else waiting[0]
    state = running[0].task_state if running else BUFFERED
    busy = f"the run of {earlier.isoformat()} is {state}"
    buffered = replace(decision, state=BUFFERED, reason=busy, task_id=None)
    if overlap == "skip":
        return [replace(decision, state=SKIPPED, reason=busy, task_id=None)]
    if overlap == "buffer_all" or not waiting:
        return [buffered]
    if overlap == "buffer_one":
        return [replace(buffered, state=SKIPPED, reason=f"{busy}, and the run of {waiting[0].isoformat()} waits")]
    gone = [Decision(at, at, SKIPPED, f"the run of {decision.fire_at.isoformat()} replaced it") for at in waiting]
    return [*gone, buffered]


def _decision(fire: Fire, state: str, reason: str | None) -> Decision:
    return Decision(fire.at, fire.due, state, reason)
