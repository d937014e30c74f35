"""Read format 1 of a task's arguments from a row, without any serialiser."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

CONTENT_TYPE = "application/json"
"""The content type of a body of format 1. Only its own serialiser can read a body of another type."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of a task, and what Celery sends after it."""

    args: list[Any]
    kwargs: dict[str, Any]
    embed: dict[str, Any]
    """``callbacks``, ``errbacks``, ``chain`` and ``chord``, and anything else that the writer put there."""


def read(body: str) -> Arguments | None:
    """Return the arguments of a JSON *body*, ``[args, kwargs, embed]``; None if it is not such a body.

    A value that JSON does not have is written as ``{"__type__": marker, "__value__": text}``. The markers in `_READERS`
    are read. Another marker (of an application's own type) stays as it is written.
    """
    try:
        found = json.loads(body, object_hook=_value)
    except (ValueError, TypeError, ArithmeticError, KeyError, AttributeError, RecursionError):
        return None  # not JSON, or a marker whose value does not fit it
    if not isinstance(found, list) or len(found) != 3:  # noqa: PLR2004
        return None
    args, kwargs, embed = found
    if not isinstance(args, list) or not isinstance(kwargs, dict) or not isinstance(embed or {}, dict):
        return None
    return Arguments(args, kwargs, embed or {})


def _value(found: dict[str, Any]) -> Any:
    if found.keys() != {"__type__", "__value__"}:
        return found
    marker = found["__type__"]
    reader = _READERS.get(marker) if isinstance(marker, str) else None
    return found if reader is None else reader(found["__value__"])


_READERS: dict[str, Callable[[Any], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": lambda text: date.fromisoformat(text[:10]),
    "time": time.fromisoformat,
    "decimal": Decimal,
    # Up to kombu 5.3.0 the UUID's version was written beside it. The number contains it.
    "uuid": lambda parts: UUID(hex=parts["hex"]),
    "bytes": lambda text: text.encode("utf-8"),
    "base64": lambda text: base64.b64decode(text.encode("ascii")),
}
