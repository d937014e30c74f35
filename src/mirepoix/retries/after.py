"""Read from an error how long the other side asked to wait."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

LONGEST_S = 24 * 3600.0
"""The longest wait. A longer one is assumed to be a mistake of the other side, and is cut to a day."""


def seconds_after(error: BaseException) -> float | None:
    """Return how long the other side asked to wait, or None if the error does not say so.

    Reads the attribute ``retry_after`` of the error (seconds, a timedelta or a datetime) and the header ``Retry-After``
    (seconds or a date) of ``error.response.headers`` or ``error.headers``.
    """
    response = getattr(error, "response", None)
    found = getattr(error, "retry_after", None)
    for holder in (response, error):
        if found is None:
            found = _header(getattr(holder, "headers", None))
    return bounded(found)


def bounded(value: Any) -> float | None:
    """Convert *value* (seconds, a text, a timedelta or a datetime) to seconds from now, from 0 to a day, or None."""
    seconds = _seconds(value)
    if seconds is None or math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), LONGEST_S)


def _header(headers: Any) -> Any:
    if headers is None or not hasattr(headers, "get"):
        return None
    found = headers.get("Retry-After")
    if found is None and isinstance(headers, Mapping):
        found = next((value for key, value in headers.items() if str(key).lower() == "retry-after"), None)
    return found


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            value = _date(value)
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return (moment - datetime.now(UTC)).total_seconds()
    return None


def _date(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text)
    except ValueError:
        return None
