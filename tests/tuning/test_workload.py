"""What a record shows: overheads, waiting times, and which long tasks hold up short ones."""

from __future__ import annotations

import random

import pytest

from mirepoix.ledger.query.recorded import Recorded, Run, WorkerSpan
from mirepoix.tuning.advise import ENOUGH, rounded_up, study
from mirepoix.tuning.changes import long_tasks, try_out, with_concurrency, with_workers
from mirepoix.tuning.simulate import Arrival, Overheads, Server, simulate
from mirepoix.tuning.workload import pauses, reaches, waits, workload

PERIOD_S = 300.0
OVERHEADS = Overheads((0.01,), (0.01,))


def run(ready_s, started_s, run_s, name="t", worker="w", queue="celery", pid=1, peak_kb=None, seq=0):
    return Run(name, queue, 0, seq, worker, pid, ready_s, started_s, started_s + run_s, run_s, peak_kb)


def record(tasks, servers, overheads=OVERHEADS, pool="prefork", **given):
    """The record of a fleet, made by the simulation. Each task is ``(at_s, name, run_s)``."""
    arrivals = [Arrival(at_s, "celery", name, run_s, seq=n) for n, (at_s, name, run_s) in enumerate(tasks)]
    waited = simulate(arrivals, servers, overheads)
    runs = [
        run(a.at_s, a.at_s + waited_s, a.run_s, a.name, seq=a.seq, peak_kb=80_000 + 10 * a.seq)
        for a, waited_s in zip(arrivals, waited, strict=True)
    ]
    spans = [
        WorkerSpan("w" if n == 0 else f"w{n}", f"celery@{n}", pool, server.concurrency, server.queues, -PERIOD_S, None)
        for n, server in enumerate(servers)
    ]
    return Recorded(tuple(runs), tuple(spans), **{"since_s": PERIOD_S, "is_capped": False, "waiting": {}, **given})


def random_tasks(per_s, mean_s, name="t", seed=1):
    chance = random.Random(seed)
    at_s = -PERIOD_S
    while (at_s := at_s + chance.expovariate(per_s)) < -5:
        yield at_s, name, min(5 * mean_s, chance.expovariate(1 / mean_s))


def one_worker(concurrency):
    return [Server(("celery",), concurrency)]


def test_the_record_shows_how_long_an_idle_worker_takes_and_how_long_a_process_pauses():
    runs = [
        run(0.0, 0.010, 1.0),  # found an idle process
        run(0.5, 1.030, 1.0),  # waited for it: 20 ms after the end
        run(5.0, 5.012, 1.0),
    ]
    assert list(reaches(runs, {"w": 1})) == pytest.approx([0.010, 0.012])
    assert list(pauses(runs)) == pytest.approx([0.020])


def test_the_simulation_of_a_record_is_the_record():
    overheads = Overheads((0.03,), (0.05,))
    found = record(list(random_tasks(8, 0.2)), one_worker(2), overheads)
    made = workload(found, 1)
    assert made.overheads.pause_s[0] == pytest.approx(0.05, rel=0.2)
    simulated = made.of_queue("celery", made.simulated(made.servers))
    assert simulated.p95_s == pytest.approx(made.recorded("celery").p95_s, rel=0.1)


def test_what_was_ready_before_a_capped_record_is_work_but_is_not_judged():
    tasks = [(-300.0, "t", 100.0), (-100.0, "t", 1.0)]
    made = workload(record(tasks, one_worker(1), since_s=200.0, is_capped=True), 1)
    assert made.counted == (False, True)
    assert made.recorded("celery").tasks == 1


def test_the_smallest_number_of_processes_and_workers_that_keep_an_objective_is_advised():
    found = record(list(random_tasks(12, 0.25)), one_worker(2))  # 2.4 processes' work for 2
    made = study(found, {"celery": 0.5}, 1)
    (one,) = made.queues
    assert one.is_fitting
    assert one.load == pytest.approx(2.4, rel=0.25)
    settings = [advice.setting for advice in made.advice if advice.subject == "queue 'celery'"]
    slots, workers = int(settings[0].rsplit(maxsplit=1)[-1]), int(settings[1].split()[0])
    assert settings == [
        f"celery worker -Q celery --concurrency {slots}",
        f"{workers} workers of: celery worker -Q celery --concurrency 2",
    ]
    fleet, (kind,) = workload(found, 1), made.kinds
    for enough, change in ((slots, with_concurrency), (workers - 1, with_workers)):
        p95s = [try_out(fleet, change(fleet, kind, n, ("celery",)))[0].waits.p95_s for n in (enough - 1, enough)]
        assert p95s[0] > 0.5 >= p95s[1]


