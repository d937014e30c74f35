"""Read the payloads that code will have to take: the kinds of calls, and the tasks without a recorded kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mirepoix.ledger.query.values import known_moment
from mirepoix.ledger.tx import Tx
from mirepoix.states import State

PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Kind:
    """The tasks in one *state* with the same ``shape`` of call (see `mirepoix.signatures.call_codec`)."""

    shape: str
    state: State
    count: int
    oldest: datetime
    example: str


@dataclass(frozen=True, slots=True)
class Unread:
    """A task without a shape in its row."""

    id: str
    name: str
    state: State
    headers: dict[str, Any]
    body: str
    body_encoding: str
    content_type: str
    created_at: datetime


def kinds(tx: Tx) -> list[Kind]:
    """Return every kind of payload that waits, runs or needs a decision, with the number of tasks."""
    return [
        Kind(row.shape, State(row.state), int(row.tasks), known_moment(row.oldest_at), row.example_id)
        for row in tx.fetch("count_payloads")
    ]


def unread(tx: Tx) -> Iterator[Unread]:
    """Yield the tasks without a shape. They are read page by page."""
    after = 0
    while rows := tx.fetch("payloads", after=after, batch=PAGE):
        after = rows[-1].seq
        for row in rows:
            headers = json.loads(row.headers)
            yield Unread(
                id=row.id,
                name=row.name,
                state=State(row.state),
                headers=headers if isinstance(headers, dict) else {},
                body=row.body,
                body_encoding=row.body_encoding,
                content_type=row.content_type,
                created_at=known_moment(row.created_at),
            )
