"""What a database answers, as Python has it: moments in UTC, seconds, arguments."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any


def moment(value: Any) -> datetime | None:
    """A timestamp of any dialect as an aware datetime in UTC; a text without an offset is UTC already."""
    if value is None:
        return None
    found = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def known_moment(value: Any) -> datetime:
    """A timestamp from a column that is never null."""
    found = moment(value)
    assert found is not None
    return found


def bound_moment(value: datetime, dialect: str) -> Any:
    """An aware datetime as the columns of *dialect* compare with it."""
    in_utc = value.astimezone(UTC)
    if dialect == "sqlite":
        return in_utc.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    return in_utc.replace(tzinfo=None) if dialect == "mysql" else in_utc


def seconds(value: Any) -> float | None:
    """A duration; databases answer with decimals, floats or null."""
    return None if value is None else float(value)


def arguments(content_type: str, body_encoding: str, body: str) -> tuple[list[Any], dict[str, Any]] | None:
    """``(args, kwargs)`` of a message body, or None for one that is not Celery's JSON."""
    if content_type != "application/json" or body_encoding != "utf-8":
        return None
    try:
        args, kwargs, *_ = json.loads(body)
    except (ValueError, TypeError):
        return None
    return (args, kwargs) if isinstance(args, list) and isinstance(kwargs, dict) else None
