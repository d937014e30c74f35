"""Count failures in the groups of their causes: appended by whoever fails, counted by whoever comes by.

A group is one row, and an outage makes all workers fail by one cause. So the transaction of an outcome only appends to
``mirepoix_failure``; counting takes those rows away and adds them to their groups, in one transaction: each is counted
once, and one who dies amid it has counted nothing. Every worker counts, about once a second; so does whoever reads the
groups, or decides about one.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from itertools import zip_longest
from typing import Any, Protocol

from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.ledger.text import storable
from mirepoix.ledger.tx import Tx
from mirepoix.sql.columns import Row

AT_ONCE = 1_000
"""How many rows one transaction takes: it holds the groups' rows for some milliseconds."""


class Ledger(Protocol):
    """What `catch_up` needs: a connection, or a source of pooled ones."""

    def reading(self) -> AbstractContextManager[Tx]:
        """Begin a look that holds up nobody who writes."""

    def transaction(self) -> AbstractContextManager[Tx]:
        """Begin; commit on leaving, roll back on an exception."""


class Cause(Protocol):
    """What `note` needs of a fingerprint."""

    @property
    def id(self) -> str:
        """The group's."""

    @property
    def title(self) -> str:
        """The group's."""


def note(tx: Tx, failed: Iterable[tuple[str, str, Cause]], release: str | None) -> None:
    """Append failures, each as the task's id, its name and the cause. Nobody is waited for."""
    groups: dict[str, dict[str, Any]] = {}
    for task_id, name, cause in failed:
        group = groups.setdefault(cause.id, {"id": cause.id, "title": storable(cause.title), "failures": 0})
        group |= {"failures": group["failures"] + 1, "name": name, "last_task_id": task_id}
    if groups:
        tx.run("note_failures", rows=json.dumps(list(groups.values())), release=storable(release))


def is_behind(tx: Tx) -> bool:
    """Whether there are failures that no group has counted yet."""
    return tx.fetch("uncounted")[0].id is not None


def count(tx: Tx, most: int = AT_ONCE) -> int:
    """Count up to *most* rows of failures, but for those that somebody else is counting; return how many there were.

    What was recorded before a decision about its group is no news after it, whenever it is counted.
    """
    rows = sorted(tx.fetch("take_failures", most=most), key=lambda row: row.id)
    # Those of one group differ in their releases, and count one release after the other. The first statement locks
    # every group, in the order of their ids.
    for turn in zip_longest(*_by_group(rows)):
        tx.run("count_failures", rows=json.dumps([one for one in turn if one is not None]))
    return len(rows)


def count_all(ledger: Ledger, at_most: int | None = None) -> None:
    """Count what is not counted yet, in short transactions: all of it, or in *at_most* so many of them."""
    for number in itertools.count(1):
        with ledger.transaction() as tx:
            is_more = count(tx, AT_ONCE) == AT_ONCE
            reached(Crashpoint.COUNT_BEFORE_COMMIT)
        reached(Crashpoint.COUNT_AFTER_COMMIT)
        if not is_more or number == at_most:
            return


def catch_up(ledger: Ledger, excused: tuple[type[Exception], ...] = ()) -> None:
    """Look whether there is something to count, and count all of it. Where that raises what is *excused*, it stays."""
    with ledger.reading() as tx:
        has_more = is_behind(tx)
    if has_more:
        with suppress(*excused):
            count_all(ledger)


def _by_group(rows: Sequence[Row]) -> list[list[dict[str, Any]]]:
    """For each group, by its id, what to add to it: one for each release, in the order of their first failures."""
    groups: dict[str, dict[str | None, dict[str, Any]]] = {}
    for row in rows:
        id, release, at = row.failure_group, row.in_release, str(row.failed_at)
        found = groups.setdefault(id, {}).setdefault(
            release, {"id": id, "release": release, "failures": 0, "first_at": at, "last_at": at}
        )
        found["first_at"], found["last_at"] = min(found["first_at"], at), max(found["last_at"], at)
        found |= {"failures": found["failures"] + row.failures, "title": row.title, "name": row.name}
        found["last_task_id"] = row.task_id
    return [list(groups[id].values()) for id in sorted(groups)]
