"""The simulation of workers: against the theory of queues, and by the rules of the delivery."""

from __future__ import annotations

import heapq
import math
import random

import pytest

from mirepoix.tuning.simulate import Arrival, Overheads, Server, simulate

NONE = Overheads((0.0,), (0.0,))


def poisson(count, per_s, mean_s, seed=1):
    chance = random.Random(seed)
    at_s = 0.0
    for number in range(count):
        at_s += chance.expovariate(per_s)
        yield Arrival(at_s, "celery", "t", chance.expovariate(1 / mean_s), seq=number)


def in_order(tasks, slots):
    """How long each task waits if one queue is served in the order of arrival: by the times when slots are free."""
    free = [0.0] * slots
    for task in tasks:
        begins = max(task.at_s, heapq.heappop(free))
        heapq.heappush(free, begins + task.run_s)
        yield begins - task.at_s


@pytest.mark.parametrize(("slots", "prefetch"), [(1, 1), (4, 1), (4, 4), (3, 0)])
def test_one_worker_serves_in_order_whatever_its_prefetch(slots, prefetch):
    tasks = list(poisson(3_000, 9 * slots, 0.1))
    waited = simulate(tasks, [Server(("celery",), slots, prefetch)], NONE)
    assert waited == pytest.approx(list(in_order(tasks, slots)), abs=1e-9)


def test_random_tasks_wait_as_long_as_the_theory_of_queues_says():
    waited = simulate(list(poisson(30_000, 5, 0.1)), [Server(("celery",), 1)], NONE)
    assert sum(waited) / len(waited) == pytest.approx(0.1, rel=0.08)  # load / (1 - load) * mean, at half load


def test_two_workers_of_one_process_are_almost_as_good_as_one_worker_of_two():
    """A worker that has just finished a task may take one more ahead, as the delivery does."""
    chance = random.Random(7)
    tasks = [Arrival(at_s, "celery", "t", 1.0) for at_s in sorted(chance.uniform(0, 500) for _ in range(800))]
    apart = simulate(tasks, [Server(("celery",), 1), Server(("celery",), 1)], NONE)
    assert sum(in_order(tasks, 2)) <= sum(apart) <= 1.05 * sum(in_order(tasks, 2))


def begun(tasks, servers, overheads=NONE):
    """The names in the order in which they begin."""
    waited = simulate(tasks, servers, overheads)
    return [tasks[n].name for n in sorted(range(len(tasks)), key=lambda n: tasks[n].at_s + waited[n])]


def test_priority_goes_first_and_then_age():
    tasks = [
        Arrival(0.0, "celery", "first", 1.0, seq=0),
        Arrival(0.1, "celery", "young", 1.0, seq=3),
        Arrival(0.2, "celery", "old", 1.0, seq=2),
        Arrival(0.3, "celery", "urgent", 1.0, priority=5, seq=4),
    ]
    assert begun(tasks, [Server(("celery",), 1)]) == ["first", "urgent", "old", "young"]


def test_queues_take_turns_within_one_batch():
    tasks = [
        Arrival(0.0, "a", "wall", 1.0, seq=0),
        *(Arrival(0.1, "a", f"a{n}", 1.0, seq=n) for n in (1, 2)),
        *(Arrival(0.2, "b", f"b{n}", 1.0, seq=n) for n in (3, 4)),
    ]
    order = begun(tasks, [Server(("a", "b"), 1, prefetch=4, from_s=0.5)])
    assert order == ["wall", "b3", "a1", "b4", "a2"]


def test_queues_take_turns_one_task_at_a_time():
    tasks = [Arrival(0.0, "a", f"a{n}", 1.0, seq=n) for n in range(4)]
    tasks += [Arrival(0.0, "b", "b4", 1.0, seq=4), Arrival(0.0, "c", "c5", 1.0, seq=5)]
    order = begun(tasks, [Server(("a", "b", "c"), 1, from_s=0.5)])
    assert order == ["a0", "b4", "c5", "a1", "a2", "a3"]


def test_a_prefetch_keeps_short_tasks_behind_a_long_one():
    tasks = [Arrival(0.0, "celery", "long", 10.0, seq=0)]
    tasks += [Arrival(0.001 * n, "celery", "short", 0.1, seq=n) for n in range(1, 9)]
    two = (Server(("celery",), 1, prefetch=8), Server(("celery",), 1, prefetch=8))
    hoarding = simulate(tasks, two, Overheads((0.01,), (0.0,)))
    fair = simulate(tasks, [Server(("celery",), 1), Server(("celery",), 1)], Overheads((0.01,), (0.0,)))
    assert max(fair) < 1.0
    assert max(hoarding) > 9.0


def test_a_worker_that_leaves_gives_back_what_it_has_not_begun():
    tasks = [Arrival(0.1 * n, "celery", "t", 2.0, seq=n) for n in range(3)]
    leaving = Server(("celery",), 1, prefetch=4, until_s=1.0)
    waited = simulate(tasks, [leaving, Server(("celery",), 1, from_s=1.5)], NONE)
    assert waited == pytest.approx([0.0, 1.4, 3.3])


def test_a_task_without_a_worker_never_starts():
    tasks = [Arrival(0.0, "celery", "t", 1.0), Arrival(0.0, "mail", "t", 1.0)]
    assert simulate(tasks, [Server(("celery",), 1)], NONE) == [0.0, math.inf]


def test_no_prefetch_limit_takes_all_there_is():
    tasks = [Arrival(0.0, "celery", "t", 1.0, seq=n) for n in range(50)]
    first = Server(("celery",), 1, prefetch=0)
    waited = simulate(tasks, [first, Server(("celery",), 1, from_s=0.5)], NONE)
    assert max(waited) == 49.0