def test_a_queue_that_keeps_its_objective_with_half_the_processes_is_told_so():
    found = record(list(random_tasks(2, 0.1)), one_worker(8))
    made = study(found, {"*": 1.0}, 1)
    words = [(advice.sentence, advice.setting) for advice in made.advice if advice.subject == "queue 'celery'"]
    assert "keeps its objective" in words[0][0]
    assert words[1][1] == "celery worker -Q celery --concurrency 4"


def test_a_long_task_before_short_ones_gets_a_queue_of_its_own():
    short = list(random_tasks(3, 0.05, "shop.mail"))
    long = [(at_s, "shop.report", 8.0) for at_s in range(-290, -20, 17)]
    found = record(sorted(short + long), one_worker(2))
    assert long_tasks(workload(found, 1), "celery") == ("shop.report",)
    made = study(found, {}, 1)
    (outcome,) = [one for one in made.queues[0].outcomes if one.change.verb == "split"]
    parts = dict(outcome.parts)
    assert parts["celery"].p95_s < 0.2
    assert parts["celery-long"].tasks == len(long)


@pytest.mark.parametrize("times", [{"a": 0.1, "b": 0.3}, {"a": 0.1}])
def test_tasks_that_take_about_as_long_stay_together(times):
    tasks = sorted(
        (at_s, name, run_s) for name, run_s in times.items() for at_s, _, _ in random_tasks(2, 0.1, seed=len(name))
    )
    assert long_tasks(workload(record(tasks, one_worker(2)), 1), "celery") == ()


def test_too_few_tasks_are_not_enough_data():
    found = record([(-100.0 + n, "t", 0.1) for n in range(ENOUGH - 1)], one_worker(1), pool="threads")
    made = study(found, {"*": 0.001}, 1)
    assert made.advice == ()
    assert made.queues == ()
    assert [words.split(":")[0] for words in made.not_enough] == [
        "queue 'celery'",
        "time limits",
        "max_memory_per_child",
    ]


def test_a_record_that_the_simulation_does_not_explain_gives_no_advice():
    """All tasks waited for 20 s although the worker was idle: it was paused, or its clock was wrong."""
    found = record(list(random_tasks(1, 0.1)), one_worker(2))
    late = tuple(run(one.ready_s - 20.0, one.started_s, one.run_s) for one in found.runs)
    made = study(Recorded(late, found.workers, PERIOD_S, False, {}), {"*": 1.0}, 1)
    assert not made.queues[0].is_fitting
    assert not [advice for advice in made.advice if advice.subject.startswith("queue")]
    assert any("does not explain" in words for words in made.not_enough)


def test_limits_are_well_above_what_was_observed():
    found = record([(-300.0 + n, "t", 2.0) for n in range(ENOUGH)], one_worker(2))
    (limits,) = [advice for advice in study(found, {}, 1).advice if advice.subject == "task t"]
    assert limits.setting == "soft_time_limit=10, time_limit=15"
    assert limits.tasks == ENOUGH


def test_memory_of_processes_that_grow_is_limited():
    found = record([(-290.0 + n, "t", 0.1) for n in range(200)], one_worker(1))
    (memory,) = [advice for advice in study(found, {}, 1).advice if advice.subject.startswith("memory")]
    assert memory.setting == "worker_max_memory_per_child = 133120"
    assert "It grew in none of 1 processes" in memory.sentence
    growing = tuple(run(r.ready_s, r.started_s, r.run_s, peak_kb=80_000 + 500 * r.seq, seq=r.seq) for r in found.runs)
    (memory,) = [
        advice
        for advice in study(Recorded(growing, found.workers, PERIOD_S, False, {}), {}, 1).advice
        if advice.subject.startswith("memory")
    ]
    assert "It grew by more than 20% in 1 of 1 processes" in memory.sentence


@pytest.mark.parametrize(("seconds", "nice"), [(0.2, 1), (1.1, 2), (61, 90), (3601, 5400)])
def test_limits_are_numbers_that_people_write(seconds, nice):
    assert rounded_up(seconds) == nice


def test_percentiles_of_nothing_are_zero():
    assert waits([]).tasks == 0
