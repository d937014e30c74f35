"""Read the ledger, and say it as families of metrics. docs/reference/metrics.md has every name.

No label has the name of a host, a process, a worker or a task's id, so the number of series depends on the names of
tasks, queues and schedules only.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mirepoix.config import Settings
from mirepoix.ledger import queue_probes, sending
from mirepoix.ledger.query.health import HOUR_S, QueueLoad
from mirepoix.ledger.queue_probes import QueueProbe
from mirepoix.ledger.totals import Kind, Tally
from mirepoix.ledger.tx import Tx
from mirepoix.metrics.counters import Counters
from mirepoix.metrics.text import Family
from mirepoix.operations.health import Overview, overview
from mirepoix.operations.schedules import ScheduleLine, lines
from mirepoix.sql.buckets import BOUNDS_S, UNKNOWN
from mirepoix.states import ATTENTION, AttemptOutcome, State

LATE_AFTER_S = 300.0
DIED = frozenset({AttemptOutcome.LOST, AttemptOutcome.KILLED})


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a ledger in one transaction."""

    seen: Overview
    tally: Tally
    kept: Mapping[tuple[State, str], int]
    groups: Mapping[str, int]
    alerts: Mapping[str, int]
    has_broker: bool
    is_relayed: bool
    unsent: int
    unsent_s: float
    probes: tuple[QueueProbe, ...]
    schedules: tuple[ScheduleLine, ...]
    took_s: float


def read(tx: Tx, counters: Counters) -> Reading:
    """Read everything that is exported."""
    began = time.perf_counter()
    seen = overview(tx, LATE_AFTER_S)
    leader, unsent = sending.leader(tx), sending.count_unsent(tx)
    return Reading(
        seen=seen,
        tally=counters.read(tx),
        kept={
            (state, row.name): int(row.tasks)
            for state in sorted(ATTENTION)
            for row in tx.fetch("kept_names", state=state.value)
        },
        groups={row.status: int(row.causes) for row in tx.fetch("count_failure_groups")},
        alerts={row.kind: int(row.alerts) for row in tx.fetch("count_open_alerts")},
        has_broker=leader is not None or bool(unsent),
        is_relayed=leader is not None and leader.trouble is None,
        unsent=unsent,
        unsent_s=float(tx.fetch("relay_lag")[0].oldest_s or 0.0) if unsent else 0.0,
        probes=tuple(queue_probes.latest(tx)),
        schedules=tuple(lines(tx, lately_s=HOUR_S)),
        took_s=time.perf_counter() - began,
    )


def families(reading: Reading, settings: Settings) -> list[Family]:
    """Return the families under Mirepoix's own names."""
    return [
        *_attempts(reading.tally),
        *_queues(reading.seen.queues, settings),
        *_decisions(reading),
        *_workers(reading.seen),
        *_relay(reading),
        *_probes(reading.probes),
        *_schedules(reading.schedules),
        _one("mirepoix_scrape_seconds", "How long the ledger was read for this answer.", reading.took_s),
    ]


def buckets(counts: Mapping[int, int]) -> list[tuple[float, int]]:
    """Return the counts of a histogram by upper bounds, from counts by the numbers of buckets."""
    return [(bound, counts.get(bucket, 0)) for bucket, bound in enumerate((*BOUNDS_S, float("inf")))]


def run_times(tally: Tally) -> Iterable[tuple[str, dict[int, int], float]]:
    """Return each task's name, its attempts by bucket of the running time, and the sum of these times in seconds."""
    return _histograms(tally, Kind.RUN)


def _attempts(tally: Tally) -> list[Family]:
    ended = Family("mirepoix_attempts_total", "counter", "Attempts that ended.")
    outcomes: dict[tuple[str, str, str], int] = {}
    for key, attempts in tally.attempts.items():
        if key.kind is Kind.RUN:
            labels = (key.name, key.queue, key.outcome)
            outcomes[labels] = outcomes.get(labels, 0) + attempts
    for (task, queue, outcome), attempts in sorted(outcomes.items()):
        ended.add(attempts, task=task, queue=queue, outcome=outcome)
    died = sum(attempts for (_, _, outcome), attempts in outcomes.items() if outcome in DIED)
    ran = Family("mirepoix_run_seconds", "histogram", "How long user code ran in an attempt, if that is known.")
    for task, counts, seconds in run_times(tally):
        ran.add_histogram(buckets(counts), seconds, task=task)
    waited = Family(
        "mirepoix_wait_seconds", "histogram", "How long a ready task waited until a worker took it, for each attempt."
    )
    for queue, counts, seconds in _histograms(tally, Kind.WAIT):
        waited.add_histogram(buckets(counts), seconds, queue=queue)
    recovered = Family(
        "mirepoix_recoveries_total", "counter", "Tasks taken back because their process or worker died, or lost them."
    )
    recovered.add(died)
    return [ended, recovered, ran, waited]


def _histograms(tally: Tally, kind: Kind) -> Iterable[tuple[str, dict[int, int], float]]:
    found: dict[str, tuple[dict[int, int], list[int]]] = {}
    for key, attempts in tally.attempts.items():
        if key.kind is kind and key.bucket != UNKNOWN:
            counts, microseconds = found.setdefault(key.name if kind is Kind.RUN else key.queue, ({}, []))
            counts[key.bucket] = counts.get(key.bucket, 0) + attempts
            microseconds.append(tally.microseconds[key])
    return [(label, counts, sum(sums) / 1_000_000) for label, (counts, sums) in sorted(found.items())]


