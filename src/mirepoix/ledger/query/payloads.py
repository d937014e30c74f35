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
        Kind(row[0], State(row[1]), int(row[2]), known_moment(row[3]), row[4]) for row in tx.fetch("count_payloads")
    ]


def unread(tx: Tx) -> Iterator[Unread]:
    """Those that do not say what they call, a page at a time."""
    after = 0
    while rows := tx.fetch("payloads", after=after, batch=PAGE):
        after = rows[-1][0]
        for row in rows:
            headers = json.loads(row[4])
            yield Unread(
                id=row[1],
                name=row[2],
                state=State(row[3]),
                headers=headers if isinstance(headers, dict) else {},
                body=row[5],
                body_encoding=row[6],
                content_type=row[7],
                created_at=known_moment(row[8]),
            )
