"""How many tasks of each queue succeeded over the last hour, and how long they ran, as numbers for the chart."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mirepoix.dashboard.pages.needs import site_of
from mirepoix.ledger.query.health import HOUR_S
from mirepoix.ledger.query.pace import Ended, Pace, pace
from mirepoix.operations.slow import percentile

READ = 5_000
"""The most succeeded tasks that are read. If there are more, the chart covers less than an hour."""

BUCKETS = 30
QUEUES = 5
"""The busiest queues are drawn. The others are together one line."""

OTHERS = "other queues"


def show(request: Request) -> Response:
    """Return the numbers as JSON."""
    with site_of(request).reading() as tx:
        found = pace(tx, HOUR_S, READ)
    return JSONResponse(series(found, time.time()))


def series(found: Pace, now: float) -> dict[str, object]:
    """Return ``at`` (the end of each bucket), and by queue ``ended`` (a minute) and ``slowest_s`` (95th percentile)."""
    counts: dict[str, int] = {}
    for task in found.ended:
        counts[task.queue] = counts.get(task.queue, 0) + 1
    shown = sorted(counts, key=lambda queue: (-counts[queue], queue))[:QUEUES]
    width_s = found.span_s / BUCKETS
    buckets: dict[str, list[list[Ended]]] = {}
    for task in found.ended:
        name = task.queue if task.queue in shown else OTHERS
        place = BUCKETS - 1 - min(BUCKETS - 1, int(task.ago_s / width_s))
        buckets.setdefault(name, [[] for _ in range(BUCKETS)])[place].append(task)
    names = [*shown, *(name for name in buckets if name == OTHERS and OTHERS not in shown)]
    return {
        "span_s": found.span_s,
        "at": [round(now - found.span_s + width_s * (number + 1)) for number in range(BUCKETS)],
        "queues": [
            {
                "queue": name,
                "ended": [round(60 * len(bucket) / width_s, 3) for bucket in buckets[name]],
                "slowest_s": [_slowest(bucket) for bucket in buckets[name]],
            }
            for name in names
        ],
    }


def _slowest(bucket: list[Ended]) -> float | None:
    times = sorted(task.run_time_s for task in bucket if task.run_time_s is not None)
    return percentile(times, 0.95) if times else None