def _queues(loads: Iterable[QueueLoad], settings: Settings) -> list[Family]:
    tasks = Family("mirepoix_queue_tasks", "gauge", "Tasks that wait, are scheduled, or are held by a worker.")
    oldest = Family("mirepoix_queue_oldest_seconds", "gauge", "How long the longest waiting ready task has waited.")
    longest = Family("mirepoix_queue_longest_running_seconds", "gauge", "How long the longest running task has run.")
    served = Family("mirepoix_queue_served", "gauge", "Whether a live worker consumes the queue.")
    objective = Family("mirepoix_queue_objective_seconds", "gauge", "The setting queue_objectives_s of the queue.")
    objectives_s = settings.queue_objectives_s or {}
    for load in loads:
        numbers = {"waiting": load.waiting, "scheduled": load.scheduled, "leased": load.taken, "running": load.running}
        for state, number in numbers.items():
            tasks.add(number, queue=load.queue, state=state)
        oldest.add(load.oldest_s or 0.0, queue=load.queue)
        longest.add(load.longest_s or 0.0, queue=load.queue)
        served.add(int(load.is_served), queue=load.queue)
        objective_s = objectives_s.get(load.queue, objectives_s.get("*"))
        if objective_s is not None:
            objective.add(objective_s, queue=load.queue)
    return [tasks, oldest, longest, served, objective]


def _decisions(reading: Reading) -> list[Family]:
    kept = Family("mirepoix_kept_tasks", "gauge", "Tasks that wait for a person: failed, quarantined or parked.")
    for (state, task), number in sorted(reading.kept.items()):
        kept.add(number, task=task, state=state)
    groups = Family("mirepoix_failure_groups", "gauge", "Causes of failures by status.")
    for status in ("open", "regressed", "ignored", "resolved"):
        groups.add(reading.groups.get(status, 0), status=status)
    alerts = Family("mirepoix_open_alerts", "gauge", "Open alerts by kind.")
    for kind, number in sorted(reading.alerts.items()):
        alerts.add(number, kind=kind)
    return [kept, groups, alerts]


def _workers(seen: Overview) -> list[Family]:
    alive = seen.alive
    silent = sum(worker.is_silent for worker in seen.workers)
    numbers = {"alive": len(alive), "silent": silent, "stuck": sum(worker.stuck_s is not None for worker in alive)}
    workers = Family("mirepoix_workers", "gauge", "Workers by state. A stuck worker is alive too.")
    for state, number in numbers.items():
        workers.add(number, state=state)
    died = sum(not worker.is_alive for worker in seen.workers)
    beat_s = max((worker.heartbeat_s for worker in seen.workers if worker.is_alive), default=0.0)
    return [
        workers,
        _one("mirepoix_workers_died_last_hour", "Workers that died within the last hour.", died),
        _one(
            "mirepoix_worker_slots", "Tasks that all live workers can run at once.", sum(w.concurrency for w in alive)
        ),
        _one(
            "mirepoix_worker_heartbeat_age_seconds",
            "The age of the oldest heartbeat of a live or silent worker.",
            beat_s,
        ),
        _one(
            "mirepoix_stranded_tasks",
            "Tasks held by workers that are not alive, which nobody takes back.",
            sum(held.count for held in seen.stranded),
        ),
    ]


def _relay(reading: Reading) -> list[Family]:
    if not reading.has_broker:
        return []
    return [
        _one("mirepoix_relay_up", "Whether a relay publishes without trouble.", int(reading.is_relayed)),
        _one("mirepoix_relay_unsent_tasks", "Ready tasks that are to be published to the broker.", reading.unsent),
        _one("mirepoix_relay_lag_seconds", "How long the oldest of these has been ready.", reading.unsent_s),
    ]


def _probes(probes: Iterable[QueueProbe]) -> list[Family]:
    took = Family("mirepoix_probe_seconds", "gauge", "How long the latest probe that ran took, from its sending on.")
    pending = Family("mirepoix_probe_pending_seconds", "gauge", "How long a probe has not run yet; 0 if none is open.")
    for probe in probes:
        if probe.took_s is not None:
            took.add(probe.took_s, queue=probe.queue)
        pending.add(probe.asked_ago_s if probe.is_pending else 0.0, queue=probe.queue)
    return [took, pending]


def _schedules(schedules: Iterable[ScheduleLine]) -> list[Family]:
    overdue = Family(
        "mirepoix_schedule_overdue_seconds", "gauge", "How long the next fire time has been due; 0: it is not."
    )
    missed = Family("mirepoix_schedule_missed_last_hour", "gauge", "Fire times of the last hour that were missed.")
    failures = Family("mirepoix_schedule_failures", "gauge", "How many runs in a row have failed.")
    paused = Family("mirepoix_schedule_paused", "gauge", "1: the schedule is paused.")
    for line in schedules:
        overdue.add(line.overdue_s, schedule=line.name)
        missed.add(line.missed, schedule=line.name)
        failures.add(line.failures, schedule=line.name)
        paused.add(int(line.state == "paused"), schedule=line.name)
    return [overdue, missed, failures, paused]


def _one(name: str, help_: str, value: float) -> Family:
    family = Family(name, "gauge", help_)
    family.add(value)
    return family
