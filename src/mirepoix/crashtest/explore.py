"""Explore a task: clean runs, then one planned crash after another, each followed by deliveries until the task ends."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from pathlib import Path

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
from mirepoix.crashtest.unusable import Unusable
from mirepoix.errors import ConfigurationError

MOST_RETRIES = 8

BLOCKED_AFTER_S = 0.3
BLOCKED_AFTER_TIMES = 10
"""A second delivery is assumed to wait for the first one if it has done nothing for the longer of these: so many
seconds, and so many times as long as the longest delivery that nothing held up. A busy machine is only slow."""
LOOK_S = 0.02
MOST_PATIENCE = 10
"""It is assumed after so many times as long in any case: it may wait in a loop that never rests."""


@dataclass(frozen=True, slots=True)
class Observed:
    """The state after a run, in the form that is compared."""

    ended: Ended
    rows: Counter[Row]
    effects: Counter[Effect]
    files: dict[str, bytes]
    keys: tuple[tuple[str, str], ...]
    """The idempotency keys that were sent, with their requests."""
    raw: dict[str, Rows]
    sent: list[dict[str, object]]
    new_files: dict[str, bytes]
    """Files that did not exist before, by their real names."""
    is_invariant_broken: str | None = None
    subfolders: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Tried:
    """A schedule and its outcome.

    *first* is the end of the delivery that was to die; of two crashes, the second. For deliveries that overlap it says
    whether there was a deadlock.

    If not *is_redelivered*, *observed* is the state that the crash left.
    """

    schedule: Schedule
    first: Ended
    observed: Observed
    is_redelivered: bool = True
    again: tuple[Point, ...] = ()
    """The points of the redelivery until it died too, if it did."""


@dataclass(frozen=True, slots=True)
class Redelivered:
    """A delivery to the end after a crash: its points, and the state after it."""

    observed: Observed
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Explored:
    """Everything that the verdict needs."""

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
    """Actions that no hook covers. No crash around them was tried."""
    is_second_untold: bool = False
    """Whether second crashes were requested, and some of the unexplored schedules would have led to more of them."""

    is_killed: bool = False
    """Whether real child processes were killed."""

    def again(self, schedule: Schedule) -> tuple[Point, ...]:
        """Return the points of the redelivery of *schedule* until it died too."""
        return next((tried.again for tried in self.tried if tried.schedule == schedule), ())


@dataclass(slots=True)
class Explorer:
    """Explores one call, with its databases, folders and effects."""

    call: Call
    databases: Sequence[Database]
    folders: Folders
    invariant: Callable[[], object] | None = None
    ignored: frozenset[str] = frozenset()
    overlaps: bool = False
    seconds: bool = False
    """Whether the redelivery dies too."""
    kills: bool = False
    """Whether deliveries run in child processes that are killed."""
    service: Service | None = None
    """Answers the task's requests, if the test provides it."""
    journal: Journal = field(default_factory=Journal)
    written: set[str] = field(default_factory=set)
    unmodelled: set[str] = field(default_factory=set)
    deliveries: int = 0
    _longest_s: float = 0.0
    """The time of the longest delivery that ran alone."""
    _before: dict[str, Rows] = field(default_factory=dict)
    _schema: dict[str, Table] = field(default_factory=dict)
    _columns: frozenset[tuple[str, str]] = frozenset()
    _paths: frozenset[tuple[tuple[str, str], str]] = frozenset()
    _names: frozenset[str] = frozenset()

    def explore(self, mode: str, budget_s: float, only: Schedule | None) -> Explored:
        """Explore every schedule, or *only* one. Raises Unusable, with the remedy, if the runs cannot be compared."""
        __tracebackhide__ = True
        began_at = time.monotonic()
        for database in self.databases:
            database.save()
        self.folders.save()
        try:
            clean, points = self._clean_runs()
            plan = planned(points, mode, is_redelivered=self.call.is_redelivered) if only is None else [only]
            if self.overlaps and only is None:
                require_two(self.databases)  # some are only known now
                plan += overlapping(points, mode)
            tried: list[Tried] = []
            known: dict[object, Redelivered] = {}
            while plan and (not tried or time.monotonic() - began_at < budget_s):
                found, then = self._try(plan[0], known)
                if self._learn():
                    # A crash led to writes in tables that a clean run does not touch. Repeat with them.
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
            self.seconds and any(schedule.then is None and not schedule.is_overlap for schedule in plan),
            self.kills,
        )  # fmt: skip

    def _clean_runs(self) -> tuple[Observed, tuple[Point, ...]]:
        __tracebackhide__ = True
        self._restore()
        ended, _ = self._to_end(is_redelivered=False)  # finds the tables that the task writes
        _require_success(self.call, ended)
        self._learn()
        runs = []
        for _ in range(2):
            self._restore()
            ended, last = self._to_end(is_redelivered=False)
            _require_success(self.call, ended)
            runs.append((self._observe(ended), last))
        (first, points), (second, _) = runs
        if not any(point.is_durable for point in points):
            raise Unusable.without_points(self.call)
        self._columns = volatile_columns(first.raw, second.raw, self._schema)
        self._paths = volatile_paths(first.sent, second.sent)
        self._names = volatile_names(first.files, second.files)
        first, second = self._again(first), self._again(second)
        if (first.rows, first.effects, first.files) != (second.rows, second.effects, second.files):
            raise Unusable.not_deterministic(self.call, _differing(first, second))
        return first, tuple(points)

    def _try(self, schedule: Schedule, known: dict[object, Redelivered]) -> tuple[list[Tried], Redelivered | None]:
        """Try *schedule*. Also return the redelivery from the state after the crash, if that state is new."""
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
            # The delivery has ended. A crash here, before the acknowledgement, leads only to the next delivery.
            third, _ = self._redelivered(seen.observed, known)
            twice = replace(schedule, then=Schedule(None))
            found.append(Tried(twice, seen.observed.ended, third.observed, again=seen.points))
        return found, seen

    def _die(self, place: Place | None, *, is_redelivered: bool) -> tuple[Ended, list[Point], bool]:
        """Deliver until the crash at *place*, or to the end if it is None.

        Returns the end, the points, and whether the outcome would be committed.
        """
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
        """Deliver to the end from the state *left*. Also return whether that state is new."""
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
        """Hold one delivery before a point while another runs to its end, or until the other waits for it.

        Returns the end of the last delivery, and ``deadlock`` if the two deadlocked, else ``ok``.
        """
        gate = Gate(index)
        has_begun = threading.Event()
        ended: dict[str, Ended] = {}

        def run(name: str, delivery: Delivery) -> None:
            with ExitStack() as stack:
                for database in self.databases:
                    stack.enter_context(database.beside())
                if name == "second":
                    has_begun.set()
                self.deliveries += 1
                ended[name] = deliver(self.call, delivery, is_redelivered=name == "second")
            gate.reached.set()

        first, second = self._delivery(None), self._delivery(None)
        first.gate = gate
        # They run in copies of this context, because the step recorder is in the context.
        holder_thread = threading.Thread(target=copy_context().run, args=(run, "first", first))
        other_thread = threading.Thread(target=copy_context().run, args=(run, "second", second))
        holder_thread.start()
        gate.reached.wait()
        other_thread.start()
        while other_thread.is_alive() and not has_begun.wait(0.05):  # it may fail before it begins
            pass
        self._let_run(other_thread, second)
        gate.opened.set()
        holder_thread.join()
        other_thread.join()
        met = next((Ended("deadlock", how.error) for how in ended.values() if is_deadlock(how.error)), Ended("ok"))
        for how in ended.values():
            if how.how != "ok":  # its broker delivers it again
                return self._to_end(is_redelivered=True)[0], met
        return ended.get("second", Ended("failed")), met

    def _let_run(self, thread: threading.Thread, delivery: Delivery) -> None:
        """Wait until the thread has ended, or seems to wait for another."""
        patience_s = max(BLOCKED_AFTER_S, BLOCKED_AFTER_TIMES * self._longest_s)
        began_at = quiet_since = time.monotonic()
        seen = len(delivery.points)
        while thread.is_alive():
            thread.join(LOOK_S)
            now = time.monotonic()
            if len(delivery.points) != seen or _is_runnable(thread):
                seen, quiet_since = len(delivery.points), now
            if now - quiet_since >= patience_s or now - began_at >= MOST_PATIENCE * patience_s:
                return

    def _to_end(self, *, is_redelivered: bool, retries: int = 0) -> tuple[Ended, list[Point]]:
        """Deliver the task, and then each of its retries."""
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
        began_at = time.monotonic()
        try:
            return deliver(self.call, delivery, retries=retries, is_redelivered=is_redelivered)
        finally:
            self._longest_s = max(self._longest_s, time.monotonic() - began_at)

    def _restore(self) -> None:
        for database in self.databases:
            database.restore()
        self.folders.restore()
        self.journal.clear()

    def _learn(self) -> bool:
        """Add the tables that were written to so far. Returns whether there are new ones."""
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
        sent = [dict(effect) for effect in self.journal.effects]
        keys = {(str(effect["subject"]), str(effect["key"])) for effect in sent if effect.get("key") is not None}
        broken = None
        if self.invariant is not None:
            try:
                broken = None if self.invariant() is not False else "it returned False"
            except Exception as error:  # noqa: BLE001 (any error of the user's function means that it does not hold)
                broken = f"{type(error).__name__}: {error}"
        files = {name: plain_content(content) for name, content in self.folders.read().items()}
        new = {name: content for name, content in files.items() if self.folders.is_new(name)}
        rows = rows_of(raw, self._before, self._schema, self._columns | self._ignored_columns(), new)
        effects, files = effects_of(sent, self._paths), named(files, self._names)
        subfolders = self.folders.subfolders()
        return Observed(ended, rows, effects, files, tuple(sorted(keys)), raw, sent, new, broken, subfolders)

    def _again(self, seen: Observed) -> Observed:
        """Return *seen* with everything masked that is now known to be volatile."""
        rows = rows_of(seen.raw, self._before, self._schema, self._columns | self._ignored_columns(), seen.new_files)
        effects = effects_of(seen.sent, self._paths)
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
    """Raise ConfigurationError, with the remedy, if two deliveries cannot work in *databases* at once."""
    if not all(database.takes_two for database in databases):
        raise ConfigurationError(
            "overlap=True runs two deliveries at once, each on its own connection. That needs real commits "
            "(@pytest.mark.django_db(transaction=True)) on PostgreSQL or MariaDB."
        )


def _require_success(call: Call, ended: Ended) -> None:
    __tracebackhide__ = True
    if ended.how != "ok":
        raise Unusable.fails(call, ended)


def _differing(first: Observed, second: Observed) -> str:
    rows = {row.table.partition(".")[2] for row in (first.rows - second.rows) + (second.rows - first.rows)}
    effects = {f"{e.kind} {e.subject}" for e in (first.effects - second.effects) + (second.effects - first.effects)}
    names = set(first.files) | set(second.files)
    files = {f"file {name}" for name in names if first.files.get(name) != second.files.get(name)}
    return ", ".join(sorted({f"rows of {table}" for table in rows} | effects | files))


def _is_runnable(thread: threading.Thread) -> bool:
    """Whether the thread has work for a processor, on Linux. False if that is unknown."""
    try:
        stat = Path(f"/proc/self/task/{thread.native_id}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] == "R"
