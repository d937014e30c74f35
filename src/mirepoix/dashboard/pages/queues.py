"""The queues: how late each is, how fast it moves, when it will be empty, and who serves it."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from mirepoix.dashboard.pages.needs import site_of
from mirepoix.dashboard.render import render
from mirepoix.dashboard.snapshot import Seen
from mirepoix.ledger.query.health import QueueLoad, WorkerSeen
from mirepoix.operations.health import alive, by_urgency
from mirepoix.operations.slow import percentile


@dataclass(frozen=True, slots=True)
class Shown:
    """One queue with its pace. *empty_in_s* is None if that cannot be said."""

    load: QueueLoad
    objective_s: float | None
    rate: float
    median_s: float | None
    slowest_s: float | None
    empty_in_s: float | None
    workers: tuple[WorkerSeen, ...]
    slots: int


def show(request: Request) -> Response:
    """Show all of them, the most urgent first."""
    site = site_of(request)
    seen = site.snapshot.get()
    objectives = site.installation.settings.queue_objectives_s or {}
    queues = [
        _shown(load, seen, objectives.get(load.queue, objectives.get("*"))) for load in by_urgency(seen.overview.queues)
    ]
    return render(request, "queues.html", seen=seen, queues=queues)


def _shown(load: QueueLoad, seen: Seen, objective_s: float | None) -> Shown:
    rate = seen.pace.rates().get(load.queue, 0.0)
    times = sorted(
        task.run_time_s for task in seen.pace.ended if task.queue == load.queue and task.run_time_s is not None
    )
    serving = tuple(worker for worker in alive(seen.overview.workers) if load.queue in worker.queues)
    return Shown(
        load,
        objective_s,
        rate,
        percentile(times, 0.5) if times else None,
        percentile(times, 0.95) if times else None,
        load.waiting / rate if rate and load.waiting else None,
        serving,
        sum(worker.concurrency or 1 for worker in serving),
    )
