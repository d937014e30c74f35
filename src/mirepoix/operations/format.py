"""Write durations, times, counts and foreign text for people, and records as JSON for programs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def duration(seconds: float | None) -> str:
    """Write a duration in at most two units: ``4s``, ``3m 20s``, ``2h``, ``3d 04h``. None is an empty text."""
    if seconds is None:
        return ""
    whole = max(0, int(seconds))
    for unit, letter, part, small in ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "m"), (_MINUTE, "m", 1, "s")):
        if whole >= unit:
            rest = whole % unit // part
            return f"{whole // unit}{letter}" + (f" {rest:02}{small}" if rest else "")
    return f"{whole}s"


def run_time(seconds: float | None) -> str:
    """Write how long something ran, with a fraction if that is below a minute."""
    if seconds is None:
        return ""
    return f"{seconds:.3g}s" if seconds < _MINUTE else duration(seconds)


def memory(kilobytes: int | None) -> str:
    """Write an amount of memory in kB or MB."""
    if kilobytes is None:
        return ""
    return f"{kilobytes} kB" if kilobytes < 1024 else f"{kilobytes / 1024:,.0f} MB"  # noqa: PLR2004


def when(moment: datetime | None) -> str:
    """Write a time to the second, in UTC."""
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def count(number: int, noun: str) -> str:
    """Write a number with its noun: ``1 task``, ``1,200 tasks``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


HANDED = "handed to a worker"
SCHEDULED = "scheduled"


def state_word(state: str, *, has_due: bool = False) -> str:
    """Name a state for people: leased is "handed to a worker", and pending with a time to come is "scheduled"."""
    if state == "leased":
        return HANDED
    return SCHEDULED if state == "pending" and has_due else state


def one_line(text: str | None) -> str:
    """Put foreign text into one line that is safe for a terminal."""
    return printable(" ".join((text or "").split()))


def printable(text: str) -> str:
    """Escape the control characters, which a terminal would obey: an exception's message may hold any text."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def as_json(value: Any) -> str:
    """Write *value* as JSON for programs: dataclasses as objects, times as ISO 8601 in UTC, sets in order."""
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {str(key): _plain(found) for key, found in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(found) for found in value)
    if isinstance(value, (list, tuple)):
        return [_plain(found) for found in value]
    return round(value, 3) if isinstance(value, float) else value
