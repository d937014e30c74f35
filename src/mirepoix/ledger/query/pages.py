"""Read a list of tasks page by page, by position and not by number, so that a page costs the same however far it is."""

from __future__ import annotations

import base64
import heapq
import json
from dataclasses import dataclass
from datetime import UTC, datetime

from mirepoix.ledger.query.tasks import Filters, TaskLine, branches, chunk
from mirepoix.ledger.query.values import bound_moment
from mirepoix.ledger.tx import Tx

Cursor = dict[int, tuple[datetime, int]]
"""For each branch that has been read: the ``since`` and ``seq`` of the last task that was shown."""


@dataclass(frozen=True, slots=True)
class Page:
    """The tasks of one page. *following* is the cursor of the next page, or None if there is none."""

    lines: tuple[TaskLine, ...]
    following: Cursor | None


def page(
    tx: Tx,
    filters: Filters,
    limit: int,
    after: Cursor | None = None,
    *,
    oldest_first: bool = False,
    with_arguments: bool = False,
) -> Page:
    """Return up to *limit* tasks that match *filters* and come after *after*, the newest first (by ``since``)."""
    after = after or {}
    found = []
    for number, branch in enumerate(branches(tx.dialect, filters)):
        begin = after.get(number)
        position = None if begin is None else (bound_moment(begin[0], tx.dialect), begin[1])
        lines, _ = chunk(
            tx, filters, branch, position, limit + 1, oldest_first=oldest_first, with_arguments=with_arguments
        )
        found.append([(line.since, number, line) for line in lines])
    merged = list(heapq.merge(*found, key=lambda item: item[0], reverse=not oldest_first))
    following = dict(after)
    for since, number, line in merged[:limit]:
        following[number] = (since, line.seq or 0)
    shown = tuple(line for _, _, line in merged[:limit])
    return Page(shown, following if len(merged) > limit else None)


def as_text(cursor: Cursor) -> str:
    """Write a cursor for a URL."""
    plain = {str(number): [since.isoformat(), seq] for number, (since, seq) in cursor.items()}
    return base64.urlsafe_b64encode(json.dumps(plain, separators=(",", ":")).encode()).decode().rstrip("=")


def from_text(text: str) -> Cursor:
    """Read what `as_text` wrote. Raises ValueError for anything else."""
    try:
        plain = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        found = {
            int(number): (_in_utc(datetime.fromisoformat(since)), int(seq)) for number, (since, seq) in plain.items()
        }
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        raise ValueError("this address names no page of the list. Begin at its first page.") from None
    if any(abs(seq) >= 2**63 for since, seq in found.values()):
        raise ValueError("this address names no page of the list. Begin at its first page.")
    return found


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return moment.astimezone(UTC)
