"""The fire times of a cron expression in a time zone. The expressions are those of `cronsim`.

A change of the clocks is handled as Debian's cron does, for expressions with five fields and with six:

* An expression with a fixed minute and hour (neither field begins with ``*``) means a time of day. If the time does not
  exist on a day, it fires at the first moment after the gap. If the time exists twice, it fires the first time.
* Any other expression means a rhythm. It fires whenever the local time matches: not in a gap, and twice in the hour
  that is repeated.

`cronsim` only finds the times on a wall clock. With a zone of its own it loses times where the clocks change by half an
hour (version 2.8, Lord Howe).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from mirepoix.errors import ConfigurationError

_LONGEST_GAP = timedelta(days=2)
"""Zones have skipped a whole day when they crossed the date line."""


def check(expression: str) -> None:
    """Raise ConfigurationError unless *expression* is one that fires at all."""
    simulated = _simulated(expression, datetime(2000, 1, 1))  # noqa: DTZ001 (a time on a wall)
    if next(simulated, None) is None:
        raise ConfigurationError(f"cron {expression!r} never fires: no day matches it.")


def after(expression: str, zone: ZoneInfo, moment: datetime) -> Iterator[datetime]:
    """Return the fire times after *moment*, in UTC, in order and without end."""
    return _times_of_day(expression, zone, moment) if _is_time_of_day(expression) else _rhythm(expression, zone, moment)


def _is_time_of_day(expression: str) -> bool:
    *_, minute, hour, _day, _month, _weekday = expression.split()
    return not minute.startswith("*") and not hour.startswith("*")


def _times_of_day(expression: str, zone: ZoneInfo, moment: datetime) -> Iterator[datetime]:
    # A time that the clocks skipped fires after the gap, so begin before the longest gap.
    latest = moment
    for naive in _simulated(expression, moment.astimezone(zone).replace(tzinfo=None) - _LONGEST_GAP):
        fires_at = _first_moment(naive, zone)
        if fires_at > latest:
            latest = fires_at
            yield fires_at


def _first_moment(naive: datetime, zone: ZoneInfo) -> datetime:
    """The moment at which a clock in *zone* first shows *naive*, or the end of the gap that has no such moment."""
    local = naive.replace(tzinfo=zone)
    shown = local.astimezone(UTC)
    if shown.astimezone(zone).replace(tzinfo=None) == naive:
        return shown
    # In a gap, fold=1 gives a moment before it, and fold=0 one after it.
    return _change(zone, local.replace(fold=1).astimezone(UTC), shown)


def _rhythm(expression: str, zone: ZoneInfo, moment: datetime) -> Iterator[datetime]:
    begin, offset = moment, _offset(zone, moment)
    while True:
        # While the offset stays, a time on the wall is one moment. When it changes, begin again with the new one.
        changed_at = None
        latest = begin
        for naive in _simulated(expression, begin.replace(tzinfo=None) + offset):
            at = (naive - offset).replace(tzinfo=UTC)
            changed_at = _next_change(zone, latest, at, offset)
            if changed_at is not None:
                break
            latest = at
            yield at
        if changed_at is None:
            return
        begin, offset = changed_at - timedelta(seconds=1), _offset(zone, changed_at)


def _next_change(zone: ZoneInfo, after: datetime, until: datetime, offset: timedelta) -> datetime | None:
    """The first moment after *after*, and not after *until*, at which *zone* has another offset than *offset*."""
    while after < until:
        later = min(after + timedelta(days=1), until)
        if _offset(zone, later) != offset:
            return _change(zone, after, later)
        after = later
    return None


def _change(zone: ZoneInfo, before: datetime, behind: datetime) -> datetime:
    """The moment, in whole seconds, from which *zone* has the offset that it has at *behind*."""
    offset = _offset(zone, behind)
    while behind - before > timedelta(seconds=1):
        middle = before + (behind - before) // 2
        before, behind = (before, middle) if _offset(zone, middle) == offset else (middle, behind)
    return behind.replace(microsecond=0)


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _simulated(expression: str, begin: datetime) -> Any:
    try:
        from cronsim import CronSim, CronSimError  # an extra
    except ImportError as error:
        raise ConfigurationError(
            "Schedules with a cron expression need cronsim: pip install 'mirepoix[schedules]'."
        ) from error
    try:
        return CronSim(expression, begin)
    except (CronSimError, AttributeError) as error:
        raise ConfigurationError(
            f"cron {expression!r} is no cron expression: {error}. It has five fields (minute, hour, day of month, "
            "month, day of week), or six with the second first."
        ) from error
