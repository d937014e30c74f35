"""A schedule's plan: when it fires, and what happens if that is late, or if the run before has not ended."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mirepoix.errors import ConfigurationError
from mirepoix.schedules import cron, solar

OVERLAPS = ("allow", "skip", "buffer_one", "buffer_all", "cancel", "terminate")
CATCH_UPS = ("latest", "all")
SHORTEST_S = 0.1
"""The shortest interval, in seconds."""
DAY_S = 86_400.0

_KINDS = ("cron", "every_s", "at", "solar")
_YEARLY = re.compile(r"\d\d-\d\d")


@dataclass(frozen=True, slots=True)
class Plan:
    """When a schedule fires, and its policies. Exactly one of ``cron``, ``every_s``, ``at`` and ``solar`` is given.

    Durations are in seconds. Fire times are whole milliseconds. Raises ConfigurationError.
    """

    cron: str | None = None
    """Five fields (minute, hour, day of month, month, day of week), or six with the second first."""
    weekdays: tuple[int, ...] | None = None
    """With ``cron``: only on these days, 0 is Sunday. The day of the month has to match as well, as in Celery."""
    every_s: float | None = None
    """An interval. It counts from *start*, which is the first fire time then. Without a start it counts from the
    schedule's creation. If *aligned*, it counts from 1970-01-01 00:00 UTC instead."""
    aligned: bool = False
    at: str | None = None
    """One moment in ISO 8601, in *timezone* if it has no offset. The schedule fires once."""
    solar: tuple[str, float, float] | None = None
    """An event of the sun, with the latitude and the longitude in degrees, as in ``celery.schedules.solar``."""
    timezone: str = "UTC"
    """The IANA name of the time zone."""
    start: str | None = None
    """No fire time is before this moment (ISO 8601, in *timezone* if it has no offset)."""
    end: str | None = None
    """No fire time is after this moment."""
    exclude: tuple[str, ...] = ()
    """Days on which fire times are skipped, in *timezone*: ``2026-12-25``, ``12-25`` (each year),
    ``2026-12-24/2026-12-26`` (both days included), or a window ``2026-12-24T18:00/2026-12-26T06:00`` without its
    end."""
    jitter_s: float = 0.0
    """A fire time is due up to so much later. The delay is always the same for one fire time of one schedule, and is
    never longer than the time to the next fire time."""
    overlap: str = "allow"
    """What happens at a fire time while an earlier run waits or runs: see `OVERLAPS`."""
    catch_up: str = "latest"
    """Which of the overdue fire times run when workers are back: the ``latest``, or ``all``."""
    catch_up_s: float = DAY_S
    """A fire time that is overdue for longer is missed. One that is overdue for at most 5 s always runs."""
    pause_after_failures: int | None = None
    """The schedule pauses itself after so many failed runs in a row."""

    def __post_init__(self) -> None:
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ConfigurationError(
                f"A schedule has exactly one of {', '.join(_KINDS)}; this one has {given or 'none'}."
            )
        for name in ("solar", "weekdays", "exclude"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        _check_choice("overlap", self.overlap, OVERLAPS)
        _check_choice("catch_up", self.catch_up, CATCH_UPS)
        _check_number("jitter_s", self.jitter_s, 0)
        _check_number("catch_up_s", self.catch_up_s, 0)
        if self.pause_after_failures is not None:
            _check_number("pause_after_failures", self.pause_after_failures, 1)
        if self.every_s is not None:
            _check_number("every_s", self.every_s, SHORTEST_S)
        zone = self.zone
        if self.cron is not None:
            cron.check(self.cron)
        if self.solar is not None:
            solar.check(self.solar)
        for name in ("at", "start", "end"):
            moment_of(name, getattr(self, name), zone)
        for rule in self.exclude:
            _excluded_by(rule, datetime.now(zone))

    @property
    def zone(self) -> ZoneInfo:
        """The time zone. Raises ConfigurationError if there is none of that name."""
        try:
            return ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, TypeError) as error:
            raise ConfigurationError(
                f"timezone {self.timezone!r} is no time zone that this host knows. Use an IANA name such as "
                "'Europe/Berlin'; `pip install tzdata` brings them all."
            ) from error

    def moment(self, name: str) -> datetime | None:
        """The moment of the field *name* (``at``, ``start``, ``end``), in UTC."""
        return moment_of(name, getattr(self, name), self.zone)

    def excluded(self, fire_at: datetime) -> str | None:
        """The rule that excludes *fire_at*, or None."""
        local = fire_at.astimezone(self.zone)
        return next((rule for rule in self.exclude if _excluded_by(rule, local)), None)

    def as_dict(self) -> dict[str, Any]:
        """The fields that differ from their defaults, for JSON."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) != field.default}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """Read what `as_dict` wrote. Raises ConfigurationError for a field that does not exist."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(given) - known):
            raise ConfigurationError(
                f"A schedule has no field {', '.join(unknown)}. It has {', '.join(sorted(known))}."
            )
        return cls(**given)


def moment_of(name: str, text: str | None, zone: ZoneInfo) -> datetime | None:
    """Read a moment in ISO 8601, in *zone* if it has no offset; return it in UTC. Raises ConfigurationError."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{name} {text!r} is no moment in ISO 8601, such as '2026-12-24T18:00'.") from error
    local = found if found.tzinfo is not None else found.replace(tzinfo=zone)
    return whole_ms(local.astimezone(UTC))


def whole_ms(moment: datetime) -> datetime:
    """Cut *moment* to whole milliseconds, which every database stores."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigurationError(f"{name} {value!r} is not known. It is one of {', '.join(choices)}.")


def _check_number(name: str, value: Any, least: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < float("inf"):
        raise ConfigurationError(f"{name} must be a number from {least} on, not {value!r}.")


def _excluded_by(rule: str, local: datetime) -> bool:
    """Whether *rule* excludes the local time. Raises ConfigurationError if it is no rule."""
    try:
        first, _, last = rule.partition("/")
        if "T" in first:
            begin, end = datetime.fromisoformat(first), datetime.fromisoformat(last)
            return begin <= local.replace(tzinfo=None) < end
        if _YEARLY.fullmatch(first) and not last:
            date.fromisoformat(f"2000-{first}")
            return first == f"{local:%m-%d}"
        begin_day = date.fromisoformat(first)
        end_day = date.fromisoformat(last) if last else begin_day
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"exclude {rule!r} is no day ('2026-12-25', '12-25'), no days ('2026-12-24/2026-12-26') and no window "
            "('2026-12-24T18:00/2026-12-26T06:00')."
        ) from error
    return begin_day <= local.date() < end_day + timedelta(days=1)
