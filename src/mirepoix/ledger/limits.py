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
from itertools import accumulate
from typing import Any

from mirepoix.ledger.tx import Tx
from mirepoix.records import WEIGHT_HEADER
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
    is_weighted: bool = False
    """Whether *rate* is a sum of weights, and not a number of tasks."""

    def as_text(self) -> str:
        """Return the numbers as JSON, to store them. Older workers read them too, so nothing can be added."""
        return json.dumps([self.running, self.rate, self.period_s])

    @classmethod
    def from_text(cls, text: str | None, *, is_weighted: bool = False) -> Bounds | None:
        """Return what `as_text` wrote."""
        if text is None:
            return None
        running, rate, period_s = json.loads(text)
        return cls(running, rate, period_s, is_weighted)


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
    """How many tasks of a key may be taken now. If it is none because of the rate, one may be taken in *next_in_s*.

    *weight* is how much they may weigh together; None if they have no weights.
    """

    tasks: int
    next_in_s: float | None = None
    weight: int | None = None


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
        of_code = {"code": bounds.as_text(), "is_weighted": int(bounds.is_weighted)}
        if found is None:
            tx.run("add_limit", name=name, source=CODE, by=by, **of_code, **values)
            continue
        tx.run("note_limit_of_code", name=name, **of_code)
        if found.source == CODE:
            tx.run("put_limit", name=name, source=CODE, by=by, **values)
    return changed


def put(tx: Tx, name: str, bounds: Bounds, by: str) -> None:
    """Set the values of a limit, as a person decided. They stay in force until `reset`."""
    values = {"running": bounds.running, "rate": bounds.rate, "period_s": bounds.period_s}
    if not tx.run("put_limit", name=name, source=OPERATOR, by=by, **values):
        tx.run("add_limit", name=name, source=OPERATOR, code=None, is_weighted=0, by=by, **values)


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
    if bounds.is_weighted:
        return Room(tasks, weight=rate_left(starts, bounds.rate, bounds.period_s, now))
    by_rate = rate_room(starts, bounds.rate, bounds.period_s, now)
    return Room(min(tasks, by_rate.tasks), by_rate.next_in_s)


def weight_of(headers: Mapping[str, Any], rate: int | None) -> int:
    """Return how much a task with these headers counts towards a rate. No task counts for more than all of the rate."""
    weight = headers.get(WEIGHT_HEADER, 1)
    return min(weight, rate) if isinstance(weight, int) and weight >= 0 and rate is not None else 1


def fitting(tx: Tx, met: Sequence[tuple[str, str]], rooms: Mapping[str, Room], locked: Mapping[str, str | None],
            limits: Mapping[str, Limit], *, may_be_suspect: bool) -> dict[str, Room]:  # fmt: skip
    """Return the rooms of those of the keys that have weights, with as many tasks as fit.

    The tasks are taken in their order. A light task does not pass a heavy one that has no room yet.
    """
    rows = [(queue, key, rooms[key].tasks) for queue, key in met if key in rooms and rooms[key].weight is not None]
    rows = [(queue, key, tasks) for queue, key, tasks in rows if tasks]
    if not rows:
        return {}
    params: dict[str, Any] = {"suspects": int(may_be_suspect)}
    if tx.dialect == "mysql":
        params["gates"] = json.dumps([f"w{queue}\n{key}" for queue, key, _ in rows])
    else:
        listed = [{"queue": queue, "limit_key": key, "room": tasks} for queue, key, tasks in rows]
        params["rows"] = json.dumps(listed)
    if tx.dialect != "postgresql":
        params["most"] = max(tasks for *_, tasks in rows)
    waiting: dict[str, list[Row]] = {}
    for row in sorted(tx.fetch("headers_of_waiting", **params), key=lambda row: (-int(row.priority), int(row.seq))):
        waiting.setdefault(row.limit_key, []).append(row)
    now = now_s(tx)
    return {
        key: _fitting(
            [weight_of(json.loads(row.headers), limits[name_of(key)].bounds.rate) for row in waiting.get(key, ())],
            rooms[key],
            limits[name_of(key)].bounds,
            locked[key],
            now,
        )
        for _, key, _ in rows
    }


def _fitting(weights: Sequence[int], room: Room, bounds: Bounds, starts: str | None, now: float) -> Room:
    left = room.weight or 0
    fits = sum(total <= left for total in accumulate(weights[: room.tasks]))
    if fits or not weights:
        return Room(fits, weight=left)
    awaited = rate_room(starts, bounds.rate or 0, bounds.period_s or 0.0, now, weights[0])
    return Room(0, awaited.next_in_s or 0.0, left)


def note_taken(tx: Tx, taken: Mapping[str, int], locked: Mapping[str, str | None], limits: Mapping[str, Limit]) -> None:
    """Remember for the keys with a rate that so many of their tasks, or so much weight, were taken now."""
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
    weights = _weights(tx, task_ids, limits)
    locked = lock(tx, sorted({*keys.values()}))
    found = rooms(tx, locked, limits, len(task_ids))
    left = {key: room.tasks for key, room in found.items()}
    admitted, counts = [], dict.fromkeys(left, 0)
    for task_id in task_ids:
        key = keys.get(task_id)
        if key is not None:
            weight = weights.get(task_id, 1)
            most = None if key not in found else found[key].weight
            if not left.get(key) or (most is not None and counts[key] + weight > most):
                continue
            left[key] -= 1
            counts[key] += weight
        admitted.append(task_id)
    note_taken(tx, {key: tasks for key, tasks in counts.items() if tasks}, locked, limits)
    return admitted


def _weights(tx: Tx, task_ids: Sequence[str], limits: Mapping[str, Limit]) -> dict[str, int]:
    if not any(limit.bounds.is_weighted for limit in limits.values()):
        return {}
    found = {}
    for row in tx.fetch("limit_keys_of", ids=json.dumps(list(task_ids))):
        limit = limits.get(name_of(row.limit_key))
        if limit is not None and limit.bounds.is_weighted:
            found[row.id] = weight_of(json.loads(row.headers), limit.bounds.rate)
    return found


def now_s(tx: Tx) -> float:
    """Return the ledger's clock, in seconds since 1970."""
    return float(tx.fetch("now")[0].now_s)


def prune(tx: Tx) -> int:
    """Delete the rows of keys that nobody has used for a while."""
    return tx.run("prune_limit_keys")


# ---- the rate of a key


def rate_left(starts: str | None, rate: int, period_s: float, now: float) -> int:
    """Return how much of a rate is left now, after these *starts*."""
    return max(0, rate - sum(tasks for _, _, tasks in _recent(starts, period_s, now)))


def rate_room(starts: str | None, rate: int, period_s: float, now: float, weight: int = 1) -> Room:
    """Return how many tasks a rate allows now, after these *starts*, and when it allows one of this *weight*."""
    recent = _recent(starts, period_s, now)
    room = rate - sum(tasks for _, _, tasks in recent)
    if room >= weight or not recent:
        return Room(max(0, room))
    for _, last, tasks in recent:  # the oldest first
        room += tasks
        if room >= weight:
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
    is_weighted = bool(row.is_weighted)
    period_s = None if row.period_s is None else float(row.period_s)
    code = Bounds.from_text(row.code, is_weighted=is_weighted)
    bounds = Bounds(row.running, row.rate, period_s, is_weighted)
    return Limit(row.name, bounds, row.source, code, row.changed_at, row.changed_by)
