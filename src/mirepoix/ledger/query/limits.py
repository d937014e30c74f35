"""Read what the limits say now: of a waiting task, and of the keys that are in use."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mirepoix.ledger import limits
from mirepoix.ledger.limits import Limit, Room
from mirepoix.ledger.tx import Tx

HOLDERS_SHOWN = 5
"""The most tasks that are shown of those that have a slot."""

AHEAD_MOST = 10_000
"""The most tasks of the same key that are counted before a task."""

KEYS_MOST = 200
"""The most keys with ready tasks that are looked at in each queue and range."""

WALKED = 50
"""How many of them are read at once."""

READY_MOST = 1_000
"""The most ready tasks of a key that are counted in a queue."""

_NONE: Mapping[str, Any] = {}

_LAST = "\U0010ffff"
"""A letter behind every other."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A task that has a slot, and the worker that holds it."""

    task_id: str
    worker_id: str | None


@dataclass(frozen=True, slots=True)
class OfKey:
    """Something about one key of a limit."""

    key: str

    @property
    def name(self) -> str:
        """The name of the limit."""
        return limits.name_of(self.key)

    @property
    def value(self) -> str:
        """The value for which the limit counts; empty if it counts all tasks together."""
        return self.key.partition(":")[2]


@dataclass(frozen=True, slots=True)
class AtLimit(OfKey):
    """A task with a limit. *limit* is None if the ledger has no such limit, so that the task has none."""

    limit: Limit | None
    in_use: int
    holders: tuple[Holder, ...]
    rate: Room
    """What the rate of the limit allows now."""
    ahead: int
    """How many tasks of the same key and queue are taken before it."""


def at_limit(tx: Tx, task_id: str) -> AtLimit | None:
    """Return what the task's limit says now; None if the task has no limit."""
    rows = tx.fetch("limit_of_task", task_id=task_id)
    if not rows:
        return None
    (row,) = rows
    key = row.limit_key
    limit = limits.read(tx).get(limits.name_of(key))
    holders = tx.fetch("holders_of_key", key=key, most=HOLDERS_SHOWN)
    (ahead,) = tx.fetch("ahead_of_key", queue=row.queue, key=key, priority=row.priority, seq=row.seq, cap=AHEAD_MOST)
    return AtLimit(
        key,
        limit,
        limits.held(tx, [key]).get(key, 0),
        tuple(Holder(holder.id, holder.worker_id) for holder in holders),
        _rate(limit, row.starts, limits.now_s(tx), json.loads(row.headers)),
        int(ahead.tasks),
    )


@dataclass(frozen=True, slots=True)
class KeyInUse(OfKey):
    """A key that workers hold tasks of, or that has ready tasks. *limit* is None if the ledger has no such limit."""

    limit: Limit | None
    held: int
    ready: int
    """At most `READY_MOST` are counted in each queue."""
    rate: Room
    """What the rate of the limit allows now."""

    @property
    def is_full(self) -> bool:
        """Whether none of its tasks may be taken now."""
        return self.limit is not None and (_is_full(self.limit, self.held) or not self.rate.tasks)


@dataclass(frozen=True, slots=True)
class KeysInUse:
    """Some of the keys that are in use: first those without room for one more task, then those with ready tasks.

    *more* are not among *shown*. *has_more* says that there may be others besides, which nobody has counted. *full* and
    *held* are by limit: how many keys have no room for one more at once, and how many tasks workers hold.
    """

    shown: tuple[KeyInUse, ...]
    more: int
    has_more: bool
    full: Mapping[str, int]
    held: Mapping[str, int]


def keys_in_use(
    tx: Tx, queues: Sequence[str], known: Mapping[str, Limit], most: int, name: str = "", value: str = ""
) -> KeysInUse:
    """Return at most *most* keys that are in use. With *name* only those of that limit, with values that begin so.

    The cost grows with the tasks that workers hold and the keys that are looked at, and not with the backlog, except on
    MySQL and MariaDB: there it grows with the backlog of the keys that are shown.
    """
    held: dict[str, int] = {}
    waiting: dict[str, None] = {}
    has_more = False
    for first, last in _ranges(name, value):
        held |= {row.limit_key: int(row.tasks) for row in tx.fetch("held_keys", first=first, last=last)}
        for queue in queues:
            found = _waiting(tx, queue, first, last)
            has_more = has_more or len(found) > KEYS_MOST
            waiting |= dict.fromkeys(found[:KEYS_MOST])
    full = [
        key
        for key in {**held, **waiting}
        if (limit := known.get(limits.name_of(key))) is not None and _is_full(limit, held.get(key, 0))
    ]
    ordered = list(dict.fromkeys([*sorted(full), *sorted(waiting), *sorted(held)]))
    shown = _read_keys(tx, ordered[:most], queues, known, held)
    shown.sort(key=lambda one: (not one.is_full, -one.ready, -one.held, one.key))
    return KeysInUse(tuple(shown), len(ordered[most:]), has_more, _by_name(dict.fromkeys(full, 1)), _by_name(held))


