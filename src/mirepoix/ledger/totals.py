"""Count the attempts that ended, and keep their numbers when their tasks are pruned.

An attempt that ended never changes, so its numbers are read from its row. `fold` adds them to ``mirepoix_total`` in the
transaction that deletes the row. So at any moment the totals and the rows together are every attempt that ever ended,
once. A process that dies in between has pruned nothing. Nothing is written when a task runs.

Not counted: attempts that were given back before they began. They leave no row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from mirepoix.ledger.rows import batches
from mirepoix.ledger.tx import Tx
from mirepoix.sql.buckets import UNKNOWN
from mirepoix.sql.columns import Row


class Kind(StrEnum):
    """What a row of ``mirepoix_total`` counts."""

    RUN = "run"  # attempts by task, queue, outcome and bucket of the running time
    WAIT = "wait"  # attempts by queue and bucket of the waiting time


@dataclass(frozen=True, slots=True)
class Key:
    """What attempts are counted by. For `Kind.WAIT` *name* and *outcome* are empty."""

    kind: Kind
    name: str
    queue: str
    outcome: str
    bucket: int

    @property
    def id(self) -> str:
        """The key of the row: a text of fixed length, because names have no limit."""
        words = json.dumps([self.kind, self.name, self.queue, self.outcome, self.bucket])
        return hashlib.sha256(words.encode()).hexdigest()


@dataclass(slots=True)
class Tally:
    """Numbers of attempts and the sums of their times in microseconds, by `Key`."""

    attempts: dict[Key, int] = field(default_factory=dict)
    microseconds: dict[Key, int] = field(default_factory=dict)

    def add(self, key: Key, attempts: int, microseconds: int) -> None:
        """Add attempts of one key."""
        self.attempts[key] = self.attempts.get(key, 0) + attempts
        self.microseconds[key] = self.microseconds.get(key, 0) + microseconds

    def __add__(self, other: Tally) -> Tally:
        """Return the sum as a new tally."""
        found = Tally(dict(self.attempts), dict(self.microseconds))
        for key, attempts in other.attempts.items():
            found.add(key, attempts, other.microseconds[key])
        return found


def fold(tx: Tx, task_ids: Sequence[str]) -> None:
    """Add the attempts of these tasks to the totals. The same transaction deletes the tasks and has locked them."""
    rows = tx.fetch("tally_of", ids=json.dumps(list(task_ids)))
    if not rows:
        return
    newest_at = max(str(row.newest_at) for row in rows)
    tally = _tally(rows)
    found = sorted((key.id, key) for key in tally.attempts)
    for batch in batches(_as_row(id, key, tally, newest_at) for id, key in found):
        tx.run("add_totals", rows=batch)


def folded(tx: Tx) -> Tally:
    """Return the attempts of the tasks that were pruned."""
    tally = Tally()
    for row in tx.fetch("totals"):
        key = Key(Kind(row.kind), row.name, row.queue, row.outcome, row.bucket)
        tally.add(key, int(row.attempts), int(row.microseconds))
    return tally


def kept(tx: Tx, until: object) -> tuple[Tally, Tally]:
    """Return the attempts that have a row: those that ended before *until*, and the others. It reads both tables."""
    return _split(tx.fetch("tally_all", until_at=until))


def moment_ago(tx: Tx, age_s: float) -> object:
    """Return a moment by the ledger's clock, for `since` and `was_pruned_since`."""
    return tx.fetch("moment_ago", age_s=age_s)[0].moment


def since(tx: Tx, moment: object, until: object) -> tuple[Tally, Tally]:
    """Return the attempts with a row that ended at *moment* or later: those before *until*, and the others."""
    return _split(tx.fetch("tally_since", since_at=moment, until_at=until))


def was_pruned_since(tx: Tx, moment: object) -> bool:
    """Return whether attempts were pruned that ended at *moment* or later."""
    return bool(tx.fetch("pruned_since", since_at=moment)[0].totals)


def _split(rows: Sequence[Row]) -> tuple[Tally, Tally]:
    return _tally(row for row in rows if row.is_settled), _tally(row for row in rows if not row.is_settled)


def _tally(rows: Iterable[Row]) -> Tally:
    tally = Tally()
    for row in rows:
        attempts = int(row.attempts)
        run = Key(Kind.RUN, row.name, row.queue, str(row.outcome), int(row.run_bucket))
        tally.add(run, attempts, int(row.run_us))
        if row.wait_bucket != UNKNOWN:
            tally.add(Key(Kind.WAIT, "", row.queue, "", int(row.wait_bucket)), attempts, int(row.wait_us))
    return tally


def _as_row(id: str, key: Key, tally: Tally, newest_at: str) -> dict[str, object]:
    return {
        "id": id,
        "kind": key.kind,
        "name": key.name,
        "queue": key.queue,
        "outcome": key.outcome,
        "bucket": key.bucket,
        "attempts": tally.attempts[key],
        "microseconds": tally.microseconds[key],
        "newest_at": newest_at,
    }
