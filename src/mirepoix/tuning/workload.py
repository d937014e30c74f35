"""Make a workload for the simulation from recorded runs, and fit the simulation to what was measured."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mirepoix.ledger.query.recorded import Recorded, Run
from mirepoix.operations.format import run_time
from mirepoix.operations.slow import percentile
from mirepoix.tuning.simulate import Arrival, Overheads, Server, simulate

SEEN_S = 0.06
"""The start of a shorter run is not seen: it is the recorded end, which is late, without the run time."""

REPEATED = 100
EVENTS = 20_000
"""How often a small workload is simulated, as long as no more tasks are simulated in all.

With two workers and a prefetch of 8 the p95 of 127 tasks was 1.45 s to 3.64 s in 90 of 100 simulations. The standard
deviation of the middle was 10 % of 15 simulations, and 3 % of 150.
"""

KNOWN = 10
"""How many times must be recorded to know an overhead; with fewer, the figures of `Overheads` stand."""

FITS = 0.2
"""The simulation fits if its p95 of today is so near to the recorded p95."""

FITS_S = 0.05
"""Or if it is so near, in seconds."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Percentiles of waiting times in seconds. *never* tasks were not taken; they count as infinite."""

    tasks: int
    p50_s: float
    p95_s: float
    p99_s: float
    never: int = 0


