"""Find the running tasks that have run longer than their kind usually does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mirepoix.ledger.query.running import Running

TIMES = 3.0
"""A task is slow if it has run so many times as long as the slowest twentieth of its kind."""

AT_LEAST_S = 5.0
"""A task that has run for less is never slow."""

KNOWN = 20
"""How many run times are needed to know what is usual."""


@dataclass(frozen=True, slots=True)
class Slow:
    """A running task, and how long 95 of 100 of its kind ran at most."""

    task: Running
    usual_s: float


def slow(running: Iterable[Running], run_times: Mapping[str, Sequence[float]]) -> list[Slow]:
    """Return the slow tasks of *running*, the slowest first. *run_times* are sorted (see `Pace.run_times`)."""
    found = []
    for task in running:
        times = run_times.get(task.name, ())
        if len(times) < KNOWN:
            continue
        usual_s = percentile(times, 0.95)
        if task.running_s > max(AT_LEAST_S, TIMES * usual_s):
            found.append(Slow(task, usual_s))
    return sorted(found, key=lambda one: -one.task.running_s)


def percentile(times: Sequence[float], share: float) -> float:
    """Return the value that *share* of the sorted *times* do not exceed."""
    return times[min(len(times) - 1, int(share * len(times)))]
