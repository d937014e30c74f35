"""Change the limits of a ledger, and say what they are in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.ledger import holds, limits
from mirepoix.ledger.limits import Bounds, Limit
from mirepoix.ledger.tx import Connection, Tx
from mirepoix.operations.format import duration

T = TypeVar("T")

KIND = "limit"
"""The kind of what was done to a limit, among what was done to queues and others."""


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


def put(connection: Connection, limit: Limit, bounds: Bounds, by: str, reason: str = "") -> None:
    """Set the values of a limit, and record who did it. They stay in force until `reset`."""

    def act(tx: Tx) -> None:
        limits.put(tx, limit.name, bounds, by)
        _note(tx, "set", limit.name, by, f"{words(limit.bounds)} -> {words(bounds)}", reason)

    change(connection, act)


def reset(connection: Connection, limit: Limit, by: str, reason: str = "") -> bool:
    """Let the values of the code count again. False if the code has no such limit: then the limit is removed."""

    def act(tx: Tx) -> bool:
        is_there = limits.reset(tx, limit, by)
        _note(tx, "reset", limit.name, by, words(limit.code) if is_there and limit.code else "removed", reason)
        return is_there

    return change(connection, act)


def remove(connection: Connection, name: str, by: str) -> None:
    """Remove a limit, and record who did it."""

    def act(tx: Tx) -> None:
        if limits.remove(tx, name):
            _note(tx, "remove", name, by, "removed", "")

    change(connection, act)


def _note(tx: Tx, verb: str, name: str, by: str, what: str, reason: str) -> None:
    holds.note_act(tx, verb, KIND, name, by, f"{what}: {reason}" if reason else what)


def change(connection: Connection, act: Callable[[Tx], T]) -> T:
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
        by_weight = " by weight" if bounds.is_weighted else ""
        parts.append(f"{bounds.rate:,}{by_weight} in any {duration(bounds.period_s or 0.0)}")
    return " and ".join(parts) or "any number"
