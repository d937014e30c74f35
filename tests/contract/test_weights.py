"""Limits with weights: the weights of what is taken in any period never exceed the rate, and nothing waits for ever."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from test_at_limit import tried_again
from test_limits import LimitedWorker

from driver import Ledger, envelope, moment
from mirepoix.daemons import limited
from mirepoix.ledger import enqueue, limits
from mirepoix.ledger.limits import Bounds
from mirepoix.ledger.query.limits import at_limit
from mirepoix.records import WEIGHT_HEADER, Envelope
from mirepoix.sql import steps
from pace import until

PERIOD_S = 1_000.0


@pytest.fixture
def worker(ledger: Ledger) -> LimitedWorker:
    return LimitedWorker(ledger)


def rated(ledger: Ledger, rate: int, period_s: float = PERIOD_S, running: int | None = None) -> None:
    ledger.do(limits.record, {"llm": Bounds(running, rate, period_s, is_weighted=True)}, "test")


def weighing(task_id: str, weight: int, **fields: object) -> Envelope:
    return envelope(task_id, limit_key="llm", headers={WEIGHT_HEADER: weight}, **fields)


def send(ledger: Ledger, **weights: int) -> None:
    ledger.do(enqueue.add, [weighing(task_id, weight) for task_id, weight in weights.items()])


def test_what_is_taken_in_a_period_weighs_no_more_than_the_rate(ledger: Ledger, worker: LimitedWorker):
    rated(ledger, 10)
    send(ledger, a=4, b=4, c=4, d=1)
    assert worker.take_ids() == ["a", "b"]
    assert worker.take_ids() == []  # d is light, and does not pass c
    ledger.passes(PERIOD_S - 100)
    assert worker.take_ids() == []
    rated_again = ledger.query("SELECT starts FROM mirepoix_limit_key WHERE id = 'llm'")
    assert rated_again[0][0] is not None


def test_the_rate_has_room_again_after_a_period(ledger: Ledger):
    rated(ledger, 10, 0.5)
    send(ledger, a=9, b=9, c=1)
    worker = LimitedWorker(ledger)
    assert worker.take_ids() == ["a"]
    assert until(worker.take_ids, "the period is over") == ["b", "c"]


def test_a_task_that_weighs_more_than_the_rate_runs_alone(ledger: Ledger):
    rated(ledger, 10, 0.5)
    send(ledger, light=1, heavy=1_000, other=1)
    worker = LimitedWorker(ledger)
    assert worker.take_ids() == ["light"]
    assert until(worker.take_ids, "the window is empty") == ["heavy"]
    assert until(worker.take_ids, "the window is empty again") == ["other"]


def test_a_task_without_weight_counts_as_one_and_one_of_zero_always_fits(ledger: Ledger, worker: LimitedWorker):
    rated(ledger, 2)
    ledger.send("plain", "again", limit_key="llm")
    send(ledger, free=0, one=1)
    assert worker.take_ids() == ["again", "free", "plain"]


def test_running_counts_tasks_and_not_weights(ledger: Ledger, worker: LimitedWorker):
    rated(ledger, 1_000, running=2)
    send(ledger, a=9, b=9, c=9)
    assert worker.take_ids() == ["a", "b"]


def test_what_comes_to_the_front_after_the_look_and_does_not_fit_goes_back(
    ledger: Ledger, worker: LimitedWorker, monkeypatch: pytest.MonkeyPatch
):
    rated(ledger, 10)
    send(ledger, a=4, b=4)
    look = limits.fitting

    def late(tx, *args, **kwargs):
        found = look(tx, *args, **kwargs)
        enqueue.add(tx, [weighing("urgent", 9, priority=9)])
        monkeypatch.undo()
        return found

    monkeypatch.setattr(limited.limits, "fitting", late)
    assert worker.take_ids() == ["urgent"]
    assert ledger.states() == {"a": "pending", "b": "pending", "urgent": "leased"}
    assert ledger.attempts("a") == []


def test_resumed_tasks_are_weighed_too(ledger: Ledger):
    rated(ledger, 10)
    ledger.do(limits.add_keys, ["llm"])
    send(ledger, a=6, b=6, c=4)
    assert ledger.do(limits.admit, ["a", "b", "c"], dict.fromkeys("abc", "llm")) == ["a", "c"]
    assert ledger.do(limits.admit, ["b"], {"b": "llm"}) == []


def test_the_weight_is_known_when_a_person_has_changed_the_rate(ledger: Ledger, worker: LimitedWorker):
    rated(ledger, 10)
    ledger.do(limits.put, "llm", Bounds(None, 4, PERIOD_S), "ana")
    send(ledger, a=3, b=3)
    assert worker.take_ids() == ["a"]
    assert ledger.do(limits.read)["llm"].code == Bounds(None, 10, PERIOD_S, is_weighted=True)
    found = ledger.do(at_limit, "b")
    assert found.rate.tasks == 0
    assert found.rate.next_in_s == pytest.approx(PERIOD_S, abs=60)


def test_a_limit_that_an_older_worker_recorded_gets_its_weights(ledger: Ledger):
    ledger.do(limits.record, {"llm": Bounds(None, 10, 60.0)}, "old")
    rated(ledger, 10, 60.0)
    assert ledger.do(limits.read)["llm"].bounds.is_weighted
    assert ledger.do(limits.record, {"llm": Bounds(None, 10, 60.0, is_weighted=True)}, "new") == []
    assert ledger.query("SELECT code FROM mirepoix_limit") == [("[null, 10, 60.0]",)]  # as an older worker reads it


RATE, WINDOW_S = 20, 0.4


def test_several_workers_together_never_take_more_than_the_rate_in_any_window(ledger: Ledger):
    rated(ledger, RATE, WINDOW_S)
    chance = random.Random(7)
    weights = {f"t{number}": chance.choice((0, 1, 2, 5, 9, 20, 50)) for number in range(40)}
    send(ledger, **weights)

    def works(number: int) -> None:
        with Ledger(ledger.source) as own:
            worker = LimitedWorker(own, f"w{number}")
            while "pending" in own.states().values():
                for one in tried_again(own, worker.take):
                    tried_again(own, partial(worker.finish, one))

    with ThreadPoolExecutor(3) as pool:
        for one in [pool.submit(works, number) for number in range(3)]:
            one.result()
    rows = ledger.query("SELECT id, leased_at FROM mirepoix_task")
    taken = sorted((moment(leased_at).timestamp(), min(weights[id], RATE)) for id, leased_at in rows)
    for first, _ in taken:
        assert sum(weight for at, weight in taken if first <= at < first + WINDOW_S) <= RATE


def test_only_limits_with_weights_cost_the_look_at_them(ledger: Ledger, worker: LimitedWorker):
    ledger.do(limits.put, "pay", Bounds(None, 5, 60.0), "test")
    ledger.send("a", limit_key="pay")
    asked: list[str] = []
    with ledger.connection.transaction() as tx:

        class Noting:
            dialect = tx.dialect
            run = tx.run

            def fetch(self, name, /, **params):
                asked.append(name)
                return tx.fetch(name, **params)

        found = limits.rooms(tx, {"pay": None}, limits.read(tx), 5)
        assert found["pay"].weight is None
        limits.fitting(Noting(), [("celery", "pay")], found, {"pay": None}, {}, may_be_suspect=True)
    assert asked == []
    assert steps("headers_of_waiting", tx.dialect, "named")
