"""Change the limits of a ledger, and say what they are in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from mirepoix.connect.source import OwnConnection
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.ledger import limits
from mirepoix.ledger.limits import Bounds
from mirepoix.ledger.tx import Tx
from mirepoix.operations.format import duration

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LimitLine:
    """One limit. *drift* says in words where the values in force differ from the app's code."""

    name: str
    running: int | None
    rate: int | None
    period_s: float | None
    source: str
    changed_by: str
    drift: str | None = None


def change(connection: OwnConnection, act: Callable[[Tx], T]) -> T:
    """Do *act* in a transaction of its own. Workers follow within a second."""
    with connection.transaction() as tx:
        done = act(tx)
        reached(Crashpoint.LIMITS_BEFORE_COMMIT)
    reached(Crashpoint.LIMITS_AFTER_COMMIT)
    return done


def lines(tx: Tx) -> list[LimitLine]:
    """Return the limits of the ledger."""
    found = []
    for limit in limits.read(tx).values():
        drift = None
        if limit.source == limits.OPERATOR and limit.code is not None and limit.code != limit.bounds:
            drift = f"the code says {words(limit.code)}"
        bounds = limit.bounds
        line = LimitLine(
            limit.name, bounds.running, bounds.rate, bounds.period_s, limit.source, limit.changed_by, drift
        )
        found.append(line)
    return found


def words(bounds: Bounds) -> str:
    """Return what a limit allows for each key, in words."""
    parts = [] if bounds.running is None else [f"{bounds.running:,} at once"]
    if bounds.rate is not None:
        parts.append(f"{bounds.rate:,} in any {duration(bounds.period_s or 0.0)}")
    return " and ".join(parts) or "any number"
