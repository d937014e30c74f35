"""Convert a database's values to Python's: times in UTC, seconds, arguments."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

HELD_UNTIL = datetime(9999, 12, 31, tzinfo=UTC)
"""The due time of a task that is held (`mirepoix.ledger.holds`). It is no real time: the task waits until somebody
resumes what is paused."""


def due(value: Any) -> datetime | None:
    """Convert a due time; None for a task that is held, which has no real due time."""
    found = moment(value)
    return None if found is None or found >= HELD_UNTIL else found


def moment(value: Any) -> datetime | None:
    """Convert a timestamp of any dialect to an aware datetime in UTC. A text without an offset is in UTC already."""
    if value is None:
        return None
    found = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def known_moment(value: Any) -> datetime:
    """Convert a timestamp from a column that is never null."""
    found = moment(value)
    assert found is not None
    return found


def bound_moment(value: datetime, dialect: str) -> Any:
    """Convert an aware datetime to a value that the columns of *dialect* compare with."""
    in_utc = value.astimezone(UTC)
    if dialect == "sqlite":
        return in_utc.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    return in_utc.replace(tzinfo=None) if dialect == "mysql" else in_utc


def seconds(value: Any) -> float | None:
    """Convert a duration. Databases return decimals, floats or null."""
    return None if value is None else float(value)


def arguments(content_type: str, body_encoding: str, body: str) -> tuple[list[Any], dict[str, Any]] | None:
    """Return ``(args, kwargs)`` of a message body, or None if it is not Celery's JSON."""
    if content_type != "application/json" or body_encoding != "utf-8":
        return None
    try:
        args, kwargs, *_ = json.loads(body)
    except (ValueError, TypeError):
        return None
    return (args, kwargs) if isinstance(args, list) and isinstance(kwargs, dict) else None
