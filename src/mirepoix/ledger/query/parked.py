"""Read the parked tasks: each kind of call that no code could take, with the reason and the number of tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mirepoix.ledger.query.values import seconds
from mirepoix.ledger.tx import Tx
from mirepoix.records import IncompatibilityKind
from mirepoix.signatures.call_codec import Call, from_text
from mirepoix.sql.columns import Row
from mirepoix.states import State

MOST_KINDS = 5_000
"""The most kinds that are read: calls with their links, reasons and queues. The rarest kinds are left out."""


@dataclass(frozen=True, slots=True)
class ParkedCall:
    """The parked tasks with one call and one reason. ``lacking`` is None if no other code could help."""

    call: Call
    lacking: IncompatibilityKind | None
    reason: str | None
    count: int
    oldest_s: float
    newest_s: float
    example_id: str
    queues: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parked:
    """All parked tasks. If there are too many kinds, the calls have fewer tasks together than ``count``."""

    count: int
    calls: tuple[ParkedCall, ...]


def parked(tx: Tx) -> Parked:
    """Return the parked tasks, the most frequent call first."""
    count = sum(row.tasks for row in tx.fetch("kept_counts") if row.state == State.PARKED)
    groups: dict[Any, list[Row]] = {}
    for row in tx.fetch("parked_calls", most=MOST_KINDS) if count else ():
        groups.setdefault((_call(row), row.parked_for, row.short_reason), []).append(row)
    calls = [_merged(call, lacking, reason, rows) for (call, lacking, reason), rows in groups.items()]
    calls.sort(key=lambda parked_call: (-parked_call.count, str(parked_call.call)))
    return Parked(count, tuple(calls))


def _call(row: Row) -> Call:
    return from_text(row.shape)[0] if row.shape is not None else Call(row.name, row.version)


def _merged(call: Call, lacking: str | None, reason: str | None, rows: list[Row]) -> ParkedCall:
    return ParkedCall(
        call=call,
        lacking=None if lacking is None else IncompatibilityKind(lacking),
        reason=reason,
        count=sum(row.tasks for row in rows),
        oldest_s=max(seconds(row.oldest_s) or 0.0 for row in rows),
        newest_s=min(seconds(row.newest_s) or 0.0 for row in rows),
        example_id=min(row.example_id for row in rows),
        queues=tuple(sorted({row.queue for row in rows})),
    )
