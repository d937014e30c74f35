"""Record failures by their causes, in the transaction of the outcome; and record decisions about causes.

A failure is an attempt that failed for good, asked for a retry because of an exception, or was quarantined. These are
not failures: a death after which the task runs again, a retry without an exception, a rejection, a parked attempt, and
an attempt that was given back. The report of a lost attempt is refused before anything is recorded.

Each decision first counts the failures that are not counted yet (`mirepoix.ledger.counting`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mirepoix.fingerprint import fingerprint
from mirepoix.fingerprint.fingerprint import Fingerprint
from mirepoix.ledger import counting
from mirepoix.ledger.tx import Tx
from mirepoix.records import AttemptFailure
from mirepoix.sql.columns import Row

Causes = Mapping[str, Fingerprint]
"""The cause of each task's failure, by the task's id."""


@dataclass(frozen=True, slots=True)
class Ignoring:
    """How long a group is ignored. The first limit that is reached ends it. Without a limit nothing ends it."""

    for_s: float | None = None
    more: int | None = None
    per_hour: int | None = None


def causes(rows: Sequence[Row], failure: AttemptFailure) -> dict[str, Fingerprint]:
    """Return why each of *rows* failed. The statements of `finish` and `reap` return such rows."""
    found: dict[str, Fingerprint] = {}
    for row in rows:
        cause = fingerprint.of(
            task=row.name,
            reason=failure.reason,
            error_type=failure.error_type,
            traceback=failure.traceback,
            roots=sys.path,
        )
        if cause is not None:
            found[row.id] = cause
    return found


def note(tx: Tx, rows: Sequence[Row], causes: Causes, release: str | None) -> None:
    """Write the cause into each task's row, and append the rows that `counting` counts. It touches no shared row."""
    failed = [row for row in rows if row.id in causes]
    for row in failed:
        tx.run("note_failure_group", task_id=row.id, fence=row.fence, failure_group=causes[row.id].id)
    counting.note(tx, ((row.id, row.name, causes[row.id]) for row in failed), release)


def resolve(tx: Tx, group_id: str, by: str, note: str | None = None, in_release: str | None = None) -> bool:
    """Mark the cause as fixed. The next failure reopens the group as a regression.

    With *in_release*, failures in releases that have failed before do not, because their workers may still run.
    """
    counting.count(tx)
    return bool(tx.fetch("resolve_failure_group", id=group_id, resolved_in=in_release, decided_by=by, note=note))


def ignore(tx: Tx, group_id: str, by: str, until: Ignoring, note: str | None = None) -> bool:
    """Hide the group and send no alerts about it up to a limit of *until*. Its failures are still counted."""
    counting.count(tx)
    return bool(
        tx.fetch(
            "ignore_failure_group",
            id=group_id,
            for_s=until.for_s or 0.0,
            more=until.more or 0,
            per_hour=until.per_hour or 0,
            decided_by=by,
            note=note,
        )
    )


def prune(tx: Tx, older_than_s: float) -> None:
    """Delete older groups and replays without tasks. A later failure of the same cause begins a new group."""
    tx.run("prune_failure_groups", older_than_s=older_than_s)
    tx.run("prune_replays", older_than_s=older_than_s)


def reopen(tx: Tx, group_id: str, by: str, note: str | None = None) -> bool:
    """Undo `resolve` or `ignore`."""
    counting.count(tx)
    return bool(tx.fetch("reopen_failure_group", id=group_id, decided_by=by, note=note))
