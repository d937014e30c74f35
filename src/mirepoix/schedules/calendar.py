"""The fire times of a plan, and when each is due. Both follow from the plan alone: every worker gets the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mirepoix.schedules import cron, solar
from mirepoix.schedules.plan import Plan, whole_ms

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Fire:
    """A fire time, and when it is due: later by its jitter."""

    at: datetime
    due: datetime


def fires(plan: Plan, name: str, anchor: datetime, after: datetime) -> Iterator[Fire]:
    """Return the fire times of the schedule *name* after *after*, in order.

    *anchor* is when the schedule was created: an interval without a start counts from there. The times are in UTC.
    """
    times = times_after(plan, anchor, after)
    at = next(times, None)
    while at is not None:
        following = next(times, None)
        yield Fire(at, at + _jitter(plan, name, at, following))
        at = following


def times_after(plan: Plan, anchor: datetime, after: datetime) -> Iterator[datetime]:
    """Return the fire times after *after* between the plan's start and end, without the jitter."""
    start, end = plan.moment("start"), plan.moment("end")
    if start is not None:
        after = max(after, start - _MS)
    for at in _unbounded(plan, anchor, after):
        if end is not None and at > end:
            return
        yield at


def _unbounded(plan: Plan, anchor: datetime, after: datetime) -> Iterator[datetime]:
    if plan.every_s is not None:
        first = plan.moment("start") or whole_ms(anchor)
        return _interval(plan.every_s, EPOCH if plan.aligned else first, after)
    if plan.solar is not None:
        return solar.after(plan.solar, after)
    if plan.cron is not None:
        times = cron.after(plan.cron, plan.zone, after)
        return times if plan.weekdays is None else _on_weekdays(times, plan)
    at = plan.moment("at")
    return iter([at] if at is not None and at > after else [])


def _interval(every_s: float, anchor: datetime, after: datetime) -> Iterator[datetime]:
    every_ms = round(every_s * 1000)
    number = max(0, (after - anchor) // _MS // every_ms)
    while True:
        at = anchor + timedelta(milliseconds=number * every_ms)
        if at > after:
            yield at
        number += 1


def _on_weekdays(times: Iterator[datetime], plan: Plan) -> Iterator[datetime]:
    wanted = frozenset(plan.weekdays or ())
    return (at for at in times if at.astimezone(plan.zone).isoweekday() % 7 in wanted)


def _jitter(plan: Plan, name: str, at: datetime, following: datetime | None) -> timedelta:
    """The delay of one fire time. It comes from a hash, so that every worker and every restart computes the same."""
    if not plan.jitter_s:
        return timedelta()
    longest = timedelta(seconds=plan.jitter_s)
    if following is not None:
        longest = min(longest, following - at)  # so that fire times become due in their order
    digest = hashlib.sha256(f"{name} {at.isoformat()}".encode()).digest()
    return longest * (int.from_bytes(digest[:6]) / 2**48) // _MS * _MS
