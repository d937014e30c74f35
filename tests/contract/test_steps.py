"""Steps: kept once for each task, behind the fence, for as long as the task is."""

from __future__ import annotations

import threading

import pytest
from test_fencing import WAYS_TO_LOSE

from driver import Ledger, rolled_back
from mirepoix.ledger import operate, steps
from mirepoix.ledger.steps import Found
from mirepoix.records import Lease


@pytest.fixture
def lease(ledger: Ledger) -> Lease:
    """Task ``t``, leased by worker ``w1``."""
    ledger.worker("w1")
    ledger.send("t")
    return ledger.lease("w1")


def kept(ledger: Ledger) -> list[tuple]:
    return ledger.query("SELECT task_id, name, result, fence, run_time_s FROM mirepoix_step ORDER BY task_id, name")


def test_what_was_kept_is_found_by_every_later_attempt(ledger: Ledger, lease: Lease):
    assert ledger.do(steps.find, lease, "charge") == Found(None)
    assert ledger.do(steps.store, lease, "charge", '{"id": 7}', 0.25) == Found('{"id": 7}')
    assert ledger.do(steps.find, lease, "charge") == Found('{"id": 7}')
    assert ledger.do(steps.find, lease, "mail") == Found(None)
    for end in (ledger.lose, ledger.retry, ledger.fail, ledger.succeed):
        end(lease)
        if ledger.state("t") == "failed":
            ledger.requeue("t")
        elif ledger.state("t") == "succeeded":
            ledger.send("t")
        lease = ledger.lease("w1")
        assert ledger.do(steps.find, lease, "charge") == Found('{"id": 7}')
    assert kept(ledger) == [("t", "charge", '{"id": 7}', 1, 0.25)]


def test_it_is_kept_while_the_attempt_is_only_leased_and_when_it_was_seen_to_run(ledger: Ledger, lease: Lease):
    assert ledger.do(steps.store, lease, "before", "1", 0.0) == Found("1")
    ledger.start(lease)
    assert ledger.do(steps.store, lease, "after", "2", 0.0) == Found("2")


def test_another_task_has_steps_of_its_own(ledger: Ledger, lease: Lease):
    ledger.do(steps.store, lease, "charge", "1", 0.0)
    ledger.send("other")
    other = ledger.lease("w1")
    assert ledger.do(steps.find, other, "charge") == Found(None)
    ledger.do(steps.store, other, "charge", "2", 0.0)
    assert [row[:3] for row in kept(ledger)] == [("other", "charge", "2"), ("t", "charge", "1")]


def test_what_is_there_already_stays_and_is_the_answer(ledger: Ledger, lease: Lease):
    ledger.do(steps.store, lease, "charge", "1", 0.5)
    assert ledger.do(steps.store, lease, "charge", "2", 9.0) == Found("1")
    assert kept(ledger) == [("t", "charge", "1", 1, 0.5)]


@pytest.mark.parametrize("lost", WAYS_TO_LOSE)
def test_a_lost_attempt_keeps_nothing_and_is_told_so(ledger: Ledger, lease: Lease, lost: str):
    ledger.do(steps.store, lease, "before", "1", 0.0)
    WAYS_TO_LOSE[lost](ledger, lease)
    before = kept(ledger)
    assert ledger.do(steps.find, lease, "before") is None
    assert ledger.do(steps.find, lease, "charge") is None
    assert ledger.do(steps.store, lease, "before", "2", 0.0) is None
    assert ledger.do(steps.store, lease, "charge", "2", 0.0) is None
    assert kept(ledger) == before


@pytest.mark.parametrize("wrong", [Lease("t", 0, "w1"), Lease("t", 2, "w1"), Lease("t", 1, "w2"), Lease("u", 1, "w1")])
def test_a_lease_that_is_not_the_one_keeps_nothing(ledger: Ledger, lease: Lease, wrong: Lease):
    assert ledger.do(steps.find, wrong, "charge") is None
    assert ledger.do(steps.store, wrong, "charge", "1", 0.0) is None
    assert kept(ledger) == []


def test_a_result_that_is_rolled_back_was_never_there(ledger: Ledger, lease: Lease):
    with rolled_back(ledger.connection) as tx:
        assert steps.store(tx, lease, "charge", "1", 0.0) == Found("1")
    assert ledger.do(steps.find, lease, "charge") == Found(None)


def test_steps_go_with_their_task_when_it_is_pruned(ledger: Ledger, lease: Lease):
    ledger.do(steps.store, lease, "charge", "1", 0.0)
    ledger.succeed(lease)
    assert len(kept(ledger)) == 1
    ledger.passes(100)
    assert ledger.do(operate.prune, 50.0) == 1
    assert kept(ledger) == []


@pytest.mark.parametrize("text", ['"\\u0000"', '"é\\ud800"', "NaN", "'", "%(name)s :name", "[" * 1_000, "x" * 100_000])
def test_any_text_of_a_result_and_of_a_name_comes_back_as_it_was(ledger: Ledger, lease: Lease, text: str):
    name = f"Zahlung-ü-%s-:x-'{'n' * 200}"
    assert ledger.do(steps.store, lease, name, text, 0.0) == Found(text)
    assert ledger.do(steps.find, lease, name) == Found(text)


def test_who_takes_the_task_back_waits_for_a_result_that_is_being_kept(ledger: Ledger, lease: Lease):
    # Otherwise the next attempt could look for the step before it is seen, and do it again.
    with Ledger(ledger.source) as reaper:
        with ledger.connection.transaction() as tx:
            steps.store(tx, lease, "charge", "1", 0.0)
            thread = threading.Thread(target=reaper.lose, args=(lease,))
            thread.start()
            thread.join(0.3)
            assert thread.is_alive()
        thread.join()
        assert reaper.state("t") == "pending"
        assert reaper.do(steps.find, reaper.lease("w1"), "charge") == Found("1")


def test_two_results_of_one_attempt_are_kept_beside_each_other(ledger: Ledger, lease: Lease):
    with Ledger(ledger.source) as other:
        with ledger.connection.transaction() as tx:
            steps.store(tx, lease, "a", "1", 0.0)
            thread = threading.Thread(target=other.do, args=(steps.store, lease, "b", "2", 0.0))
            thread.start()
            if ledger.source.dialect == "postgresql":
                thread.join(10)
                assert not thread.is_alive()
        thread.join()
    assert [row[1] for row in kept(ledger)] == ["a", "b"]
