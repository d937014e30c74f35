"""Find the workers that a filter means before a search, so that it need not match the worker of each task."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from mirepoix.ledger.query.globs import is_glob, matches
from mirepoix.ledger.query.values import known_moment
from mirepoix.ledger.tx import Tx

MOST = 500
"""The most workers that a search names by their ids. With more, it matches the worker of each task."""

SLACK = timedelta(hours=1)
"""A worker's tasks ended after the worker began, unless the ledger's clock was set back. This is the tolerance."""


@dataclass(frozen=True, slots=True)
class Holders:
    """The workers' ids, and when the first of them began (None if unknown). Without ids there are no such tasks."""

    ids: tuple[str, ...]
    since: datetime | None = None


def holders(tx: Tx, worker: str | None) -> Holders | None:
    """Return the workers with a name that matches *worker*, or with that id. None: any worker, or too many to name.

    For a pruned worker only the whole id finds its tasks.
    """
    if worker is None:
        return None
    condition, glob = matches("w.name", "worker_glob", worker, tx.dialect)
    rows = tx.query(
        f"SELECT w.id, w.started_at FROM mirepoix_worker AS w WHERE {condition} OR w.id = :worker LIMIT :most",  # noqa: S608
        worker_glob=glob,
        worker=worker,
        most=MOST + 1,
    )
    if len(rows) > MOST:
        return None
    ids = tuple(row.id for row in rows)
    if not ids:
        return Holders(() if is_glob(worker) else (worker,))
    return Holders(ids, min(known_moment(row.started_at) for row in rows) - SLACK)
