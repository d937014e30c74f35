"""Advise: which of the changes is worth making, and which limits fit what was observed, each with its evidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mirepoix.ledger.query.recorded import Recorded
from mirepoix.operations.format import count, duration, memory, run_time
from mirepoix.operations.slow import percentile
from mirepoix.tuning.changes import (
    Change,
    Kind,
    Outcome,
    today,
    try_out,
    with_concurrency,
    with_prefetch,
    with_split,
    with_workers,
)
from mirepoix.tuning.workload import Waits, Workload, fits, wait_words, workload

ENOUGH = 100
"""The fewest recorded runs for an advice."""

KINDS_MOST = 5
"""The most kinds of workers for which changes are tried, the busiest first."""

QUEUES_MOST = 10
"""The most queues for which changes are tried, the busiest first."""

MOST = 64
"""The most processes of a worker, and the most more workers, that are tried."""

BETTER = 0.7
"""Without an objective a change is worth mentioning if the p95 falls to so much of what it was."""

NOTICED_S = 0.1
"""And if it was longer than this."""

IDLE = 0.5
"""Fewer processes are advised only if they are busy for less than this share of the time."""

GROWS = 1.2
PER_PROCESS = 20
"""Memory grows if a process uses so many times as much at the end as after its first task, over so many tasks."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One advice. *setting* is None if nothing is to be set. *tasks* were recorded over *period_s* seconds."""

    subject: str
    sentence: str
    setting: str | None
    evidence: str
    tasks: int
    period_s: float


@dataclass(frozen=True, slots=True)
class QueueStudy:
    """One queue: what was recorded, how the simulation fits, and what each change would do."""

    queue: str
    objective_s: float | None
    recorded: Waits
    simulated: Waits
    is_fitting: bool
    load: float
    slots: int
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """Everything that ``mirepoix tune`` says."""

    period_s: float
    tasks: int
    is_capped: bool
    prefetch: int
    waiting: dict[str, int]
    kinds: tuple[Kind, ...]
    queues: tuple[QueueStudy, ...]
    advice: tuple[Advice, ...]
    not_enough: tuple[str, ...]


def study(found: Recorded, objectives_s: Mapping[str, float], prefetch: int) -> Study:
    """Try changes on what was recorded, and advise. *objectives_s* limit the p95 of the waiting time of each queue."""
    made = workload(found, prefetch)
    kinds = _kinds(made, found)
    studies: list[QueueStudy] = []
    advice: list[Advice] = []
    missing: list[str] = []
    before = made.simulated(made.servers) if made.servers and made.arrivals else []
    by_load = sorted({run.queue for run in made.runs}, key=lambda queue: (-made.load([queue]), queue))
    if by_load[QUEUES_MOST:]:
        missing.append(f"{count(len(by_load) - QUEUES_MOST, 'queue')} with less work: not tried")
    for queue in by_load[:QUEUES_MOST]:
        recorded = made.recorded(queue)
        kind = next((kind for kind in kinds[:KINDS_MOST] if queue in kind.queues), None)
        if recorded.tasks < ENOUGH:
            missing.append(f"queue {queue!r}: {count(recorded.tasks, 'task')} recorded, {ENOUGH} are needed")
            continue
        if kind is None:
            missing.append(f"queue {queue!r}: none of the {KINDS_MOST} busiest kinds of workers consumes it")
            continue
        objective_s = objectives_s.get(queue, objectives_s.get("*"))
        simulated = made.of_queue(queue, before)
        slots = sum(kind.workers * kind.concurrency for kind in kinds if queue in kind.queues)
        is_fitting = fits(recorded, simulated)
        outcomes = tuple(_outcomes(made, kind, queue))
        one = QueueStudy(queue, objective_s, recorded, simulated, is_fitting, made.load([queue]), slots, outcomes)
        studies.append(one)
        if is_fitting:
            advice += _of_queue(made, kind, one)
        else:
            missing.append(
                f"queue {queue!r}: the simulation of today has a p95 of {wait_words(simulated.p95_s)} and the record "
                f"{wait_words(recorded.p95_s)}, so it does not explain the waiting, and its predictions are no advice"
            )
    advice += _limits(found, made, missing)
    advice += _memory(found, made, missing)
    return Study(
        made.span_s,
        sum(made.counted),
        found.is_capped,
        prefetch,
        found.waiting,
        tuple(kinds),
        tuple(studies),
        tuple(advice),
        tuple(missing),
    )


def _kinds(made: Workload, found: Recorded) -> list[Kind]:
    """Return the kinds of the workers that are up, or else of those that were, those with most work first."""
    alike: dict[tuple[tuple[str, ...], int, str], list[str]] = {}
    living = [span for span in found.workers if span.ended_s is None]
    for span in living or found.workers:
        alike.setdefault((span.queues, span.concurrency, span.pool), []).append(span.name)
    kinds = [
        Kind(queues, concurrency, pool, len(names), tuple(sorted(names)))
        for (queues, concurrency, pool), names in alike.items()
    ]
    return sorted(kinds, key=lambda kind: -made.load(kind.queues))


