"""Build the envelope of a task from the headers of its message. Only this module reads headers into columns."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from mirepoix.ledger.text import storable
from mirepoix.protocol import payload
from mirepoix.protocol.options import LONGEST, MOST_RETRIES, PRIORITIES, moment_in_utc
from mirepoix.records import Envelope


def from_headers(headers: Mapping[str, Any], *, body: str, queue: str, **columns: Any) -> Envelope:
    """The envelope of a message of Celery's protocol 2.

    *columns* are further fields of `Envelope`, and override the headers. The values are not checked here:
    `mirepoix.protocol.options.check` refuses what the ledger cannot store. Raises InvalidOption for an ``eta`` or
    ``expires`` that is no moment.
    """
    name = headers["task"]
    found: dict[str, Any] = {
        "retries": headers.get("retries") or 0,
        "root_id": headers.get("root_id"),
        "parent_id": headers.get("parent_id"),
        "group_id": headers.get("group"),
        "version": payload.version_in(headers),
    }
    for moment in ("eta", "expires"):
        if moment not in columns:
            found[moment] = moment_in_utc(name, moment, headers.get(moment))
    if "shape" not in columns:
        content_type, encoding = columns.get("content_type") or "", columns.get("body_encoding", "utf-8")
        found["shape"] = payload.shape_of_text(name, headers, body, content_type, encoding)
    return Envelope(id=headers["id"], name=name, queue=queue, body=body, headers=dict(headers), **{**found, **columns})


def from_foreign_headers(headers: Mapping[str, Any], *, body: str, queue: str, **columns: Any) -> Envelope:
    """The envelope of a message that another program sent, without the values that no column can store.

    Celery reads these values in the message itself. Raises ValueError for a task's name that cannot be stored.
    """
    if not is_storable(headers["task"]):
        raise ValueError(f"the name of its task cannot be stored: {headers['task']!r}")
    names = {"root_id": "root_id", "parent_id": "parent_id", "group_id": "group"}
    held: dict[str, Any] = {column: _name(headers.get(header)) for column, header in names.items()}
    held["retries"] = _whole(headers.get("retries"), 0, MOST_RETRIES)
    held["priority"] = _whole((columns.get("properties") or {}).get("priority"), *PRIORITIES["ledger"])
    return from_headers(headers, body=body, queue=queue, **{**held, **columns})


def as_text(body: Any) -> tuple[str, str]:
    """A serialised body in the column's form, and its encoding: ``utf-8``, or ``base64`` if the body is no text."""
    if isinstance(body, (bytes, memoryview)):
        try:
            body = bytes(body).decode("utf-8")
        except UnicodeDecodeError:
            return base64.b64encode(bytes(body)).decode("ascii"), "base64"
    return body, "utf-8"


def is_storable(value: Any) -> bool:
    """Whether *value* is a text, not empty, that the columns for ids and names can store."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST and storable(value) == value


def _name(value: Any) -> str | None:
    return value if is_storable(value) else None


def _whole(value: Any, lowest: int, highest: int) -> int:
    is_whole = isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest
    return value if is_whole else 0
