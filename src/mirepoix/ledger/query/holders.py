"""Which workers a filter means: looked up first, so that no search asks of each task by whom it was held."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from mirepoix.ledger.query.globs import is_glob, matches
from mirepoix.ledger.query.values import known_moment
from mirepoix.ledger.tx import Tx

MOST = 500
"""So many workers are named in a search; of more some will have held what is found first."""

SLACK = timedelta(hours=1)
"""What a worker held ended after the worker began, unless the ledger's clock was set back: by no more than this."""


@dataclass(frozen=True, slots=True)
class Holders:
    """The workers' ids, and when the first of them began (None: not known). Without ids there are no such tasks."""

    ids: tuple[str, ...]
    since: datetime | None = None


def holders(tx: Tx, worker: str | None) -> Holders | None:
    """The workers whose name is like *worker*, or whose id it is. None: any worker, or too many to be named.

    Of a worker that was pruned only the whole id finds what it held.
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
