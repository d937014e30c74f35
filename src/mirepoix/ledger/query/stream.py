"""Read a long list of tasks in chunks, each in its own transaction, so that none stays open while the list is printed.

The list is not a snapshot. A task that changes its state between two chunks is listed in its old state, in its new
state, twice, or not at all. A task that does not change is listed once.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import islice

from mirepoix.ledger.query.tasks import Branch, Filters, Position, TaskLine, branches, chunk, search
from mirepoix.ledger.tx import Tx

AT_ONCE = 1_000
"""A list up to this long is read in one transaction."""

MOST_AT_ONCE = 16_000
"""The most tasks in a chunk. Each chunk sorts the waiting tasks again, so chunks grow."""

Reading = Callable[[], AbstractContextManager[Tx]]


def listed(
    reading: Reading, filters: Filters, limit: int, *, oldest_first: bool = False, with_arguments: bool = False
) -> Iterator[TaskLine]:
    """Return the tasks that match *filters*, the newest first (by ``since``), at most *limit*."""
    if limit <= AT_ONCE:
        with reading() as tx:
            found = search(tx, filters, limit, oldest_first=oldest_first, with_arguments=with_arguments)
        return iter(found)
    with reading() as tx:
        parts = branches(tx.dialect, filters)
    lines = (_of(reading, filters, branch, oldest_first, with_arguments) for branch in parts)
    return islice(heapq.merge(*lines, key=lambda line: line.since, reverse=not oldest_first), limit)


def _of(
    reading: Reading, filters: Filters, branch: Branch, oldest_first: bool, with_arguments: bool
) -> Iterator[TaskLine]:
    after: Position | None = None
    size = AT_ONCE
    while True:
        with reading() as tx:
            lines, after = chunk(
                tx, filters, branch, after, size, oldest_first=oldest_first, with_arguments=with_arguments
            )
        yield from lines
        if after is None:
            return
        size = min(2 * size, MOST_AT_ONCE)