def ready_tasks(tx: Tx, queues: Iterable[str], value: str) -> int:
    """Return how many ready tasks a key has in these queues, or a limit with all its keys.

    At most `READY_MOST` of a key and queue are counted, and of a limit about `KEYS_MOST` keys in each queue.
    """
    found = 0
    for queue in queues:
        keys = [value]
        if value == limits.name_of(value):
            keys = [key for first, last in _ranges(value, "") for key in _waiting(tx, queue, first, last)]
        rows = tx.fetch("ready_of_keys", queue=queue, keys=json.dumps(keys), cap=READY_MOST) if keys else []
        found += sum(int(row.tasks) for row in rows)
    return found


def _ranges(name: str, value: str) -> list[tuple[str, str]]:
    """Return where the keys begin and end: all of them, or those of a limit. One that has no values has its name."""
    if not name:
        return [("", _LAST)]
    return [*([] if value else [(name, name)]), (f"{name}:{value}", f"{name}:{value}{_LAST}")]


def _waiting(tx: Tx, queue: str, first: str, last: str) -> list[str]:
    """Return the keys from *first* to *last* with ready tasks in the queue. More than `KEYS_MOST` are not all there."""
    found: list[str] = []
    if first and tx.fetch("ready_of_keys", queue=queue, keys=json.dumps([first]), cap=1)[0].tasks:
        found.append(first)
    after = first
    while after < last and len(found) <= KEYS_MOST:
        walked = limits.waiting_keys(tx, queue, after, WALKED)
        found += [key for key in walked if key <= last]
        after = walked[-1] if len(walked) == WALKED else last
    return found


def _read_keys(
    tx: Tx, keys: Sequence[str], queues: Sequence[str], known: Mapping[str, Limit], held: Mapping[str, int]
) -> list[KeyInUse]:
    text = json.dumps(list(keys))
    ready = dict.fromkeys(keys, 0)
    for queue in queues:
        for row in tx.fetch("ready_of_keys", queue=queue, keys=text, cap=READY_MOST):
            ready[row.limit_key] += int(row.tasks)
    starts = {row.id: row.starts for row in tx.fetch("starts_of_keys", keys=text)}
    now = limits.now_s(tx)
    return [
        KeyInUse(key, limit, held.get(key, 0), ready[key], _rate(limit, starts.get(key), now))
        for key in keys
        for limit in (known.get(limits.name_of(key)),)
    ]


def _rate(limit: Limit | None, starts: str | None, now: float, headers: Mapping[str, Any] = _NONE) -> Room:
    if limit is None or limit.bounds.rate is None or limit.bounds.period_s is None:
        return Room(1)
    weight = limits.weight_of(headers, limit.bounds.rate) if limit.bounds.is_weighted else 1
    return limits.rate_room(starts, limit.bounds.rate, limit.bounds.period_s, now, weight)


def _is_full(limit: Limit, held: int) -> bool:
    return limit.bounds.running is not None and held >= limit.bounds.running


def _by_name(numbers: Mapping[str, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, number in numbers.items():
        found[limits.name_of(key)] = found.get(limits.name_of(key), 0) + number
    return found


def waiting_names(tx: Tx, queues: Iterable[str]) -> set[str]:
    """Return the names of the limits that have ready tasks in these queues. It reads one task of each name."""
    found: set[str] = set()
    for queue in queues:
        after = ""
        while keys := limits.waiting_keys(tx, queue, after, 1):
            name = limits.name_of(keys[0])
            found.add(name)
            after = keys[0] if keys[0] == name else f"{name}:{_LAST}"
    return found
