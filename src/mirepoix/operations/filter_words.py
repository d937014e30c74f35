"""Read what people type into filters. Every function raises ValueError, with the remedy, for what it cannot read."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

from mirepoix.operations.format import SCHEDULED
from mirepoix.states import State

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+")


def duration_of(text: str) -> timedelta:
    """Read ``90s``, ``10m``, ``2h``, ``1h30m`` or ``7d``."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration. Write 90s, 10m, 2h, 1h30m or 7d.")
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhdw])", text)
    try:
        return sum((timedelta(**{_UNITS[unit]: float(number)}) for number, unit in parts), timedelta())
    except OverflowError:
        raise ValueError(f"{text!r} is too long a duration.") from None


def moment_of(text: str) -> datetime | timedelta:
    """Read a duration (that long ago), or a date and time in ISO 8601 (UTC, unless it says otherwise)."""
    if _DURATION.fullmatch(text):
        return duration_of(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither a duration (10m, 2h, 7d) nor a time (2026-03-29T02:30).") from None
    try:
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is before the year 1 or after the year 9999.") from None


def states_of(text: str) -> frozenset[str]:
    """Read one state, or several with commas between them. ``scheduled`` means pending tasks that are due later."""
    try:
        return frozenset(_state(word.strip().lower()) for word in text.split(","))
    except ValueError:
        names = ", ".join((SCHEDULED, *State))
        raise ValueError(f"{text!r} is not a state. The states are: {names}.") from None


def argument_of(text: str) -> tuple[str | None, str]:
    """Read ``order_id=4711``, or a value alone. Return the keyword, or None, and the value as JSON.

    A value that is not JSON is a text.
    """
    found = re.fullmatch(r"([A-Za-z_]\w*)=(.*)", text, re.DOTALL)
    keyword, value = (found[1], found[2]) if found else (None, text)
    try:
        return keyword, json.dumps(json.loads(value))
    except ValueError:
        return keyword, json.dumps(value)


def _state(word: str) -> str:
    return SCHEDULED if word == SCHEDULED else State(word)
