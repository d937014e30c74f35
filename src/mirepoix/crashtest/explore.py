"""Explore a task: clean runs, then one planned death after another, each followed by deliveries to the end."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import dataclass, field, replace

from mirepoix.crashtest.databases.database import Database
from mirepoix.crashtest.databases.folders import Folders
from mirepoix.crashtest.deliver import Call, Ended, deliver
from mirepoix.crashtest.forked import deliver_and_kill
from mirepoix.crashtest.http import Service
from mirepoix.crashtest.journal import Journal
from mirepoix.crashtest.names import named, volatile_names
from mirepoix.crashtest.normalise import (
    Effect,
    Row,
    Rows,
    Table,
    effects_of,
    plain_content,
    rows_of,
    volatile_columns,
    volatile_paths,
)
from mirepoix.crashtest.places import home_of
from mirepoix.crashtest.plan import Place, Schedule, overlapping, planned, planned_again
from mirepoix.crashtest.points import Delivery, Gate, Point, outside
from mirepoix.crashtest.sql import is_deadlock
from mirepoix.crashtest.trouble import Unusable
from mirepoix.errors import ConfigurationError

MOST_RETRIES = 8

BLOCKED_AFTER_S = 0.3
"""A second delivery that has not ended by then is taken to wait for the first one."""


@dataclass(frozen=True, slots=True)
class Observed:
    """The world after a run, as it is compared."""

    ended: Ended
    rows: Counter[Row]
    effects: Counter[Effect]
    files: dict[str, bytes]
    keys: tuple[tuple[str, str], ...]
    """The idempotency keys that were sent, by what they were sent to."""
    raw: dict[str, Rows]
    said: list[dict[str, object]]
    new_files: dict[str, bytes]
    """Those that were not there before, by their real names."""
    is_invariant_broken: str | None = None
    subfolders: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Tried:
    """A schedule and what it led to.

    *first* is how the delivery that was to die ended; of two, the second. Of deliveries that overlap it tells whether
    they met in a deadlock.

    Without *is_redelivered*, the world as the death left it.
    """

    schedule: Schedule
    first: Ended
    observed: Observed
    is_redelivered: bool = True
    again: tuple[Point, ...] = ()
    """What the redelivery did until it died as well, if it did."""


@dataclass(frozen=True, slots=True)
class Redelivered:
    """A delivery to the end after a crash: what it did, and what came of it."""

    observed: Observed
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Explored:
    """All there is to judge."""

    call: Call
    points: tuple[Point, ...]
    clean: Observed
    before: dict[str, Rows]
    tried: tuple[Tried, ...]
    masks: tuple[str, ...]
    not_explored: tuple[Schedule, ...]
    deliveries: int
    took_s: float
    state: str
    mode: str
    unmodelled: tuple[str, ...]
    """What it did that no hook understands: no crash around it was tried."""
    is_second_untold: bool = False
    """Whether second crashes were asked for, and some of what is not explored would have led to more of them."""

    is_killed: bool = False
    """Whether who died was a process that was killed."""

    def again(self, schedule: Schedule) -> tuple[Point, ...]:
        """What the redelivery of *schedule* did until it died as well."""
        return next((tried.again for tried in self.tried if tried.schedule == schedule), ())


@dataclass(slots=True)
class Explorer:
    """The world that a task runs in: databases, folders, what it tells to others."""

    call: Call
    databases: Sequence[Database]
    folders: Folders
    invariant: Callable[[], object] | None = None
    ignored: frozenset[str] = frozenset()
    overlaps: bool = False
    seconds: bool = False
    """Whether the redelivery is to die as well."""
    kills: bool = False
    """Whether who dies is a child process, which is killed."""
    service: Service | None = None
    """What answers requests, if the test wants that."""
    journal: Journal = field(default_factory=Journal)
    written: set[str] = field(default_factory=set)
    unmodelled: set[str] = field(default_factory=set)
    deliveries: int = 0
    _before: dict[str, Rows] = field(default_factory=dict)
    _schema: dict[str, Table] = field(default_factory=dict)
    _columns: frozenset[tuple[str, str]] = frozenset()
    _paths: frozenset[tuple[tuple[str, str], str]] = frozenset()
    _names: frozenset[str] = frozenset()

    def explore(self, mode: str, budget_s: float, only: Schedule | None) -> Explored:
        """Do it all, or *only* one. Raises Unusable, with the remedy, where there is nothing to compare."""
        __tracebackhide__ = True
        began_at = time.monotonic()
        for database in self.databases:
            database.save()
        self.folders.save()
        try:
            clean, points = self._clean_runs()
            plan = planned(points, mode, is_redelivered=self.call.is_redelivered) if only is None else [only]
            if self.overlaps and only is None:
                require_two(self.databases)  # some are known by now only
                plan += overlapping(points, mode)
            tried: list[Tried] = []
            known: dict[object, Redelivered] = {}
            while plan and (not tried or time.monotonic() - began_at < budget_s):
                found, then = self._try(plan[0], known)
                if self._learn():
                    # A death led to tables that a clean run leaves alone: look again, with them.
                    clean, known = self._with_new_tables(clean), {}
                    continue
                tried += found
                first = plan.pop(0)
                if then is not None:
                    plan += planned_again(first, then.points, mode)
        finally:
            self._restore()
        took_s = time.monotonic() - began_at
        state = "; ".join(database.name for database in self.databases if database.name) or "no database"
        return Explored(
            self.call, points, clean, self._before, tuple(tried), self._masks(), tuple(plan), self.deliveries, took_s,
            state, mode,
            tuple(sorted(self.unmodelled)),
            self.seconds and any(one.then is None and not one.is_overlap for one in plan),
            self.kills,
        )  # fmt: skip

    def _clean_runs(self) -> tuple[Observed, tuple[Point, ...]]:
        __tracebackhide__ = True
        self._restore()
        ended, _ = self._to_end(is_redelivered=False)  # tells which tables are written to
        _require_success(self.call, ended)
        self._learn()
        runs = []
        for _ in range(2):
            self._restore()
            ended, last = self._to_end(is_redelivered=False)
            _require_success(self.call, ended)
            runs.append((self._observe(ended), last))
        (one, points), (other, _) = runs
        if not any(point.is_durable for point in points):
            raise Unusable.without_points(self.call)
        self._columns = volatile_columns(one.raw, other.raw, self._schema)
        self._paths = volatile_paths(one.said, other.said)
        self._names = volatile_names(one.files, other.files)
        one, other = self._again(one), self._again(other)
        if (one.rows, one.effects, one.files) != (other.rows, other.effects, other.files):
            raise Unusable.not_deterministic(self.call, _unlike(one, other))
        return one, tuple(points)

    def _try(self, schedule: Schedule, known: dict[object, Redelivered]) -> tuple[list[Tried], Redelivered | None]:
        """What *schedule* leads to, and the redelivery from the state that its crash left, if that state is new."""
        self._restore()
        if schedule.dies_at is not None and schedule.is_overlap:
            ended, met = self._overlap(schedule.dies_at[0])
            return [Tried(schedule, met, self._observe(ended))], None
        again: list[Point] = []
        for number, place in enumerate(schedule.deaths):
            first, points, is_over = self._die(place, is_redelivered=number > 0)
            again = points if number else []
            left = self._observe(first)
            if self.call.is_transactional and is_over:
                return [Tried(schedule, first, left, is_redelivered=False, again=tuple(again))], None
        found = []
        if not self.call.is_redelivered and schedule.dies_at is not None and schedule.then is None:
            found.append(Tried(schedule, first, left, is_redelivered=False))
        seen, is_new = self._redelivered(left, known)
        found.append(Tried(schedule, first, seen.observed, again=tuple(again)))
        if not (self.seconds and is_new and schedule.then is None):
            return found, None
        if seen.observed.ended.how == "ok" and not self.call.is_transactional:
            # It is at its end, so that dying there, unacknowledged, costs no more than what is delivered then.
            third, _ = self._redelivered(seen.observed, known)
            twice = replace(schedule, then=Schedule(None))
            found.append(Tried(twice, seen.observed.ended, third.observed, again=seen.points))
        return found, seen

    def _die(self, place: Place | None, *, is_redelivered: bool) -> tuple[Ended, list[Point], bool]:
        """Deliver it until it dies, or (None) to its end; what it did, and whether its outcome would be committed."""
        if place is None:
            return *self._to_end(is_redelivered=is_redelivered), True
        delivery = self._delivery(place)
        if self.kills:
            self.deliveries += 1
            ended = deliver_and_kill(self.call, delivery, self.service, self.databases, is_redelivered=is_redelivered)
        else:
            ended = self._deliver(delivery, is_redelivered=is_redelivered)
        if ended.how in {"died", "swallowed"}:
            with outside():
                for database in self.databases:
                    database.crashed()
        elif ended.how == "retry":
            ended, _ = self._to_end(is_redelivered=True, retries=1)
        return ended, delivery.points, delivery.is_committed

    def _redelivered(self, left: Observed, known: dict[object, Redelivered]) -> tuple[Redelivered, bool]:
        """The delivery to the end from the world that *left* shows, and whether none began there before."""
        state = (
            frozenset(left.rows.items()),
            frozenset(left.effects.items()),
            frozenset(left.files.items()),
            left.subfolders,
            left.keys,
            frozenset(self.journal.steps),
        )
        if state in known:
            return known[state], False
        ended, points = self._to_end(is_redelivered=True)
        known[state] = Redelivered(self._observe(ended), tuple(points))
        return known[state], True

    def _overlap(self, index: int) -> tuple[Ended, Ended]:
        """One delivery waits before a point while another runs to its end, or until it waits for the first one.

        How the last delivery ended; and ``deadlock`` if they had waited for each other, else ``ok``.
        """
        gate = Gate(index)
        ended: dict[str, Ended] = {}

        def run(name: str, delivery: Delivery) -> None:
            with ExitStack() as stack:
                for database in self.databases:
                    stack.enter_context(database.beside())
                ended[name] = self._deliver(delivery, is_redelivered=name == "second")
            gate.reached.set()

        first, second = self._delivery(None), self._delivery(None)
        first.gate = gate
        # In copies of this context: that is where steps are kept.
        one = threading.Thread(target=copy_context().run, args=(run, "first", first))
        two = threading.Thread(target=copy_context().run, args=(run, "second", second))
        one.start()
        gate.reached.wait()
        two.start()
        two.join(BLOCKED_AFTER_S)
        gate.opened.set()
        one.join()
        two.join()
        met = next((Ended("deadlock", how.error) for how in ended.values() if is_deadlock(how.error)), Ended("ok"))
        for how in ended.values():
            if how.how != "ok":  # its broker delivers it again
                return self._to_end(is_redelivered=True)[0], met
        return ended.get("second", Ended("failed")), met

    def _to_end(self, *, is_redelivered: bool, retries: int = 0) -> tuple[Ended, list[Point]]:
        """Deliver it, and again for each of its retries."""
        points: list[Point] = []
        for number in range(retries, retries + MOST_RETRIES):
            delivery = self._delivery(None)
            ended = self._deliver(delivery, retries=number, is_redelivered=is_redelivered)
            points += delivery.points
            if ended.how != "retry":
                return ended, points
        return Ended("stuck", ended.error), points

    def _delivery(self, dies_at: tuple[int, str] | None) -> Delivery:
        delivery = Delivery(
            self.journal, self.call.id, self.call.task.name, dies_at,
            tables=self.written, unmodelled=self.unmodelled, home=home_of(self.call.task),
        )  # fmt: skip
        for database in self.databases:
            database.begin(delivery)
        return delivery

    def _deliver(self, delivery: Delivery, *, retries: int = 0, is_redelivered: bool = False) -> Ended:
        self.deliveries += 1
        return deliver(self.call, delivery, retries=retries, is_redelivered=is_redelivered)

    def _restore(self) -> None:
        for database in self.databases:
            database.restore()
        self.folders.restore()
        self.journal.clear()

    def _learn(self) -> bool:
        """Know the tables that were written to by now; whether there are new ones, so that what is compared changed."""
        known = {name: table for database in self.databases for name, table in database.tables(self.written).items()}
        if known.keys() <= self._schema.keys():
            return False
        self._schema.update(known)
        self._restore()
        self._before = self._read(self._schema)
        return True

    def _read(self, schema: dict[str, Table]) -> dict[str, Rows]:
        return {name: rows for database in self.databases for name, rows in database.read(schema).items()}

    def _observe(self, ended: Ended) -> Observed:
        raw = self._read(self._schema)
        said = [dict(effect) for effect in self.journal.effects]
        keys = {(str(effect["subject"]), str(effect["key"])) for effect in said if effect.get("key") is not None}
        broken = None
        if self.invariant is not None:
            try:
                broken = None if self.invariant() is not False else "it returned False"
            except Exception as error:  # noqa: BLE001 (whatever the user's function raises, it does not hold)
                broken = f"{type(error).__name__}: {error}"
        files = {name: plain_content(content) for name, content in self.folders.read().items()}
        new = {name: content for name, content in files.items() if self.folders.is_new(name)}
        rows = rows_of(raw, self._before, self._schema, self._columns | self._ignored_columns(), new)
        effects, files = effects_of(said, self._paths), named(files, self._names)
        subfolders = self.folders.subfolders()
        return Observed(ended, rows, effects, files, tuple(sorted(keys)), raw, said, new, broken, subfolders)

    def _again(self, seen: Observed) -> Observed:
        """*seen* with what is known by now to be volatile masked."""
        rows = rows_of(seen.raw, self._before, self._schema, self._columns | self._ignored_columns(), seen.new_files)
        effects = effects_of(seen.said, self._paths)
        return replace(seen, rows=rows, effects=effects, files=named(seen.files, self._names))

    def _with_new_tables(self, clean: Observed) -> Observed:
        return self._again(replace(clean, raw={**self._before, **clean.raw}))

    def _ignored_columns(self) -> frozenset[tuple[str, str]]:
        return frozenset(
            (table, column)
            for table, shape in self._schema.items()
            for column in shape.columns
            if f"{table.partition('.')[2]}.{column}" in self.ignored
        )

    def _masks(self) -> tuple[str, ...]:
        columns = {f"{table.partition('.')[2]}.{column}" for table, column in self._columns}
        paths = {f"{kind} {subject}: {path or 'its text'}" for (kind, subject), path in self._paths}
        return tuple(sorted(columns | paths | {f"file {name}: its name" for name in self._names}))


def require_two(databases: Sequence[Database]) -> None:
    """Raises ConfigurationError, with the remedy, if two deliveries cannot work in *databases* at once."""
    if not all(database.takes_two for database in databases):
        raise ConfigurationError(
            "overlap=True lets two deliveries run at once, on a connection each. That needs real commits "
            "(@pytest.mark.django_db(transaction=True)) on PostgreSQL or MariaDB."
        )


def _require_success(call: Call, ended: Ended) -> None:
    __tracebackhide__ = True
    if ended.how != "ok":
        raise Unusable.fails(call, ended)


def _unlike(one: Observed, other: Observed) -> str:
    rows = {row.table.partition(".")[2] for row in (one.rows - other.rows) + (other.rows - one.rows)}
    effects = {f"{e.kind} {e.subject}" for e in (one.effects - other.effects) + (other.effects - one.effects)}
    names = set(one.files) | set(other.files)
    files = {f"file {name}" for name in names if one.files.get(name) != other.files.get(name)}
    return ", ".join(sorted({f"rows of {table}" for table in rows} | effects | files))
