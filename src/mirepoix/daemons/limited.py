"""Take tasks with limits for one worker: which keys it looks at next, and when it looks again after it found no room.

The keys take turns. The worker walks over the keys that have waiting tasks, and takes an equal part of each that has
room. So the backlog of one key blocks no other. It remembers for each queue where it is. If no key has room, it looks
again when one of its own tasks with a limit ends, when a notification comes, when a rate allows the next task, and
after `LOOK_S` in any case.

A paused key has no room. The consumer's loop uses all this. The maintenance thread only sets `is_in_use`, and calls
`look_now` and `follow`.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from mirepoix.connect.source import OwnConnection
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.daemons.held import HeldLeases
from mirepoix.ledger import finish, limits, take
from mirepoix.ledger.limits import Limit, Room
from mirepoix.ledger.tx import Tx
from mirepoix.records import Taken

LOOK_S = 1.0
"""How soon a worker looks again after it found no room."""

LOOK_WITHOUT_NOTIFICATIONS_S = 0.1
"""The same in MariaDB and MySQL, where no notification comes when another worker's task ends."""

LOOK_AT_LOCKED_S = 0.02
"""The same if another worker was just taking tasks of a key."""

READ_S = 1.0
"""How long a worker uses what it has read of the limits."""

MET_AT_ONCE = 32
"""The most keys that a worker looks at in one transaction. Each gets an equal part of what it wants."""

MET_WITHOUT_LATERAL = 16
"""The same in MariaDB and MySQL, where each key costs two statements."""

BEGIN_AMONG = 8
"""A worker that has just started begins at any key of so many looks. If all began at the first one, restarts would
favour the first keys."""

LOCKED_AT_ONCE = 16
"""So many keys are looked at together, because some of them may be full."""

KNOWN_MOST = 20_000
"""The most keys of which a worker remembers that they have rows."""

OTHERS_S = 0.05
"""If no task without a limit waited, how long a worker may fill its batches with tasks that have limits."""

ROUND_AGAIN_S = 0.1
"""A worker that is woken does not go over keys without room again so soon."""

Met = tuple[str, str]
"""A queue, and a key that has tasks waiting in it."""

Take = Callable[..., list[Taken]]


