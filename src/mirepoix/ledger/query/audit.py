"""Read who did what, the latest first: to tasks, causes, payloads, and to what can be paused or limited.

Decisions and edits are deleted with their tasks. Of a cause only the latest decision is known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from mirepoix.ledger import holds
from mirepoix.ledger.query.values import known_moment
from mirepoix.ledger.tx import Tx

READ = 1_000
"""The most decisions that are read for one page. A decision about many tasks has a row for each."""

TOGETHER = timedelta(minutes=5)
"""Decisions that are equal but for their tasks are one act, if no more time lies between two of them."""

LATEST = 2**62


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody did.

    *kind* is ``tasks``, ``edit``, ``replay``, ``cause``, ``pause``, ``schedule`` or ``limit``. *subject* is an id of
    that kind, or the name of what was paused or changed.
    """

    at: datetime
    by: str
    verb: str
    kind: str
    subject: str
    words: str
    reason: str
    tasks: int = 1


@dataclass(frozen=True, slots=True)
class Decided:
    """Acts about tasks. *before* is where the next page begins, or None if there is none."""

    acts: tuple[Act, ...]
    before: int | None


def acts(tx: Tx, most: int, read: int = READ) -> list[Act]:
    """Return the latest acts of every kind."""
    found = [
        *decided(tx, read=read).acts,
        *_edits(tx, most),
        *_replays(tx, most),
        *_causes(tx, most),
        *_steered(tx, most),
    ]
    return sorted(found, key=lambda act: act.at, reverse=True)[:most]


def decided(tx: Tx, before: int | None = None, read: int = READ) -> Decided:
    """Return the decisions about tasks before the row *before*."""
    rows = tx.fetch("audit_decisions", before=before or LATEST, most=read)
    lines = [
        Act(known_moment(row.decided_at), row.decided_by, row.verb, "tasks", row.task_id, row.name or "", row.reason)
        for row in rows
    ]
    return Decided(tuple(_merged(lines)), rows[-1].id if len(rows) == read else None)


def _merged(lines: Iterable[Act]) -> list[Act]:
    found: list[Act] = []
    ended_at: datetime | None = None
    for line in lines:
        last = found[-1] if found else None
        is_same = last is not None and (last.by, last.verb, last.reason) == (line.by, line.verb, line.reason)
        if last is not None and is_same and ended_at is not None and ended_at - line.at <= TOGETHER:
            words = last.words if last.words == line.words else "several names"
            found[-1] = Act(last.at, last.by, last.verb, last.kind, last.subject, words, last.reason, last.tasks + 1)
        else:
            found.append(line)
        ended_at = line.at
    return found


def _edits(tx: Tx, most: int) -> list[Act]:
    return [
        Act(known_moment(row.edited_at), row.edited_by, "edit", "edit", row.task_id, row.name or "", row.reason)
        for row in tx.fetch("audit_edits", most=most)
    ]


def _replays(tx: Tx, most: int) -> list[Act]:
    return [
        Act(
            known_moment(row.began_at),
            row.began_by,
            "replay",
            "replay",
            row.failure_group,
            row.title or "",
            f"{row.reason}: {row.outcome or 'not ended'}",
            int(row.tasks),
        )
        for row in tx.fetch("audit_replays", most=most)
    ]


def _steered(tx: Tx, most: int) -> list[Act]:
    paused = set(holds.Kind)
    return [
        Act(
            act.decided_at,
            act.decided_by,
            act.verb,
            "pause" if act.kind in paused and act.verb in ("pause", "resume") else act.kind,
            act.value,
            f"{act.kind} {act.value}",
            act.reason,
        )
        for act in holds.history(tx, most)
    ]


def _causes(tx: Tx, most: int) -> list[Act]:
    return [
        Act(
            known_moment(row.decided_at),
            row.decided_by or "",
            {"resolved": "resolve", "ignored": "ignore"}.get(row.state, "reopen"),
            "cause",
            row.id,
            row.title,
            row.note or "",
        )
        for row in tx.fetch("audit_groups", most=most)
    ]
