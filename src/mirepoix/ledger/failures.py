"""Note failures by their causes, in the transaction that records them; and what people decide about a cause.

A failure is an attempt that ended in an error: it failed for good, or asked for another try because of an exception, or
was quarantined. A death after which the task runs again is none (its third is), nor is a retry without an exception, a
rejection, what was parked or given back. What a lost attempt reports is refused before anything is noted.

Whoever decides counts first what is not counted yet (`mirepoix.ledger.counting`).
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
    """How long a group is ignored: any of these ends it, and without one nothing does."""

    for_s: float | None = None
    more: int | None = None
    per_hour: int | None = None


def causes(rows: Sequence[Row], failure: AttemptFailure) -> dict[str, Fingerprint]:
    """Why each of *rows* failed: as the statements of `finish` and `reap` return them."""
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
    """Note the cause on each task, and append what `counting` counts. Nobody else's row is touched."""
    failed = [row for row in rows if row.id in causes]
    for row in failed:
        tx.run("note_failure_group", task_id=row.id, fence=row.fence, failure_group=causes[row.id].id)
    counting.note(tx, ((row.id, row.name, causes[row.id]) for row in failed), release)


def resolve(tx: Tx, group_id: str, by: str, note: str | None = None, in_release: str | None = None) -> bool:
    """Say that its cause is mended. The next failure opens it again, as a regression.

    With *in_release* failures in the releases that were seen to have it do not: their workers still run for a while.
    """
    counting.count(tx)
    return bool(tx.fetch("resolve_failure_group", id=group_id, resolved_in=in_release, decided_by=by, note=note))


def ignore(tx: Tx, group_id: str, by: str, until: Ignoring, note: str | None = None) -> bool:
    """Do not list it, nor tell of it, until *until* is over. It is counted all the same."""
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
    """Forget groups, and replays, of longer ago that no task is left of. What fails by them later is a new group."""
    tx.run("prune_failure_groups", older_than_s=older_than_s)
    tx.run("prune_replays", older_than_s=older_than_s)


def reopen(tx: Tx, group_id: str, by: str, note: str | None = None) -> bool:
    """Take back that it is resolved or ignored."""
    counting.count(tx)
    return bool(tx.fetch("reopen_failure_group", id=group_id, decided_by=by, note=note))