class Limited:
    """What one worker knows of the tasks with limits in its queues."""

    def __init__(self, held: HeldLeases, *, has_notifications: bool) -> None:
        self._held = held
        self._look_s = LOOK_S if has_notifications else LOOK_WITHOUT_NOTIFICATIONS_S
        self.is_in_use = False
        """Whether the code has limits, or a task with a limit waited at the last look of the maintenance."""
        self.looks = 0
        """How often it has looked for room."""
        self._look_at: float | None = None
        """When to look for room again, by the monotonic clock. None: no task with a limit is known to wait."""
        self._is_paused: Callable[[str], bool] = lambda _: False
        self.hold: Callable[[Tx, Sequence[Taken]], list[Taken]] = lambda _, taken: list(taken)
        """Puts tasks with a paused name back, before they count towards a rate; returns the others."""
        self._limits: dict[str, Limit] = {}
        self._read_at: float | None = None
        self._known: dict[str, None] = {}
        self._cursors: dict[str, str] = {}
        self._met: list[Met] | None = None
        """The keys to look at in the next transaction. None: no look."""
        self._passed: set[str] = set()
        """The keys that had nothing to take since the worker last took a task with a limit."""
        self._round_began_at = 0.0
        self._next_in_s: float | None = None
        """When a rate allows the next task of these keys."""
        self._was_locked = False
        """Whether another worker had locked one of these keys."""
        self._had_others = True
        """Whether the last take without limits found a task."""
        self._others_looked_at = 0.0
        self._is_first = False
        """Whether a single place goes to a task with a limit."""

    @property
    def is_due(self) -> bool:
        """Whether a look may find room now."""
        if not self.is_in_use:
            return False
        return bool(self._held.freed) or (self._look_at is not None and time.monotonic() >= self._look_at)

    @property
    def has_met(self) -> bool:
        """Whether `meet` found keys, which the next `take` looks at."""
        return bool(self._met)

    @property
    def look_in_s(self) -> float | None:
        """In how many seconds a look is due by time; None if none is."""
        return None if self._look_at is None or not self.is_in_use else self._look_at - time.monotonic()

    def look_now(self) -> None:
        """Let the worker look: tasks with limits wait."""
        self.is_in_use = True
        if self._look_at is None:
            self._look_at = time.monotonic()

    def follow(self, is_paused: Callable[[str], bool]) -> None:
        """Take no tasks with keys for which *is_paused* is true, and look at once for those with other keys."""
        self._is_paused = is_paused
        self._look_at = time.monotonic()

    def rest(self) -> None:
        """Look for no room until `look_now`: the worker takes nothing, because it stops or its queues are paused."""
        self._look_at = None
        self._held.take_freed()

    # ---- which keys

    def meet(self, connection: OwnConnection, queues: Sequence[str]) -> None:
        """Find the keys to look at in the next transaction, and make their rows if they are new.

        This is outside of that transaction, because two workers that make the same row wait for each other.
        """
        self._met = None
        if not self.is_in_use:
            return
        now = time.monotonic()
        is_over = self._passed and self._look_at is not None and self._look_at > now  # all keys were without room
        if is_over and not self._held.freed and now - self._round_began_at < ROUND_AGAIN_S:
            return
        if now - self._round_began_at >= ROUND_AGAIN_S and (is_over or self._look_at is None):
            self._begin_round(now)
        with connection.statements() as tx:
            most = MET_WITHOUT_LATERAL if tx.dialect == "mysql" else MET_AT_ONCE
            by_queue = [[(queue, key) for key in self._next_keys(tx, queue, most)] for queue in queues]
        in_turns = (keys[turn] for turn in range(most) for keys in by_queue if turn < len(keys))
        met: dict[str, Met] = {}
        for queue, key in in_turns:
            met.setdefault(key, (queue, key))
        self._met = [*met.values()][:most]
        new = [key for _, key in self._met if key not in self._known]
        if new:
            make_rows(connection, new)
            if len(self._known) > KNOWN_MOST:
                self._known.clear()
            self._known.update(dict.fromkeys(new))

    def _next_keys(self, tx: Tx, queue: str, most: int) -> list[str]:
        if queue not in self._cursors:
            keys = limits.waiting_keys(tx, queue, "", BEGIN_AMONG * most)
            self._cursors[queue] = random.choice(keys) if len(keys) > most else ""
        after = self._cursors[queue]
        found = limits.waiting_keys(tx, queue, after, most)
        if after and len(found) < most:
            found += limits.waiting_keys(tx, queue, "", most - len(found))
        # If nothing else had room, the keys of what has just ended here go first.
        first = [key for key in dict.fromkeys(self._held.freed) if key in self._passed]
        return list(dict.fromkeys([*first, *found]))[:most]

    def _begin_round(self, now: float) -> None:
        self._passed.clear()
        self._round_began_at, self._next_in_s, self._was_locked = now, None, False

    # ---- taking

    def take(
        self, tx: Tx, worker_id: str, queues: Sequence[str], batch: int, take_others: Take, *, may_be_suspect: bool
    ) -> list[Taken]:
        """Take up to *batch* tasks: of the keys that `meet` found, and by *take_others*. Both get a part of the batch.

        At most one of them is a suspect, and none without *may_be_suspect*.
        """
        met, self._met = self._met, None
        freed = self._held.take_freed()
        if not met:
            if met is not None:
                self._look_at = None
                self._passed.clear()
            return take_others(tx, worker_id, queues, batch, may_be_suspect=may_be_suspect)
        before = len(self._passed)
        self._is_first = not self._is_first
        share = self._share(batch)
        taken = self._take_limited(tx, worker_id, met, share, may_be_suspect=may_be_suspect)
        has_looked, is_full = share > 0, len(taken) == share
        others: list[Taken] = []
        if len(taken) < batch:
            others = take_others(tx, worker_id, queues, batch - len(taken), may_be_suspect=_may(may_be_suspect, taken))
            self._had_others, self._others_looked_at = bool(others), time.monotonic()
        rest = batch - len(taken) - len(others)
        if is_full and rest > share // 2:
            may_be_suspect = _may(may_be_suspect, [*taken, *others])
            had = {task.limit_key for task in taken}
            met = sorted(met, key=lambda one: one[1] in had)
            taken += self._take_limited(tx, worker_id, met, rest, may_be_suspect=may_be_suspect)
            has_looked = True
        self.looks += has_looked
        self._decide_look(any_taken=bool(taken), any_left=not has_looked or len(self._passed) > before)
        if len(freed) > len(taken) and tx.dialect == "postgresql":
            tx.fetch("wake")  # there are free slots that this worker does not use
        return [*taken, *others]

    def _share(self, batch: int) -> int:
        """How many of the batch go to tasks with limits first."""
        if self._had_others:
            return int(self._is_first) if batch == 1 else (batch + 1) // 2
        is_known = time.monotonic() - self._others_looked_at < OTHERS_S
        return batch if is_known or (batch == 1 and self._is_first) else batch - 1

    def _take_limited(
        self, tx: Tx, worker_id: str, met: Sequence[Met], room: int, *, may_be_suspect: bool
    ) -> list[Taken]:
        taken: list[Taken] = []
        waiting = [(queue, key) for queue, key in met if key not in self._passed or key in self._held.freed]
        waiting = waiting or list(met)
        while waiting and room > len(taken):
            wanted = room - len(taken)
            size = max(LOCKED_AT_ONCE, wanted)
            together, waiting = waiting[:size], waiting[size:]
            taken += self._take_of(tx, worker_id, together, wanted, may_be_suspect=_may(may_be_suspect, taken))
        return taken

    def _take_of(self, tx: Tx, worker_id: str, met: Sequence[Met], wanted: int, *, may_be_suspect: bool) -> list[Taken]:
        """Lock these keys, and take up to so many tasks of them, in equal parts."""
        locked = limits.lock(tx, [key for _, key in met])
        self._read_limits(tx, locked)
        rooms = limits.rooms(tx, locked, self._limits, wanted)
        rooms |= {key: Room(0) for key in locked if self._is_paused(key)}
        if any(room.weight is not None for room in rooms.values()):
            rooms |= limits.fitting(tx, met, rooms, locked, self._limits, may_be_suspect=may_be_suspect)
        parts = equal_parts({key: rooms[key].tasks for _, key in met if key in rooms}, wanted)
        chosen = [(queue, key, parts[key]) for queue, key in met if parts.get(key)]
        taken = take.take_limited(tx, worker_id, chosen, may_be_suspect=may_be_suspect)
        if len(taken) < sum(parts.values()) and any(task.is_suspect for task in taken):
            # The room of other keys was kept for suspects, of which a worker takes only one.
            got = Counter(str(task.limit_key) for task in taken)
            left = [(queue, key, room - got[key]) for queue, key, room in chosen if room > got[key]]
            taken += take.take_limited(tx, worker_id, left, may_be_suspect=False)
        free = self.hold(tx, taken)
        had = Counter(str(task.limit_key) for task in taken) - Counter(str(task.limit_key) for task in free)
        taken, weights = self._weighed(tx, worker_id, free, rooms)
        counts = Counter(str(task.limit_key) for task in taken)
        limits.note_taken(tx, {**counts, **weights}, locked, self._limits)
        self._note(met, rooms, parts, counts + had)
        return taken

    def _weighed(
        self, tx: Tx, worker_id: str, taken: list[Taken], rooms: Mapping[str, Room]
    ) -> tuple[list[Taken], dict[str, int]]:
        """Return the tasks that have room by their weights, and how much was taken of each key with weights.

        Between the look at the weights and the take another task may have come to the front. What does not fit then
        goes back in this transaction.
        """
        weights: dict[str, int] = {}
        kept, others = [], []
        for task in taken:
            key = str(task.limit_key)
            most = rooms[key].weight
            if most is not None:
                weight = limits.weight_of(task.headers, self._limits[limits.name_of(key)].bounds.rate)
                if weights.get(key, 0) + weight > most:
                    others.append(task.lease)
                    continue
                weights[key] = weights.get(key, 0) + weight
            kept.append(task)
        if others:
            finish.give_back(tx, worker_id, others, "its limit has no room for its weight")
        return kept, weights

    def _note(
        self, met: Sequence[Met], rooms: Mapping[str, Room], parts: Mapping[str, int], counts: Mapping[str, int]
    ) -> None:
        """Remember which keys had nothing to take, and after which key the next walk begins."""
        last = max((place for place, (_, key) in enumerate(met) if parts.get(key)), default=len(met) - 1)
        if sum(parts.values()) == sum(counts.values()) and any(not parts.get(key) for _, key in met[last + 1 :]):
            met = met[: last + 1]
        for queue, key in met:
            if key not in self._passed:  # the walk has jumped to the other keys
                self._cursors[queue] = key
            if key not in rooms:  # another worker is taking tasks of it, or its row was pruned
                self._known.pop(key, None)
                self._was_locked = True
            elif rooms[key].next_in_s is not None:
                next_in_s = rooms[key].next_in_s or 0.0
                self._next_in_s = next_in_s if self._next_in_s is None else min(self._next_in_s, next_in_s)
            if not counts.get(key):
                self._passed.add(key)

    def _decide_look(self, *, any_taken: bool, any_left: bool) -> None:
        now = time.monotonic()
        if any_taken:
            self._begin_round(now)
        if any_taken or any_left:  # there may be keys that were not looked at
            self._look_at = now
            return
        wait_s = min(self._look_s, LOOK_AT_LOCKED_S if self._was_locked else self._look_s)
        self._look_at = now + max(0.001, min(wait_s, wait_s if self._next_in_s is None else self._next_in_s))

    def _read_limits(self, tx: Tx, keys: Mapping[str, str | None]) -> None:
        now = time.monotonic()
        is_old = self._read_at is None or now - self._read_at >= READ_S
        if is_old or any(limits.name_of(key) not in self._limits for key in keys):
            self._limits, self._read_at = limits.read(tx), now


def make_rows(connection: OwnConnection, keys: Sequence[str]) -> None:
    """Make the rows of keys that have none, so that they can be locked."""
    with connection.transaction() as tx:
        limits.add_keys(tx, keys)
        reached(Crashpoint.LIMIT_KEYS_BEFORE_COMMIT)
    reached(Crashpoint.LIMIT_KEYS_AFTER_COMMIT)


def equal_parts(rooms: Mapping[str, int], wanted: int) -> dict[str, int]:
    """Divide *wanted* tasks among keys with so much room each. Earlier keys get the remainder."""
    parts: dict[str, int] = {}
    while wanted > 0 and (growing := [key for key, room in rooms.items() if parts.get(key, 0) < room]):
        part = max(1, wanted // len(growing))
        for key in growing[:wanted]:
            more = min(part, rooms[key] - parts.get(key, 0), wanted)
            parts[key] = parts.get(key, 0) + more
            wanted -= more
    return parts


def _may(may_be_suspect: bool, taken: Sequence[Taken]) -> bool:
    return may_be_suspect and not any(task.is_suspect for task in taken)