def _outcomes(made: Workload, kind: Kind, queue: str) -> list[Outcome]:
    of = (queue,)
    changes: list[Change | None] = [today(made, of)]
    if kind.concurrency > 1:
        changes.append(with_concurrency(made, kind, kind.concurrency // 2, of))
    changes += [with_concurrency(made, kind, times * kind.concurrency, of) for times in (2, 4)]
    changes += [with_prefetch(made, other, of) for other in (1, 4) if other != made.servers[0].prefetch]
    changes += [with_workers(made, kind, more, of) for more in (1, 2)]
    changes.append(with_split(made, kind, queue))
    return [outcome for change in changes if change is not None for outcome in try_out(made, change)]


def _of_queue(made: Workload, kind: Kind, one: QueueStudy) -> list[Advice]:
    if one.objective_s is None:
        return _worth_it(made, kind, one)
    evidence = _evidence(one.recorded.tasks, made.span_s)
    about = f"queue {one.queue!r}"
    goal = wait_words(one.objective_s)
    if one.recorded.p95_s <= one.objective_s:
        words = f"It keeps its objective of {goal}: the p95 of the waiting time is {wait_words(one.recorded.p95_s)}."
        found = [_advice(made, one, about, words, None, evidence)]
        return found + _fewer(made, kind, one)
    late = f"The p95 is {wait_words(one.recorded.p95_s)}, and {wait_words(one.objective_s)} is promised. "
    found = []
    for outcome in one.outcomes:
        if outcome.change.verb in ("split", "prefetch") and outcome.waits.p95_s <= one.objective_s:
            words = (
                late + f"With {outcome.change.words} it is {wait_words(outcome.waits.p95_s)}, without more processes."
            )
            found.append(_advice(made, one, about, words, _setting(outcome.change, kind), evidence))
    slots = _smallest(lambda n: try_out(made, with_concurrency(made, kind, n, (one.queue,)))[0], kind.concurrency, one)
    if slots is not None:
        words = late + f"With {slots.change.words} it is {wait_words(slots.waits.p95_s)}."
        found.append(_advice(made, one, about, words, _setting(slots.change, kind), evidence))
    more = _smallest(lambda n: try_out(made, with_workers(made, kind, n, (one.queue,)))[0], 0, one)
    if more is not None:
        words = late + f"With {more.change.words} it is {wait_words(more.waits.p95_s)}."
        found.append(_advice(made, one, about, words, _setting(more.change, kind), evidence))
    if not found:
        words = late + f"No change that was tried keeps it, up to {MOST} more processes or workers."
        found.append(_advice(made, one, about, words, None, evidence))
    return found


def _smallest(outcome_of: Callable[[int], Outcome], at_least: int, one: QueueStudy) -> Outcome | None:
    """Return the smallest number above *at_least* that keeps the objective, by doubling and then halving."""
    assert one.objective_s is not None
    low, step, best = at_least, 1, None
    while best is None and low + step <= at_least + MOST:
        outcome = outcome_of(low + step)
        if outcome.waits.p95_s <= one.objective_s:
            best, high = outcome, low + step
        else:
            low, step = low + step, step * 2
    if best is None:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        outcome = outcome_of(middle)
        if outcome.waits.p95_s <= one.objective_s:
            best, high = outcome, middle
        else:
            low = middle
    return best


def _worth_it(made: Workload, kind: Kind, one: QueueStudy) -> list[Advice]:
    """Without an objective: mention the changes that need no more processes and help much."""
    evidence = _evidence(one.recorded.tasks, made.span_s)
    about, now_s = f"queue {one.queue!r}", one.simulated.p95_s
    found = []
    for outcome in one.outcomes:
        change = outcome.change
        if change.verb in ("split", "prefetch") and now_s > NOTICED_S and outcome.waits.p95_s <= BETTER * now_s:
            words = f"With {change.words} the p95 of the waiting time falls from {wait_words(now_s)} to "
            words += f"{wait_words(outcome.waits.p95_s)}, without more processes."
            found.append(_advice(made, one, about, words, _setting(change, kind), evidence))
    return found + _fewer(made, kind, one)


def _fewer(made: Workload, kind: Kind, one: QueueStudy) -> list[Advice]:
    """Advise half of the processes if they would do as well."""
    busy = made.load(kind.queues) / max(1, kind.workers * kind.concurrency)
    if len(kind.queues) > 1 or busy >= IDLE:
        return []
    for outcome in one.outcomes:
        change = outcome.change
        if change.verb == "concurrency" and change.value < kind.concurrency:
            limit_s = one.objective_s if one.objective_s is not None else one.simulated.p95_s + NOTICED_S
            if outcome.waits.p95_s <= limit_s:
                words = (
                    f"Its processes are busy {busy:.0%} of the time. With {change.words} the p95 of the waiting time "
                )
                words += f"is {wait_words(outcome.waits.p95_s)} instead of {wait_words(one.simulated.p95_s)}."
                evidence = _evidence(one.recorded.tasks, made.span_s)
                return [_advice(made, one, f"queue {one.queue!r}", words, _setting(change, kind), evidence)]
    return []


def _setting(change: Change, kind: Kind) -> str:
    queues = ",".join(kind.queues)
    match change.verb:
        case "concurrency":
            return f"celery worker -Q {queues} --concurrency {change.value}"
        case "prefetch":
            return f"worker_prefetch_multiplier = {change.value}"
        case "workers":
            return f"{change.value} workers of: celery worker -Q {queues} --concurrency {kind.concurrency}"
    own = next(server for server in change.servers if server.queues == (f"{change.of[0]}-long",))
    routes = ", ".join(f"{name!r}: {{'queue': {own.queues[0]!r}}}" for name in change.long_names)
    return f"task_routes = {{{routes}}}, and: celery worker -Q {own.queues[0]} --concurrency {own.concurrency}"


def _limits(found: Recorded, made: Workload, missing: list[str]) -> list[Advice]:
    """Advise time limits for each task from its run times."""
    times: dict[str, list[float]] = {}
    for run in found.runs:
        times.setdefault(run.name, []).append(run.run_s)
    advice = []
    few = 0
    for name, seen in sorted(times.items()):
        if len(seen) < ENOUGH:
            few += 1
            continue
        seen.sort()
        p99_s, longest_s = percentile(seen, 0.99), seen[-1]
        soft_s = rounded_up(max(1.0, 3 * p99_s, 1.5 * longest_s))
        hard_s = rounded_up(1.25 * soft_s)
        words = (
            f"It runs for {run_time(percentile(seen, 0.5))} (median), 99 of 100 at most {run_time(p99_s)}, the longest "
        )
        words += f"{run_time(longest_s)}."
        setting = f"soft_time_limit={soft_s:g}, time_limit={hard_s:g}"
        advice.append(Advice(f"task {name}", words, setting, _evidence(len(seen), made.span_s), len(seen), made.span_s))
    if few:
        missing.append(f"time limits: {count(few, 'task name')} with fewer than {ENOUGH} runs")
    return advice


def _memory(found: Recorded, made: Workload, missing: list[str]) -> list[Advice]:
    """Advise ``worker_max_memory_per_child`` for pools of processes, from the peaks of their memory."""
    pools = {span.id: span.pool for span in found.workers}
    runs = [run for run in found.runs if run.peak_memory_kb and "prefork" in pools.get(run.worker_id or "", "")]
    if len(runs) < ENOUGH:
        missing.append(
            f"max_memory_per_child: {count(len(runs), 'run')} with peak memory in a prefork pool, {ENOUGH} are needed"
        )
        return []
    peaks = sorted(run.peak_memory_kb or 0 for run in runs)
    p99_kb = percentile(peaks, 0.99)
    processes: dict[tuple[str | None, int | None], list[int]] = {}
    for run in sorted(runs, key=lambda run: run.started_s):
        processes.setdefault((run.worker_id, run.pid), []).append(run.peak_memory_kb or 0)
    long_lived = [seen for seen in processes.values() if len(seen) >= PER_PROCESS]
    growing = sum(1 for seen in long_lived if seen[-1] > GROWS * seen[0])
    limit_kb = math.ceil(1.5 * p99_kb / 10_240) * 10_240
    words = f"A process used {memory(int(percentile(peaks, 0.5)))} at its peak (median), 99 of 100 at most "
    words += f"{memory(int(p99_kb))}. "
    if not long_lived:
        words += f"No process ran {PER_PROCESS} tasks, so whether memory grows is not known."
    elif growing:
        words += f"It grew by more than {GROWS - 1:.0%} in {growing} of {len(long_lived)} processes that ran "
        words += f"{PER_PROCESS} tasks."
    else:
        words += (
            f"It grew in none of {len(long_lived)} processes that ran {PER_PROCESS} tasks: a limit is only a guard."
        )
    evidence = _evidence(len(runs), made.span_s)
    setting = f"worker_max_memory_per_child = {limit_kb}"
    return [Advice("memory of a process", words, setting, evidence, len(runs), made.span_s)]


def rounded_up(seconds: float) -> float:
    """Round up to a number that people write: 1, 2, 3, 5, 10, 15, 20, 30, 45, 60, then whole minutes and more."""
    for nice in (1, 2, 3, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600, 900, 1200, 1800, 2700, 3600):
        if seconds <= nice:
            return float(nice)
    return math.ceil(seconds / 1800) * 1800.0


def _advice(made: Workload, one: QueueStudy, subject: str, words: str, setting: str | None, evidence: str) -> Advice:
    return Advice(subject, words, setting, evidence, one.recorded.tasks, made.span_s)


def _evidence(tasks: int, span_s: float) -> str:
    return f"{count(tasks, 'task')} in {duration(span_s)}"
