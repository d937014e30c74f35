"""Fire schedules over simulated years, and kill workers between every step: ``python -m benchmarks.schedules``.

Worker loops run the product's own firing in threads, each with a connection of its own, on a simulated ledger clock.
The clock moves from due time to due time. Sometimes it jumps by hours or days (an outage), and sometimes it is set
back. At every commit boundary a worker may be killed: its transaction is rolled back, its connection closed, and
another worker takes its place. At the end each fire time must have exactly one row, and what did not run a reason.

    python -m benchmarks.schedules --years 2020-2035           # 252 schedules: in each zone with changes, and others
    python -m benchmarks.schedules --years 2020-2035 --days 8  # each for 16 days about one change
    python -m benchmarks.schedules --url postgresql:///shop --seed 7
"""

from __future__ import annotations

import argparse
import itertools
import random
import tempfile
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from benchmarks.machine import load

from mirepoix.connect.source import Source
from mirepoix.connect.url import source_for
from mirepoix.crashpoints import Crashpoint
from mirepoix.ledger import migrate
from mirepoix.ledger.tx import Tx
from mirepoix.records import Envelope, Outgoing
from mirepoix.schedules import firing as firing_module
from mirepoix.schedules.calendar import fires
from mirepoix.schedules.changing import put
from mirepoix.schedules.definition import DATABASE, Definition
from mirepoix.schedules.firing import Firing
from mirepoix.schedules.plan import OVERLAPS, Plan

ABOUT_CHANGES = (
    "0 {hour} * {months} {days}", "30 {hour} * {months} {days}", "59 {hour} * {months} {days}",
    "15 30 {hour} * {months} {days}", "0,30 {hours} * {months} {days}", "*/30 {hours} * {months} {days}",
)  # fmt: skip
"""Times of day and rhythms at the hours, on the weekdays and in the months at which the clocks of a zone change."""

OTHERS = ("*/20 * L 2,10 *", "0 3 1 * *", "0 0 29 2 *")


class Killed(BaseException):
    """The worker has died."""


@dataclass
class Report:
    """What a simulation found."""

    schedules: int = 0
    expected: int = 0
    rows: int = 0
    doubles: int = 0
    lost: int = 0
    invented: int = 0
    unexplained: int = 0
    tasks_of_no_row: int = 0
    rows_of_no_task: int = 0
    states: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    steps: int = 0
    outages: int = 0
    set_back: int = 0
    seconds: float = 0.0

    @property
    def faults(self) -> int:
        """How much is wrong."""
        return self.doubles + self.lost + self.invented + self.unexplained + self.tasks_of_no_row + self.rows_of_no_task


