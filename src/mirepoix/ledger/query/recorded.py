"""Read what was recorded of attempts that ran: when each was ready, when it began, how long it ran, and where."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mirepoix.ledger.query.health import RELAY_POOL
from mirepoix.ledger.query.planning import at_once
from mirepoix.ledger.query.values import seconds
from mirepoix.ledger.tx import Tx
from mirepoix.sql.columns import Row

WORKERS_MOST = 1_000
"""The most starts of workers that are read, the latest first."""


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt that ran. Times are in seconds since the moment of reading, so they are negative."""

    name: str
    queue: str
    priority: int
    seq: int
    worker_id: str | None
    pid: int | None
    ready_s: float
    started_s: float
    ended_s: float
    """When its end was recorded."""
    run_s: float
    peak_memory_kb: int | None

    @property
    def waited_s(self) -> float:
        """How long it was ready before user code began, in its queue and in its worker."""
        return max(0.0, self.started_s - self.ready_s)


@dataclass(frozen=True, slots=True)
class WorkerSpan:
    """A worker, from its start to its end. *ended_s* is None while it lives."""

    id: str
    name: str
    pool: str
    concurrency: int
    queues: tuple[str, ...]
    started_s: float
    ended_s: float | None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was read. *is_capped*: there was more, and the newest were taken."""

    runs: tuple[Run, ...]
    workers: tuple[WorkerSpan, ...]
    since_s: float
    """The runs that ended in so many seconds were read, all of them that ran."""
    is_capped: bool
    waiting: dict[str, int]
    """For each queue, the tasks that wait now, and so are not among the runs."""


def recorded(tx: Tx, since_s: float, cap: int) -> Recorded:
    """Read the attempts that ended in the last *since_s* seconds, at most *cap* of each kind, the newest.

    Cancelled and expired tasks are left out, and attempts without a run time, such as those that were killed.
    """
    at_once(tx)
    succeeded = tx.fetch("recorded_runs", since_s=since_s, cap=cap)
    is_capped = len(succeeded) == cap
    if is_capped:
        since_s = seconds(succeeded[-1].finished_ago_s) or since_s
    failures = tx.fetch("recorded_failures", since_s=since_s, cap=cap)
    found = [run for row in (*succeeded, *failures) if (run := _run(row)) is not None]
    workers = [
        WorkerSpan(
            row.id,
            row.name,
            row.pool,
            max(1, int(row.concurrency or 1)),
            tuple(json.loads(row.queues)),
            -(seconds(row.started_ago_s) or 0.0),
            None if row.ended_ago_s is None else -(seconds(row.ended_ago_s) or 0.0),
        )
        for row in tx.fetch("recorded_workers", since_s=since_s, cap=WORKERS_MOST)
        if row.pool != RELAY_POOL
    ]
    waiting = {row.queue: int(row.waiting) for row in tx.fetch("load_ready", late_s=0.0)}
    found.sort(key=lambda run: (run.ready_s, run.seq))
    return Recorded(tuple(found), tuple(workers), since_s, is_capped, waiting)


def _run(row: Row) -> Run | None:
    leased_ago_s, started_ago_s = seconds(row.leased_ago_s), seconds(row.started_ago_s)
    if row.waited_s is None or row.run_time_s is None or leased_ago_s is None:
        return None
    if started_ago_s is None:  # a failure before the worker recorded the start
        started_ago_s = (seconds(row.finished_ago_s) or 0.0) + float(row.run_time_s)
    return Run(
        row.name,
        row.queue,
        int(row.priority),
        int(row.seq),
        row.worker_id,
        row.pid,
        -leased_ago_s - float(row.waited_s),
        -started_ago_s,
        -(seconds(row.finished_ago_s) or 0.0),
        float(row.run_time_s),
        None if row.peak_memory_kb is None else int(row.peak_memory_kb),
    )
