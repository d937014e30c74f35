"""Limits: at most so many tasks with a key are held at once, and at most so many are taken in any period.

Slots are counted from the tasks that workers hold. No counter can be left behind: when a dead worker's tasks are taken
back, their slots are free. For a rate, the key's row remembers when tasks were taken.

A worker locks the row of a key, counts in a statement of its own, and takes what the limit has room for, all in one
transaction. So two workers never fill the same room. All times are of the ledger's clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mirepoix.ledger.tx import Tx
from mirepoix.sql.columns import Row

CODE, OPERATOR = "code", "operator"
"""Who has set the values of a limit."""

KEPT_S = 3600.0
"""How long the row of a key stays that nobody uses."""

GRAINS = 50
"""Tasks that are taken within this part of a period are remembered together, and all count until the last of them is a
period old. So a key remembers at most about so many moments, and never allows too much."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a limit allows for each key: *running* tasks at once, and *rate* tasks in any *period_s* seconds."""

    running: int | None = None
    rate: int | None = None
    period_s: float | None = None

    def as_text(self) -> str:
        """Return the bounds as JSON, to compare and to store them."""
        return json.dumps([self.running, self.rate, self.period_s])

    @classmethod
    def from_text(cls, text: str | None) -> Bounds | None:
        """Return what `as_text` wrote."""
        return None if text is None else cls(*json.loads(text))


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit as the ledger has it. *code* are the bounds that the app's code has, if it has the limit."""

    name: str
    bounds: Bounds
    source: str
    code: Bounds | None
    changed_at: Any
    changed_by: str


@dataclass(frozen=True, slots=True)
class Room:
    """How many tasks of a key may be taken now. If it is none because of the rate, one may be taken in *next_in_s*."""

    tasks: int
    next_in_s: float | None = None


def name_of(key: str) -> str:
    """Return the name of the limit to which a key belongs."""
    return key.partition(":")[0]


def read(tx: Tx) -> dict[str, Limit]:
    """Return the limits by their names."""
    return {row.name: _limit(row) for row in tx.fetch("limits")}


def record(tx: Tx, declared: Mapping[str, Bounds], by: str) -> list[str]:
    """Record the limits of an app's code; return the names of those that changed. A person's values stay in force."""
    changed = []
    there = read(tx)
    for name, bounds in sorted(declared.items()):
        found = there.get(name)
        if found is not None and found.code == bounds:
            continue
        changed.append(name)
        values = {"running": bounds.running, "rate": bounds.rate, "period_s": bounds.period_s}
        if found is None:
            tx.run("add_limit", name=name, source=CODE, code=bounds.as_text(), by=by, **values)
            continue
        tx.run("note_limit_of_code", name=name, code=bounds.as_text())
        if found.source == CODE:
            tx.run("put_limit", name=name, source=CODE, by=by, **values)
    return changed


def put(tx: Tx, name: str, bounds: Bounds, by: str) -> None:
    """Set the values of a limit, as a person decided. They stay in force until `reset`."""
    values = {"running": bounds.running, "rate": bounds.rate, "period_s": bounds.period_s}
    if not tx.run("put_limit", name=name, source=OPERATOR, by=by, **values):
        tx.run("add_limit", name=name, source=OPERATOR, code=None, by=by, **values)


def reset(tx: Tx, limit: Limit, by: str) -> bool:
    """Let the values of the code count again; False if the code has no such limit, which is then removed."""
    if limit.code is None:
        tx.run("remove_limit", name=limit.name)
        return False
    bounds = limit.code
    values = {"running": bounds.running, "rate": bounds.rate, "period_s": bounds.period_s}
    tx.run("put_limit", name=limit.name, source=CODE, by=by, **values)
    return True


def remove(tx: Tx, name: str) -> bool:
    """Remove a limit. Tasks that wait at it have no limit from now on."""
    return bool(tx.run("remove_limit", name=name))


# ---- taking


def has_waiting(tx: Tx, queues: Sequence[str]) -> bool:
    """Return whether one of *queues* may have ready tasks with a limit."""
    return bool(tx.fetch("has_limited", queues=json.dumps(list(queues))))


def waiting_keys(tx: Tx, queue: str, after: str, most: int) -> list[str]:
    """Return the next keys with ready tasks in the queue, after the key *after*, in order."""
    found: list[str] = []
    while len(found) < most:
        asked = most - len(found)
        rows = tx.fetch("limited_keys", queue=queue, after=found[-1] if found else after, most=asked)
        found += [row.limit_key for row in rows]
        if not rows or (tx.dialect != "mysql" and len(rows) < asked):  # MySQL finds one at a time
            break
    return found


def add_keys(tx: Tx, keys: Sequence[str]) -> None:
    """Make the rows of these keys that are missing. A transaction that holds locks must not do this."""
    tx.run("add_limit_keys", keys=json.dumps(sorted(keys)), kept_s=KEPT_S)


def lock(tx: Tx, keys: Sequence[str]) -> dict[str, str | None]:
    """Lock the keys that nobody has locked; return them with what they remember."""
    return {row.id: row.starts for row in tx.fetch("lock_limit_keys", keys=json.dumps(list(keys)))}


