"""Count failures in the groups of their causes. The failing task appends a row; another transaction counts it later.

A group is one row, and in an outage all workers fail by one cause. So the transaction of an outcome only appends to
``mirepoix_failure``. Counting deletes such rows and adds them to their groups in one transaction. So each failure is
counted once, and a process that dies in between has counted nothing. Every worker counts about once a second. Everybody
who reads the groups or decides about a group counts first.
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
"""The most rows that one transaction counts, so that it locks the groups for milliseconds only."""


class Ledger(Protocol):
    """What `catch_up` needs: a connection, or a source of pooled connections."""

    def reading(self) -> AbstractContextManager[Tx]:
        """Begin a transaction that reads and blocks no writer."""

    def transaction(self) -> AbstractContextManager[Tx]:
        """Begin a transaction. It commits at the end of the block, or rolls back on an exception."""


class Cause(Protocol):
    """What `note` needs of a fingerprint."""

    @property
    def id(self) -> str:
        """The group's id."""

    @property
    def title(self) -> str:
        """The group's title."""


def note(tx: Tx, failed: Iterable[tuple[str, str, Cause]], release: str | None) -> None:
    """Append failures: each is the task's id, its name and the cause. This waits for no lock."""
    groups: dict[str, dict[str, Any]] = {}
    for task_id, name, cause in failed:
        group = groups.setdefault(cause.id, {"id": cause.id, "title": storable(cause.title), "failures": 0})
        group |= {"failures": group["failures"] + 1, "name": name, "last_task_id": task_id}
    if groups:
        tx.run("note_failures", rows=json.dumps(list(groups.values())), release=storable(release))


def is_behind(tx: Tx) -> bool:
    """Return whether there are failures that no group has counted yet."""
    return tx.fetch("uncounted")[0].id is not None


def count(tx: Tx, most: int = AT_ONCE) -> int:
    """Count up to *most* rows of failures, except rows that another transaction is counting; return how many.

    A failure that was recorded before a decision about its group never reopens the group, even if it is counted later.
    """
    rows = sorted(tx.fetch("take_failures", most=most), key=lambda row: row.id)
    # Rows of one group differ in their releases, and each statement counts one release of each group. The first
    # statement locks every group, in the order of their ids.
    for turn in zip_longest(*_by_group(rows)):
        tx.run("count_failures", rows=json.dumps([added for added in turn if added is not None]))
    return len(rows)


def count_all(ledger: Ledger, at_most: int | None = None) -> None:
    """Count the uncounted failures in short transactions: all of them, or as many as *at_most* transactions count."""
    for number in itertools.count(1):
        with ledger.transaction() as tx:
            is_more = count(tx, AT_ONCE) == AT_ONCE
            reached(Crashpoint.COUNT_BEFORE_COMMIT)
        reached(Crashpoint.COUNT_AFTER_COMMIT)
        if not is_more or number == at_most:
            return


def catch_up(ledger: Ledger, excused: tuple[type[Exception], ...] = ()) -> None:
    """Count the uncounted failures, if there are any. If counting raises an *excused* error, they stay uncounted."""
    with ledger.reading() as tx:
        has_more = is_behind(tx)
    if has_more:
        with suppress(*excused):
            count_all(ledger)


def _by_group(rows: Sequence[Row]) -> list[list[dict[str, Any]]]:
    """Return for each group, sorted by id, what to add for each release, in the order of their first failures."""
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
