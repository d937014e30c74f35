"""The payloads that code will have to take: how many there are of each kind of call, and those that do not say."""

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
    """The tasks in one *state* that call the same: their ``shape`` (see `mirepoix.signatures.call_codec`)."""

    shape: str
    state: State
    count: int
    oldest: datetime
    example: str


@dataclass(frozen=True, slots=True)
class Unread:
    """A task whose row does not say what it calls."""

    id: str
    name: str
    state: State
    headers: dict[str, Any]
    body: str
    body_encoding: str
    content_type: str
    created_at: datetime


def kinds(tx: Tx) -> list[Kind]:
    """Every kind of payload that waits, runs, or is kept for a decision, and how many there are."""
    return [
        Kind(row.shape, State(row.state), int(row.tasks), known_moment(row.oldest_at), row.example_id)
        for row in tx.fetch("count_payloads")
    ]


def unread(tx: Tx) -> Iterator[Unread]:
    """Those that do not say what they call, a page at a time."""
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
