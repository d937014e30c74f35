"""How near the predictions of ``mirepoix tune`` come: ``python -m benchmarks.tune``.

Each workload is a list of tasks with their times. The tasks sleep, as tasks that wait for a service do. It runs twice
on workers: with one fleet, and after a change. From the record of the first run the simulation predicts the waiting
times after the change, and more runs measure them. All runs have the same tasks at the same times.

Which of several workers takes a task is chance, so one run says little. The middle of many simulations is compared with
the middle of the runs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path

from benchmarks.app import make_app
from benchmarks.machine import load, print_header
from benchmarks.servers import LEDGERS, Server, servers
from benchmarks.worker import Worker

from mirepoix.connect.url import source_for
from mirepoix.ledger.query.recorded import Recorded, recorded
from mirepoix.tuning import simulate
from mirepoix.tuning.workload import Waits, middle, waits, workload

GOAL = 0.2
CAP = 20_000
SHORTEST_S = 0.07
"""The ledger does not see when a shorter task began."""


@dataclass(frozen=True)
class Fleet:
    """Workers: for each its queues and its concurrency."""

    workers: tuple[tuple[str, int], ...]
    prefetch: int = 1
    pool: str = "threads"


@dataclass(frozen=True)
class Task:
    at_s: float
    queue: str
    rest_s: float
    is_long: bool = False
    priority: int = 0


@dataclass(frozen=True)
class Workload:
    """The p95 of the queue *judged* is compared. *split*: long tasks go to the queue ``long`` after the change."""

    name: str
    tasks: tuple[Task, ...]
    before: Fleet
    after: Fleet
    judged: str = "celery"
    split: bool = False


def poisson(seed: int, per_s: float, for_s: float, rest, queue: str = "celery", **more) -> list[Task]:
    chance = random.Random(seed)
    at_s, found = 0.0, []
    while (at_s := at_s + chance.expovariate(per_s)) < for_s:
        found.append(Task(at_s, queue, rest(chance), **more))
    return found


def bursts(seed: int, size: int, every_s: float, for_s: float, rest, queue: str = "celery") -> list[Task]:
    chance = random.Random(seed)
    times = [n * every_s for n in range(int(for_s / every_s))]
    return [Task(at_s + 0.01 * n, queue, rest(chance)) for at_s in times for n in range(size)]


def fixed(seconds: float):
    return lambda _: seconds


def exponential(mean: float):
    return lambda chance: max(SHORTEST_S, min(8 * mean, chance.expovariate(1 / mean)))


def uniform(low: float, high: float):
    return lambda chance: chance.uniform(low, high)


def merged(*parts: Sequence[Task]) -> tuple[Task, ...]:
    return tuple(sorted((task for part in parts for task in part), key=lambda task: task.at_s))


def catalogue(for_s: float) -> Iterator[Workload]:
    def one(concurrency: int, pool: str = "threads") -> Fleet:
        return Fleet((("celery", concurrency),), pool=pool)

    yield Workload("overload, concurrency 1 to 2", merged(poisson(1, 7, for_s, fixed(0.2))), one(1), one(2))
    yield Workload("exponential, concurrency 2 to 4", merged(poisson(2, 9, for_s, exponential(0.25))), one(2), one(4))
    yield Workload("too many, concurrency 4 to 2", merged(poisson(3, 9, for_s, exponential(0.2))), one(4), one(2))
    yield Workload("bursts, concurrency 2 to 8", merged(bursts(4, 30, 3.0, for_s, uniform(0.1, 0.3))), one(2), one(8))
    yield Workload(
        "processes, concurrency 2 to 4",
        merged(poisson(5, 9, for_s, uniform(0.1, 0.4))),
        one(2, pool="prefork"),
        one(4, pool="prefork"),
    )
    yield Workload(
        "1 worker to 2 workers",
        merged(poisson(6, 11, for_s, exponential(0.2))),
        one(2),
        Fleet((("celery", 2), ("celery", 2))),
    )
    mixed = merged(poisson(7, 6, for_s, fixed(0.08)), poisson(70, 1.0, for_s, uniform(1.0, 2.0), is_long=True))
    yield Workload(
        "a long task before short ones, queues split",
        mixed,
        one(2),
        Fleet((("celery", 1), ("long", 1))),
        split=True,
    )
    yield Workload(
        "2 workers, prefetch 8 to 1",
        merged(poisson(8, 7, for_s, exponential(0.45))),
        Fleet((("celery", 2), ("celery", 2)), 8),
        Fleet((("celery", 2), ("celery", 2)), 1),
    )
    yield Workload(
        "2 workers, prefetch 1 to 8",
        merged(poisson(9, 7, for_s, exponential(0.45))),
        Fleet((("celery", 2), ("celery", 2)), 1),
        Fleet((("celery", 2), ("celery", 2)), 8),
    )
    two = merged(poisson(10, 6, for_s, exponential(0.2)), poisson(100, 4, for_s, exponential(0.3), queue="mail"))
    yield Workload(
        "two queues, shared to one worker each", two, Fleet((("celery,mail", 2),)), Fleet((("celery", 2), ("mail", 2)))
    )


def played(server: Server, tasks: Sequence[Task], fleet: Fleet) -> Recorded:
    """Run these tasks on that fleet; return what the ledger recorded."""
    server.reset()
    os.environ["BENCHMARK_PREFETCH"] = str(fleet.prefetch)
    with ExitStack() as stack:
        workers = [
            stack.enter_context(Worker(server, fleet.pool, concurrency, queues=queues))
            for queues, concurrency in fleet.workers
        ]
        app = make_app(server.url)
        source = source_for(server.url)
        stack.callback(source.close)
        ready = "SELECT count(*) FROM mirepoix_worker WHERE state = 'alive'"
        workers[0].wait(lambda: server.execute(ready, rows=True)[0][0] >= len(workers))
        time.sleep(0.5)
        begins = time.monotonic() + 0.2
        for task in tasks:
            pause_s = begins + task.at_s - time.monotonic()
            if pause_s > 0:
                time.sleep(pause_s)
            app.tasks["rest_long" if task.is_long else "rest"].apply_async(
                (task.rest_s,), queue=task.queue, priority=task.priority
            )
        ended = "SELECT count(*) FROM mirepoix_task WHERE state = 'succeeded'"
        workers[0].wait(lambda: time.sleep(0.1) or server.execute(ended, rows=True)[0][0] >= len(tasks))
        with source.reading() as tx:
            return recorded(tx, 600.0, CAP)


def prediction(found: Recorded, one: Workload):
    """The waiting times after the change in each simulation, and the workload that was recorded before."""
    made = workload(found, one.before.prefetch)
    arrivals = made.arrivals
    if one.split:
        arrivals = tuple(replace(a, queue="long") if a.name == "rest_long" else a for a in arrivals)
    fleet = [
        simulate.Server(tuple(queues.split(",")), concurrency, one.after.prefetch)
        for queues, concurrency in one.after.workers
    ]
    waited = made.simulated(fleet, arrivals)
    judged = [n for n, arrival in enumerate(arrivals) if arrival.queue == one.judged]
    return [waits([once[n] for n in judged]) for once in waited], made


def span(found: Sequence[Waits]) -> str:
    """The least and the greatest p95."""
    return f"{min(one.p95_s for one in found):.2f} to {max(one.p95_s for one in found):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=14.0, help="how long tasks are sent (default 14)")
    parser.add_argument("--runs", type=int, default=3, help="how often each fleet after the change is run (default 3)")
    parser.add_argument("--system", choices=LEDGERS, default="postgresql")
    parser.add_argument("--only", help="workloads with this in their name")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    given = parser.parse_args()
    with servers(given.system) as (server,):
        print_header("Predictions of mirepoix tune", [server], "p95 of the waiting time, in seconds")
        print(
            f"{'workload':44} {'tasks':>5}  {'before':>6} {'(fit)':>6}  {'predicted':>9} {'(simulations)':>16}"
            f"  {'measured':>8} {'(runs)':>12}  {'off':>5}"
        )
        figures = []
        for one in catalogue(given.seconds):
            if given.only and given.only not in one.name:
                continue
            before = played(server, one.tasks, one.before)
            simulated, made = prediction(before, one)
            changed = [replace(t, queue="long") if one.split and t.is_long else t for t in one.tasks]
            runs = []
            for _ in range(given.runs):
                after = played(server, changed, one.after)
                runs.append(waits([run.waited_s for run in after.runs if run.queue == one.judged]))
            was = made.recorded(one.judged)
            fit = made.of_queue(one.judged, made.simulated(made.servers))
            predicted, measured = middle(simulated), middle(runs)
            off = predicted.p95_s / measured.p95_s - 1 if measured.p95_s else 0.0
            figures.append(
                {
                    "workload": one.name,
                    "before": was,
                    "fit": fit,
                    "predicted": predicted,
                    "simulated": simulated,
                    "measured": measured,
                    "runs": runs,
                }
            )
            print(
                f"{one.name:44} {len(one.tasks):5}  {was.p95_s:6.3f} {fit.p95_s:6.3f}  {predicted.p95_s:9.3f}"
                f" {span(simulated):>16}  {measured.p95_s:8.3f} {span(runs):>12}  {off:+5.0%}",
                flush=True,
            )
        offs = [abs(f["predicted"].p95_s / f["measured"].p95_s - 1) for f in figures if f["measured"].p95_s]
        print(f"within {GOAL:.0%}: {sum(off <= GOAL for off in offs)} of {len(figures)}; load after: {load()}")
        if given.json:
            with Path(given.json).open("w") as file:
                json.dump(figures, file, default=lambda value: asdict(value) if is_dataclass(value) else str(value))


if __name__ == "__main__":
    main()
