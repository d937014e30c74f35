"""Steer workers from code: pause and resume a queue, a task's name, a limit or one of its keys, a worker or a release.

::

    import mirepoix.control

    mirepoix.control.pause(app, task="shop.pay", note="the bank is down")
    mirepoix.control.resume(app, task="shop.pay")

Every worker obeys within a second. What runs goes on. It is recorded who paused what, and why.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

from mirepoix.connect.source import BOUND_S
from mirepoix.ledger import holds
from mirepoix.ledger.holds import Hold, Kind
from mirepoix.operations import steering
from mirepoix.operations.decisions import decided_by

__all__ = ["Hold", "pause", "paused", "resume"]


def pause(
    app: Any,
    *,
    queue: str | None = None,
    task: str | None = None,
    limit: str | None = None,
    worker: str | None = None,
    release: str | None = None,
    by: str | None = None,
    note: str = "",
) -> bool:
    """Pause one of them, by its name. False: it was paused already, and stays paused by whom it was.

    *limit* is the name of a limit, or one of its keys: the name, a colon and a value, as `mirepoix why` shows it.
    A worker that is paused, by its own name or that of its release, finishes what it has and takes nothing more.
    *by* is recorded; the default is the user and the host of this process. The call commits at once, in a transaction
    of its own. Raises ValueError for anything but one name.
    """
    kind, value = _one(queue=queue, task=task, limit=limit, worker=worker, release=release)
    with closing(app.mirepoix.source.open(BOUND_S)) as connection:
        return steering.pause(connection, kind, value, decided_by(by), note)


def resume(
    app: Any,
    *,
    queue: str | None = None,
    task: str | None = None,
    limit: str | None = None,
    worker: str | None = None,
    release: str | None = None,
    by: str | None = None,
    note: str = "",
) -> bool:
    """Resume one of them. False: it was not paused. Tasks that were held are ready again when the call returns."""
    kind, value = _one(queue=queue, task=task, limit=limit, worker=worker, release=release)
    with closing(app.mirepoix.source.open(BOUND_S)) as connection:
        return steering.resume(connection, kind, value, decided_by(by), note)[0]


def paused(app: Any) -> list[Hold]:
    """Return what is paused, the oldest first."""
    with app.mirepoix.source.reading() as tx:
        return holds.read(tx)


def _one(**names: str | None) -> tuple[Kind, str]:
    given = [(Kind(kind), value) for kind, value in names.items() if value is not None]
    if len(given) != 1:
        raise ValueError(f"Give one of {', '.join(names)}.")
    return given[0]
