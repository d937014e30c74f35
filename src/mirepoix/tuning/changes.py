"""The changes that are tried in the simulation: concurrency, prefetch, more workers, and a queue that is split."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mirepoix.tuning.simulate import Arrival, Server
from mirepoix.tuning.workload import Waits, Workload, middle, waits

LONGER = 5.0
"""Tasks go to a queue of their own if they take so many times as long as the next shorter ones."""

LONG_LEAST = 10
"""The fewest long tasks for which a queue is split."""

LONG_SHARE = 0.5
"""The largest share of the tasks that can be called the long ones."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Workers that are alike. *workers* are up at the end of the period."""

    queues: tuple[str, ...]
    concurrency: int
    pool: str
    workers: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A fleet to try, for the queues *of*. *verb* is ``concurrency``, ``prefetch``, ``workers`` or ``split``."""

    verb: str
    words: str
    of: tuple[str, ...]
    servers: tuple[Server, ...]
    arrivals: tuple[Arrival, ...]
    value: int = 0
    long_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a change does to the tasks of one queue. *parts*: the tasks of each queue that it is split into."""

    change: Change
    queue: str
    waits: Waits
    parts: tuple[tuple[str, Waits], ...] = ()


def try_out(made: Workload, change: Change) -> list[Outcome]:
    """Simulate a change, and return what it does to each of its queues."""
    waited = made.simulated(change.servers, change.arrivals)
    found = []
    for queue in change.of:
        parts: dict[str, list[int]] = {}
        if change.long_names:
            for n, (run, counts, arrival) in enumerate(zip(made.runs, made.counted, change.arrivals, strict=True)):
                if counts and run.queue == queue:
                    parts.setdefault(arrival.queue, []).append(n)
        split = tuple(
            (name, middle([waits([once[n] for n in places]) for once in waited]))
            for name, places in sorted(parts.items())
        )
        found.append(Outcome(change, queue, made.of_queue(queue, waited), split))
    return found


def is_of(server: Server, kind: Kind) -> bool:
    """Return whether a worker is of that kind. The pool makes no difference to the simulation."""
    return server.queues == kind.queues and server.concurrency == kind.concurrency


def today(made: Workload, of: tuple[str, ...]) -> Change:
    """Return the fleet as it was."""
    return Change("today", "as it is", of, made.servers, made.arrivals)


def with_concurrency(made: Workload, kind: Kind, concurrency: int, of: tuple[str, ...]) -> Change:
    """Return the fleet with another concurrency of these workers."""
    changed = tuple(
        replace(server, concurrency=concurrency) if is_of(server, kind) else server for server in made.servers
    )
    words = f"concurrency {kind.concurrency} to {concurrency}"
    return Change("concurrency", words, of, changed, made.arrivals, concurrency)


def with_prefetch(made: Workload, prefetch: int, of: tuple[str, ...]) -> Change:
    """Return the fleet with another prefetch multiplier."""
    before = made.servers[0].prefetch
    changed = tuple(replace(server, prefetch=prefetch) for server in made.servers)
    return Change("prefetch", f"prefetch {before} to {prefetch}", of, changed, made.arrivals, prefetch)


def with_workers(made: Workload, kind: Kind, more: int, of: tuple[str, ...]) -> Change:
    """Return the fleet with so many more workers of that kind for the whole period."""
    model = next(server for server in made.servers if is_of(server, kind))
    added = tuple(replace(model, from_s=-math.inf, until_s=math.inf) for _ in range(more))
    words = f"{kind.workers} to {kind.workers + more} workers"
    return Change("workers", words, of, made.servers + added, made.arrivals, kind.workers + more)


def with_split(made: Workload, kind: Kind, queue: str) -> Change | None:
    """Return the fleet with a queue of their own for the long tasks of *queue*, served by a part of the same processes.

    None if no tasks are so much longer than the others, or if there is nothing to divide.
    """
    long_names = long_tasks(made, queue)
    if not long_names:
        return None
    own = f"{queue}-long"
    long_load = sum(r.run_s for r in made.runs if r.queue == queue and r.name in long_names)
    load = sum(r.run_s for r in made.runs if r.queue in kind.queues) or 1.0
    changed = list(_divided(made.servers, kind, own, long_load / load))
    if not any(own in server.queues for server in changed):
        return None
    arrivals = tuple(
        replace(arrival, queue=own) if arrival.queue == queue and arrival.name in long_names else arrival
        for arrival in made.arrivals
    )
    return Change("split", f"long tasks of {queue} to {own}", (queue,), tuple(changed), arrivals, 0, long_names)


def long_tasks(made: Workload, queue: str) -> tuple[str, ...]:
    """Return the names of the tasks that take much longer than the others of the queue. Empty if there are none."""
    times: dict[str, list[float]] = {}
    for run in made.runs:
        if run.queue == queue:
            times.setdefault(run.name, []).append(run.run_s)
    by_time = sorted(((statistics.median(found), name) for name, found in times.items()), reverse=True)
    total = sum(map(len, times.values()))
    best: tuple[str, ...] = ()
    widest = LONGER
    for place in range(1, len(by_time)):
        ratio = by_time[place - 1][0] / max(by_time[place][0], 0.001)
        names = tuple(sorted(name for _, name in by_time[:place]))
        tasks = sum(len(times[name]) for name in names)
        if ratio >= widest and LONG_LEAST <= tasks <= LONG_SHARE * total:
            best, widest = names, ratio
    return best


def _divided(servers: Sequence[Server], kind: Kind, own: str, share: float) -> Iterator[Server]:
    """Give a share of the processes of these workers to the queue *own*, at least one and not all."""
    alike = [server for server in servers if is_of(server, kind)]
    for_own = min(len(alike) - 1, max(1, round(share * len(alike))))
    for server in servers:
        if not is_of(server, kind):
            yield server
        elif kind.concurrency > 1:
            long_slots = min(kind.concurrency - 1, max(1, round(share * kind.concurrency)))
            yield replace(server, concurrency=kind.concurrency - long_slots)
            yield replace(server, queues=(own,), concurrency=long_slots)
        elif for_own > 0:
            for_own -= 1
            yield replace(server, queues=(own,))
        else:
            yield server