class MessageSender:
    """Makes a message for each run. Every one has another id, so a run that was sent twice is two tasks."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def knows(self, task: str) -> bool:
        return True

    def make(self, name: str, definition: Definition, fire_at: datetime) -> list[Outgoing]:
        id = f"{name}@{fire_at.isoformat()}#{next(self._numbers)}"
        return [
            Envelope(id, definition.task, "celery", "[[], {}, {}]", headers={}, properties={}, routing_key="celery")
        ]

    def promised(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        return list(items)

    def announce(self, items: Sequence[Outgoing]) -> None:
        """There is no broker."""

    def end(self, task_ids: Sequence[str], *, kill: bool) -> None:
        """No run runs."""


class Simulation:
    """Workers that fire the schedules of a ledger on a clock that this holds."""

    def __init__(self, source: Source, plans: dict[str, Plan], begin: datetime, workers: int, seed: int) -> None:
        self.source = source
        self.plans = plans
        self.begin = self.now = begin
        self.report = Report(schedules=len(plans))
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._kill_share = 0.0
        self._sender = MessageSender()
        self._connections = [source.open() for _ in range(workers)]
        self._firings = [Firing(self._sender, self.clock) for _ in range(workers)]

    def clock(self, tx: Tx) -> datetime:
        return self.now

    def run(self, end: datetime, kill_share: float) -> Report:
        began = time.monotonic()
        for name, plan in self.plans.items():
            definition = Definition("shop.report", plan)
            put(self._connections[0], self._firings[0], name, definition, owner=DATABASE, app="", by="benchmark")
        self._kill_share = kill_share
        workers = range(len(self._connections))
        with _killing(self._may_die), ThreadPoolExecutor(len(workers)) as pool:
            while self._step(end):
                list(pool.map(self._fire_all, workers))
                self.report.steps += 1
                if self.report.steps % 5 == 0:
                    self._end_runs()
        self._kill_share = 0.0
        self._end_runs()
        for _ in range(50):
            self._fire_all(0)
            self._end_runs()
        self._judge()
        self.report.seconds = time.monotonic() - began
        for connection in self._connections:
            connection.close()
        return self.report

    def _step(self, end: datetime) -> bool:
        """Move the clock to the next due time, or by an outage, or back. Return False at the end."""
        with self._connections[0].reading() as tx:
            (row,) = tx.query("SELECT min(next_due_at) AS due_at FROM mirepoix_schedule")
        if row.due_at is None:
            return False
        due_at = row.due_at if isinstance(row.due_at, datetime) else datetime.fromisoformat(row.due_at)
        due_at = due_at.replace(tzinfo=UTC) if due_at.tzinfo is None else due_at.astimezone(UTC)
        if due_at > end:
            self.now = max(self.now, end)
            return False
        drawn = self._random.random()
        if drawn < 0.02:
            self.report.set_back += 1
            self.now -= timedelta(seconds=self._random.randrange(1, 7200))
        elif drawn < 0.06:
            self.report.outages += 1
            self.now = min(end, max(self.now, due_at) + timedelta(hours=self._random.choice((1, 5, 30, 80))))
        else:
            self.now = max(self.now, due_at) + timedelta(milliseconds=self._random.randrange(200))
        return True

    def _fire_all(self, number: int) -> None:
        """Fire until nothing is due. Whoever dies is replaced."""
        for _ in range(2000):
            try:
                if self._firings[number].fire(self._connections[number]) > 0:
                    return
            except Killed:
                self._connections[number].close()
                self._connections[number] = self.source.open()
                self._firings[number] = Firing(self._sender, self.clock)
        raise AssertionError("firing has no end")

    def _may_die(self, point: Crashpoint) -> None:
        if self._kill_share:
            with self._lock:
                dies = self._random.random() < self._kill_share
                self.report.kills[point] += dies
            if dies:
                raise Killed

    def _end_runs(self) -> None:
        with self._connections[0].transaction() as tx:
            tx.script("UPDATE mirepoix_task SET state = 'succeeded' WHERE state = 'pending'")

    def _judge(self) -> None:
        report = self.report
        with self._connections[0].reading() as tx:
            rows = tx.query("SELECT schedule_id, fire_at, state, reason, task_id FROM mirepoix_fire")
            tasks = Counter(row.id for row in tx.query("SELECT id FROM mirepoix_task"))
        found: dict[str, Counter[datetime]] = {name: Counter() for name in self.plans}
        named: Counter[str] = Counter()
        for row in rows:
            at = row.fire_at if isinstance(row.fire_at, datetime) else datetime.fromisoformat(row.fire_at)
            found[row.schedule_id][at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)] += 1
            report.states[row.state] += 1
            report.unexplained += (
                row.state in ("missed", "skipped", "failed", "ended", "sent", "buffered") and not row.reason
            )
            if row.task_id is not None:
                named[row.task_id] += 1
        for name, plan in self.plans.items():
            due = takewhile(lambda fire: fire.due <= self.now, fires(plan, name, self.begin, self.begin))
            expected = {fire.at for fire in due}
            report.expected += len(expected)
            report.lost += len(expected - set(found[name]))
            report.invented += len(set(found[name]) - expected)
            report.doubles += sum(times - 1 for times in found[name].values())
        report.rows = len(rows)
        report.doubles += sum(times - 1 for times in named.values())
        report.tasks_of_no_row = len(set(tasks) - set(named))
        report.rows_of_no_task = len(set(named) - set(tasks))


@contextmanager
def _killing(reached: Any) -> Iterator[None]:
    before = firing_module.reached
    firing_module.reached = reached
    try:
        yield
    finally:
        firing_module.reached = before


def plans_of(number: int, years: tuple[int, int], seed: int, days: int | None) -> dict[str, Plan]:
    """Schedules about the changes of the clocks in these years, in each zone in turn; every tenth has other times.

    With *days* each lives only for so many days before and after one change, and fires every day.
    """
    chosen = random.Random(seed)
    zones = zones_in_turn(*years)
    in_turn = itertools.cycle(zones)
    plans = {}
    for index in range(number):
        is_other = index % 10 == 0
        zone = chosen.choice(zones) if is_other else next(in_turn)
        change = chosen.choice(changes(zone, *years)).astimezone(ZoneInfo(zone))
        policy = {"overlap": chosen.choice(OVERLAPS), "catch_up": chosen.choice(("latest", "all")),
                  "catch_up_s": chosen.choice((0, 3600, 86_400, 10**7)), "jitter_s": chosen.choice((0, 0, 30, 3000)),
                  "timezone": zone}  # fmt: skip
        if days is not None:
            policy["start"] = (change - timedelta(days=days)).isoformat()
            policy["end"] = (change + timedelta(days=days)).isoformat()
        if index % 20 == 0:
            plans[f"s{index}"] = Plan(every_s=chosen.choice((86_400, 604_800, 1_000_000.5)), **policy)
            continue
        words = words_about(zone, *years)
        words["hour"] = chosen.choice(words["hours"].split(","))
        if days is not None:
            words |= {"months": "*", "days": "*"}
        expression = chosen.choice(OTHERS if is_other else ABOUT_CHANGES)
        exclude = [f"{change - timedelta(days=7):%Y-%m-%d}/{change:%Y-%m-%d}"] if index % 7 == 0 else []
        plans[f"s{index}"] = Plan(cron=expression.format(**words), exclude=tuple(exclude), **policy)
    return plans


@lru_cache
def zones_in_turn(first: int, last: int) -> list[str]:
    """The zones with clocks that change in these years. One of each set of zones that change alike comes first."""
    alike: dict[tuple[datetime, ...], list[str]] = {}
    for zone in sorted(available_timezones()):
        if found := changes(zone, first, last):
            alike.setdefault(tuple(found), []).append(zone)
    turns = itertools.zip_longest(*alike.values())
    return [zone for turn in turns for zone in turn if zone is not None]


def words_about(zone: str, first: int, last: int) -> dict[str, str]:
    """The hours, months and weekdays of a cron expression that clocks of *zone* show about their changes."""
    info = ZoneInfo(zone)
    hours, months, days = set(), set(), set()
    for change in changes(zone, first, last):
        before, after = ((change - timedelta(seconds=n)).astimezone(info).replace(tzinfo=None) for n in (1, 0))
        begin, end = min(before, after), max(before, after)
        while begin.replace(minute=0, second=0) <= end:
            hours.add(begin.hour)
            months.add(begin.month)
            days.add(begin.isoweekday() % 7)
            begin += timedelta(hours=1)
    return {
        name: ",".join(map(str, sorted(found)))
        for name, found in (("hours", hours), ("months", months), ("days", days))
    }


@cache
def changes(zone: str, first: int, last: int) -> list[datetime]:
    """The moments, in these years, at which the offset of *zone* changes. At most one on a day."""
    info, found = ZoneInfo(zone), []
    day, end = datetime(first, 1, 1, tzinfo=UTC), datetime(last, 12, 31, tzinfo=UTC)
    offset = day.astimezone(info).utcoffset()
    while day < end:
        later = day + timedelta(days=1)
        if later.astimezone(info).utcoffset() != offset:
            minutes = range(24 * 60 + 1)
            place = bisect_left(
                minutes, True, key=lambda n: (day + timedelta(minutes=n)).astimezone(info).utcoffset() != offset
            )
            found.append(day + timedelta(minutes=place))
            offset = later.astimezone(info).utcoffset()
        day = later
    return found


def simulate(
    url: str,
    *,
    number: int,
    years: tuple[int, int],
    workers: int,
    seed: int,
    kill_share: float,
    days: int | None = None,
) -> Report:
    """Run a simulation on a ledger that has its tables and nothing in them."""
    begin, end = datetime(years[0], 1, 1, tzinfo=UTC), datetime(years[1] + 1, 1, 1, tzinfo=UTC)
    source = source_for(url)
    try:
        return Simulation(source, plans_of(number, years, seed, days), begin, workers, seed).run(end, kill_share)
    finally:
        source.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="an empty database; default: an SQLite file")
    parser.add_argument("--schedules", type=int, default=252)
    parser.add_argument("--years", default="2020-2035")
    parser.add_argument("--days", type=int, help="let each schedule live only so long before and after one change")
    parser.add_argument("--workers", type=int, default=5)
    parser.add_argument(
        "--kills", type=float, default=0.05, help="the share of commit boundaries at which a worker dies"
    )
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    first, _, last = given.years.partition("-")
    years = int(first), int(last or first)
    with tempfile.TemporaryDirectory() as folder:
        url = given.url or f"sqlite:///{Path(folder) / 'ledger.db'}"
        source = source_for(url)
        connection = source.open()
        migrate.migrate(connection)
        connection.close()
        source.close()
        report = simulate(
            url,
            number=given.schedules,
            years=years,
            workers=given.workers,
            seed=given.seed,
            kill_share=given.kills,
            days=given.days,
        )
    plans = plans_of(given.schedules, years, given.seed, given.days).values()
    zones = {plan.timezone for plan in plans if plan.cron is not None} & set(zones_in_turn(*years))
    met = sum(len(changes(zone, *years)) for zone in zones) if given.days is None else len(plans)
    print(f"{report.schedules} schedules, {given.years}, {given.workers} workers, seed {given.seed}")
    print(f"  zones {len(zones)} of {len(zones_in_turn(*years))} with changes, with {met:,} changes")
    print(f"  took {report.seconds:.0f} s, load after {load()}")
    print(f"  fire times {report.expected:,}, rows {report.rows:,}: {dict(report.states.most_common())}")
    print(f"  steps {report.steps:,}, outages {report.outages:,}, clock set back {report.set_back:,}")
    print(f"  kills {sum(report.kills.values()):,}: { {str(point): n for point, n in sorted(report.kills.items())} }")
    print(
        f"  doubles {report.doubles}, lost {report.lost}, invented {report.invented}, without a reason "
        f"{report.unexplained}, tasks without a row {report.tasks_of_no_row}, rows without their task "
        f"{report.rows_of_no_task}"
    )
    raise SystemExit(1 if report.faults else 0)


if __name__ == "__main__":
    main()