def held(tx: Tx, keys: Iterable[str]) -> dict[str, int]:
    """Return how many tasks of each key workers hold."""
    return {row.limit_key: int(row.tasks) for row in tx.fetch("held_of_keys", keys=json.dumps(list(keys)))}


def rooms(tx: Tx, locked: Mapping[str, str | None], limits: Mapping[str, Limit], most: int) -> dict[str, Room]:
    """Return how many tasks of each locked key may be taken now, at most *most*; that many if it has no limit."""
    bounds = {key: limits[name_of(key)].bounds for key in locked if name_of(key) in limits}
    counted = [key for key, bound in bounds.items() if bound.running is not None]
    in_use = held(tx, counted) if counted else {}
    now = now_s(tx) if any(bound.rate is not None for bound in bounds.values()) else 0.0
    return {
        key: _room(bounds[key], in_use.get(key, 0), locked[key], now, most) if key in bounds else Room(most)
        for key in locked
    }


def _room(bounds: Bounds, in_use: int, starts: str | None, now: float, most: int) -> Room:
    tasks = most if bounds.running is None else min(most, bounds.running - in_use)
    if bounds.rate is None or bounds.period_s is None or tasks <= 0:
        return Room(max(0, tasks))
    by_rate = rate_room(starts, bounds.rate, bounds.period_s, now)
    return Room(min(tasks, by_rate.tasks), by_rate.next_in_s)


def note_taken(tx: Tx, taken: Mapping[str, int], locked: Mapping[str, str | None], limits: Mapping[str, Limit]) -> None:
    """Remember for the keys with a rate that so many of their tasks were taken now."""
    rated = {
        key: limits[name_of(key)].bounds
        for key in taken
        if name_of(key) in limits and limits[name_of(key)].bounds.rate is not None
    }
    if not rated:
        return
    now = now_s(tx)
    for key, bounds in rated.items():
        period_s = bounds.period_s or 0.0
        starts = with_starts(locked[key], taken[key], period_s, now)
        tx.run("note_limit_starts", key=key, starts=starts, kept_s=period_s + KEPT_S)


def keys_of(tx: Tx, task_ids: Sequence[str]) -> dict[str, str]:
    """Return the keys of those of the tasks that have a limit, by their ids."""
    return {row.id: row.limit_key for row in tx.fetch("limit_keys_of", ids=json.dumps(list(task_ids)))}


def admit(tx: Tx, task_ids: Sequence[str], keys: Mapping[str, str]) -> list[str]:
    """Return those of the tasks that their limits let through now. The caller takes them in this transaction."""
    limits = read(tx)
    locked = lock(tx, sorted({*keys.values()}))
    left = {key: room.tasks for key, room in rooms(tx, locked, limits, len(task_ids)).items()}
    admitted, counts = [], dict.fromkeys(left, 0)
    for task_id in task_ids:
        key = keys.get(task_id)
        if key is not None:
            if not left.get(key):
                continue
            left[key] -= 1
            counts[key] += 1
        admitted.append(task_id)
    note_taken(tx, {key: tasks for key, tasks in counts.items() if tasks}, locked, limits)
    return admitted


def now_s(tx: Tx) -> float:
    """Return the ledger's clock, in seconds since 1970."""
    return float(tx.fetch("now")[0].now_s)


def prune(tx: Tx) -> int:
    """Delete the rows of keys that nobody has used for a while."""
    return tx.run("prune_limit_keys")


# ---- the rate of a key


def rate_room(starts: str | None, rate: int, period_s: float, now: float) -> Room:
    """Return how many tasks a rate allows now, after these *starts*, and when it allows the next."""
    recent = _recent(starts, period_s, now)
    room = rate - sum(tasks for _, _, tasks in recent)
    if room > 0 or not recent:
        return Room(max(0, room))
    for _, last, tasks in recent:  # the oldest first
        room += tasks
        if room > 0:
            return Room(0, max(0.0, last + period_s - now))
    return Room(0, period_s)


def with_starts(starts: str | None, tasks: int, period_s: float, now: float) -> str:
    """Return *starts* with so many tasks that were taken now, and without those that are older than a period."""
    recent = _recent(starts, period_s, now)
    if recent and now - recent[-1][0] <= period_s / GRAINS:
        first, _, before = recent.pop()
        recent.append((first, now, before + tasks))
    else:
        recent.append((now, now, tasks))
    return json.dumps([[round(first, 3), round(last, 3) + 0.001, count] for first, last, count in recent])


def _recent(starts: str | None, period_s: float, now: float) -> list[tuple[float, float, int]]:
    """The first and the last moment of each grain of the last period, and how many tasks were taken between them.

    If the ledger's clock was set back, what it shows as later counts as taken now.
    """
    found = [] if starts is None else json.loads(starts)
    return [
        (min(first, now), min(last, now), int(tasks)) for first, last, tasks in found if min(last, now) + period_s > now
    ]


def _limit(row: Row) -> Limit:
    bounds = Bounds(row.running, row.rate, None if row.period_s is None else float(row.period_s))
    return Limit(row.name, bounds, row.source, Bounds.from_text(row.code), row.changed_at, row.changed_by)
