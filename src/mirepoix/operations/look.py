"""Look at the whole ledger at one moment: what the first page of the dashboard and ``mirepoix top`` show."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from mirepoix.ledger import counting
from mirepoix.ledger.alerts import OpenAlert, all_open
from mirepoix.ledger.query import chords
from mirepoix.ledger.query.chords import WaitingChord
from mirepoix.ledger.query.failures import LISTED, Group, groups
from mirepoix.ledger.query.health import HOUR_S, QueueLoad, WorkerSeen
from mirepoix.ledger.query.pace import Pace, Share, pace_with_arrivals, shares
from mirepoix.ledger.query.releases import Release, releases
from mirepoix.ledger.query.running import Running, running
from mirepoix.ledger.tx import Tx
from mirepoix.operations.findings import Finding, Severity, failing, findings, late_schedules, slow_tasks, stuck_chords
from mirepoix.operations.health import Overview, alive, by_urgency, overview
from mirepoix.operations.schedules import ScheduleLine, lines
from mirepoix.operations.slow import Slow, percentile, slow
from mirepoix.operations.verdict import Verdict, verdict

LATE_AFTER_S = 60.0
GROWS = 1.05
"""A queue grows if so many times as many tasks arrive as end."""

AT_ONCE_S = 1.0
"""A queue is as good as empty if what waits in it is less than what ends in so long."""

CHORDS_MOST = 50
MEMBERS_MOST = 200
"""The most chords that wait, the oldest first, and of their members that wait for a person."""

RUNNING_MOST = 500
"""The most running tasks that are read, the longest first."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The ledger at one moment."""

    at: datetime
    overview: Overview
    findings: tuple[Finding, ...]
    verdict: Verdict
    groups: tuple[Group, ...]
    alerts: tuple[OpenAlert, ...]
    pace: Pace
    running: tuple[Running, ...]
    slow: tuple[Slow, ...]
    shares: tuple[Share, ...]
    releases: tuple[Release, ...]
    chords: tuple[WaitingChord, ...]
    schedules: tuple[ScheduleLine, ...]
    took_s: float


@dataclass(frozen=True, slots=True)
class QueuePace:
    """A queue with its pace. *empty_in_s* is None if nothing waits, or if not more tasks end than arrive."""

    load: QueueLoad
    objective_s: float | None
    rate_in: float
    rate_out: float
    median_s: float | None
    slowest_s: float | None
    empty_in_s: float | None
    workers: tuple[WorkerSeen, ...]
    slots: int

    @property
    def is_growing(self) -> bool:
        """Whether clearly more tasks arrive than end."""
        return self.rate_in > GROWS * self.rate_out

    @property
    def is_overdue(self) -> bool:
        """Whether a task has waited longer than the objective. A paused queue is not late."""
        if self.load.paused is not None:
            return False
        return self.objective_s is not None and (self.load.oldest_s or 0.0) > self.objective_s


def look(ledger: counting.Ledger, errors: tuple[type[Exception], ...], late_after_s: float = LATE_AFTER_S) -> Seen:
    """Read all of it. Failures that are not counted yet are counted first, unless that raises one of *errors*."""
    counting.catch_up(ledger, excused=errors)
    with ledger.reading() as tx:
        return look_in(tx, late_after_s)


def look_in(tx: Tx, late_after_s: float = LATE_AFTER_S) -> Seen:
    """Read all of it in a transaction."""
    began = time.perf_counter()
    seen = overview(tx, late_after_s)
    opened = all_open(tx)
    causes = [group for group in groups(tx) if group.status in LISTED]
    moves = pace_with_arrivals(tx)
    failed = shares(tx, moves)
    deployed = releases(tx)
    waits = chords.waiting(tx, CHORDS_MOST)
    stuck = chords.unreturned(tx, [chord.group_id for chord in waits], MEMBERS_MOST, chords.KEPT)
    runs = running(tx, RUNNING_MOST)
    longer = slow(runs, moves.run_times())
    plans = lines(tx, lately_s=HOUR_S)
    now = [*failing(failed), *stuck_chords(len(stuck)), *late_schedules(plans)]
    found = [*_with_failing(findings(seen), now), *slow_tasks(longer)]
    return Seen(
        at=datetime.now(UTC),
        overview=seen,
        findings=tuple(found),
        verdict=verdict(found, late_after_s),
        groups=tuple(causes),
        alerts=tuple(opened),
        pace=moves,
        running=runs,
        slow=tuple(longer),
        shares=tuple(failed),
        releases=tuple(deployed),
        chords=tuple(waits),
        schedules=tuple(plans),
        took_s=time.perf_counter() - began,
    )


def _with_failing(found: list[Finding], now: list[Finding]) -> list[Finding]:
    """Put what fails now behind the critical findings, and before what has waited for a person for long."""
    critical = [finding for finding in found if finding.severity is Severity.CRITICAL]
    return [*critical, *now, *found[len(critical) :]]


def queue_paces(seen: Seen, objectives_s: Mapping[str, float]) -> list[QueuePace]:
    """Return every queue with its pace, the most urgent first. The objective ``*`` is for the other queues."""
    return [
        _queue_pace(load, seen, objectives_s.get(load.queue, objectives_s.get("*")))
        for load in by_urgency(seen.overview.queues)
    ]


def _queue_pace(load: QueueLoad, seen: Seen, objective_s: float | None) -> QueuePace:
    rate_in = seen.pace.arrivals().get(load.queue, 0.0)
    rate_out = seen.pace.rates().get(load.queue, 0.0)
    times = sorted(
        task.run_time_s for task in seen.pace.ended if task.queue == load.queue and task.run_time_s is not None
    )
    serving = tuple(worker for worker in alive(seen.overview.workers) if load.queue in worker.queues)
    return QueuePace(
        load=load,
        objective_s=objective_s,
        rate_in=rate_in,
        rate_out=rate_out,
        median_s=percentile(times, 0.5) if times else None,
        slowest_s=percentile(times, 0.95) if times else None,
        empty_in_s=_empty_in_s(load.waiting, rate_in, rate_out),
        workers=serving,
        slots=sum(worker.concurrency or 1 for worker in serving),
    )


def _empty_in_s(waiting: int, rate_in: float, rate_out: float) -> float | None:
    if not waiting or not rate_out:
        return None
    if waiting / rate_out < AT_ONCE_S:
        return waiting / rate_out
    return waiting / (rate_out - rate_in) if rate_out > rate_in else None