Waited = list[list[float]]
"""How long each arrival waits, once for each simulation."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What arrived, who worked, and how long each task waited. The simulation's seconds are those of the record."""

    runs: tuple[Run, ...]
    arrivals: tuple[Arrival, ...]
    counted: tuple[bool, ...]
    """Whether an arrival is judged. One from before the period is only there because it was work."""
    servers: tuple[Server, ...]
    from_s: float
    until_s: float
    overheads: Overheads

    @property
    def span_s(self) -> float:
        """How long the period is."""
        return self.until_s - self.from_s

    def recorded(self, queue: str) -> Waits:
        """Return how long the tasks of *queue* waited, as recorded."""
        return waits(
            [run.waited_s for run, counts in zip(self.runs, self.counted, strict=True) if counts and run.queue == queue]
        )

    def simulated(self, servers: Sequence[Server], arrivals: Sequence[Arrival] | None = None) -> Waited:
        """Return how long each arrival waits with these workers, several times for small workloads.

        Which of several workers takes a task is chance, and one outcome says little.
        """
        times = max(1, min(REPEATED, EVENTS // max(1, len(self.arrivals))))
        return [simulate(arrivals or self.arrivals, servers, self.overheads, seed) for seed in range(times)]

    def of_queue(self, queue: str, waited: Waited) -> Waits:
        """Return the percentiles of the tasks that were sent to *queue*, from the result of `simulated`."""
        places = [n for n, run in enumerate(self.runs) if self.counted[n] and run.queue == queue]
        return middle([waits([once[n] for n in places]) for once in waited])

    def load(self, queues: Sequence[str]) -> float:
        """Return how many processes the tasks of *queues* keep busy on average."""
        busy_s = sum(
            run.run_s for run, counts in zip(self.runs, self.counted, strict=True) if counts and run.queue in queues
        )
        return busy_s / self.span_s if self.span_s > 0 else 0.0


def waits(waited_s: Sequence[float]) -> Waits:
    """Return the percentiles. Without tasks they are 0."""
    found = sorted(waited_s)
    if not found:
        return Waits(0, 0.0, 0.0, 0.0)
    never = found.count(math.inf)
    p50_s, p95_s, p99_s = (percentile(found, share) for share in (0.5, 0.95, 0.99))
    return Waits(len(found), p50_s, p95_s, p99_s, never)


def middle(found: Sequence[Waits]) -> Waits:
    """Return the middle of each percentile of several simulations."""
    never = int(statistics.median_high(one.never for one in found))
    p50_s, p95_s, p99_s = (
        statistics.median_high(getattr(one, name) for one in found) for name in ("p50_s", "p95_s", "p99_s")
    )
    return Waits(found[0].tasks, p50_s, p95_s, p99_s, never)


def wait_words(seconds: float) -> str:
    """Write a waiting time, below a second in milliseconds."""
    if seconds == math.inf:
        return "never"
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else run_time(seconds)


def workload(found: Recorded, prefetch: int) -> Workload:
    """Make a workload of all runs, with workers of that prefetch multiplier."""
    from_s = -found.since_s
    if found.runs and not found.is_capped:
        from_s = max(from_s, found.runs[0].ready_s)
    until_s = max((run.ended_s for run in found.runs), default=0.0)
    arrivals = tuple(Arrival(run.ready_s, run.queue, run.name, run.run_s, run.priority, run.seq) for run in found.runs)
    servers = tuple(
        Server(
            span.queues, span.concurrency, prefetch, span.started_s, math.inf if span.ended_s is None else span.ended_s
        )
        for span in found.workers
    )
    counted = tuple(run.ready_s >= from_s for run in found.runs)
    overheads = measured(found.runs, {span.id: span.concurrency for span in found.workers})
    return Workload(found.runs, arrivals, counted, servers, from_s, until_s, overheads)


def measured(runs: Sequence[Run], servers: Mapping[str, int]) -> Overheads:
    """Return the overheads that the record shows. *servers* has the concurrency of each worker by its id.

    The tasks that found an idle process show how long it takes to reach one. The tasks that waited for a process show
    how long a process pauses between two tasks.
    """
    guess = Overheads()
    # A pause is matched to an end by a rule that is sometimes wrong, so its median stands for all.
    pause = _usual(pauses(runs))
    return Overheads(
        _usual(reaches(runs, servers)) or guess.reach_s, (percentile(pause, 0.5),) if pause else guess.pause_s
    )


def _usual(found: Iterable[float]) -> tuple[float, ...]:
    """Return the times without the longest tenth, which have other causes. Too few say nothing."""
    times = sorted(found)
    return tuple(times[: int(0.9 * len(times))]) if len(times) >= KNOWN else ()


def reaches(runs: Sequence[Run], servers: Mapping[str, int]) -> Iterator[float]:
    """Yield how long each task waited that became ready while its worker had a free process and nothing else waited."""
    for worker_id, of_worker in _by_worker(runs).items():
        starts = sorted(run.started_s for run in of_worker)
        ends = sorted(run.started_s + run.run_s for run in of_worker)
        ready = sorted(run.ready_s for run in of_worker)
        for run in of_worker:
            started = bisect_right(starts, run.ready_s)
            is_alone = bisect_right(ready, run.ready_s) - started <= 1
            if (
                run.run_s >= SEEN_S
                and is_alone
                and started - bisect_right(ends, run.ready_s) < servers.get(worker_id or "", 0)
            ):
                yield run.waited_s


def pauses(runs: Iterable[Run]) -> Iterator[float]:
    """Yield how long a process was idle before each task that waited for it: from the end of the latest run before.

    Each end of a worker belongs to one start at most, the next one after it.
    """
    for of_worker in _by_worker(runs).values():
        ends = sorted((run.started_s + run.run_s, run.run_s >= SEEN_S) for run in of_worker)
        free: list[tuple[float, bool]] = []
        place = 0
        for run in sorted(of_worker, key=lambda run: run.started_s):
            while place < len(ends) and ends[place][0] <= run.started_s:
                free.append(ends[place])
                place += 1
            if free:
                ended_s, is_seen = free.pop()
                if is_seen and run.run_s >= SEEN_S and run.ready_s < ended_s:
                    yield run.started_s - ended_s


def _by_worker(runs: Iterable[Run]) -> dict[str | None, list[Run]]:
    found: dict[str | None, list[Run]] = {}
    for run in runs:
        found.setdefault(run.worker_id, []).append(run)
    return found


def fits(recorded: Waits, simulated: Waits) -> bool:
    """Return whether the simulation of today agrees with what was recorded."""
    apart_s = abs(recorded.p95_s - simulated.p95_s)
    return apart_s <= max(FITS_S, FITS * recorded.p95_s)
