"""Budgets: never more retries in a slot than it has places, whoever asks at once; none for a zombie or the too old."""

from __future__ import annotations

import itertools
import math
import threading
from collections import Counter

import pytest

from driver import Ledger, rolled_back
from mirepoix.connect.source import Source
from mirepoix.ledger import budget
from mirepoix.ledger.budget import Budget, Turn
from mirepoix.records import Lease

BANK = Budget("bank", 5.0)


@pytest.fixture
def lease(ledger: Ledger) -> Lease:
    """Of a running task."""
    ledger.worker("w1")
    ledger.send("t")
    return ledger.lease("w1")


def slots(ledger: Ledger, destination: str = "bank") -> dict[int, int]:
    """How many places are taken in each."""
    return dict(
        ledger.query(
            "SELECT slot_ms, taken FROM mirepoix_budget WHERE destination = :of ORDER BY slot_ms", of=destination
        )
    )


def test_no_slot_has_more_retries_than_places_and_none_is_left_empty(ledger: Ledger, lease: Lease):
    turns = [ledger.do(budget.reserve, lease, 100.0, None, BANK) for _ in range(23)]
    taken = list(slots(ledger).values())
    assert taken[1:-1] == [5] * (len(taken) - 2)  # the first may be over before it is full
    assert max(taken) == 5
    assert sum(taken) == 23
    starts = list(slots(ledger))
    assert [later - earlier for earlier, later in itertools.pairwise(starts)] == [1000] * (len(starts) - 1)
    assert all(turn.wait_s >= 100.0 for turn in turns)
    assert turns[-1].put_off_s > 2


def test_a_long_wait_does_not_put_off_a_short_one(ledger: Ledger, lease: Lease):
    for _ in range(20):
        ledger.do(budget.reserve, lease, 1000.0, None, BANK)
    assert ledger.do(budget.reserve, lease, 1.0, None, BANK).put_off_s == 0


def test_many_who_ask_at_once_share_one_budget(source: Source, ledger: Ledger, lease: Lease):
    begin = threading.Barrier(4)
    failed: list[BaseException] = []

    def ask() -> None:
        try:
            with Ledger(source) as own:
                begin.wait(30)
                for _ in range(10):
                    own.do(budget.reserve, lease, 100.0, None, BANK)
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    taken = slots(ledger)
    assert sum(taken.values()) == 40
    assert max(taken.values()) == 5


def test_destinations_have_budgets_of_their_own(ledger: Ledger, lease: Lease):
    for name in ("bank", "mail"):
        for _ in range(5):
            ledger.do(budget.reserve, lease, 100.0, None, Budget(name, 1.0))
    assert Counter(slots(ledger).values()) == Counter(slots(ledger, "mail").values()) == {1: 5}


@pytest.mark.parametrize(
    ("rate_per_s", "most", "width_ms"), [(50, 50, 1000), (0.5, 1, 2000), (2.5, 2, 800), (1, 1, 1000)]
)
def test_a_slot_is_as_wide_as_its_places_need(rate_per_s: float, most: int, width_ms: int):
    limit = Budget("x", rate_per_s)
    assert (limit.most, limit.width_ms) == (most, width_ms)
    assert math.isclose(limit.most / limit.width_ms * 1000, rate_per_s)


def test_a_zombie_takes_no_place(ledger: Ledger, lease: Lease):
    ledger.succeed(lease)
    assert ledger.do(budget.reserve, lease, 1.0, None, BANK) is None
    assert slots(ledger) == {}


def test_what_is_rolled_back_leaves_the_place_free(ledger: Ledger, lease: Lease):
    with rolled_back(ledger.connection) as tx:
        budget.reserve(tx, lease, 1.0, None, BANK)
    assert slots(ledger) == {}


def test_what_would_be_too_old_takes_no_place(ledger: Ledger, lease: Lease):
    ledger.passes(50)
    assert ledger.do(budget.reserve, lease, 5.0, 60.0, BANK).is_too_old is False
    assert ledger.do(budget.reserve, lease, 11.0, 60.0, BANK) == Turn(11.0, is_too_old=True)
    assert sum(slots(ledger).values()) == 1


def test_what_the_budget_would_make_too_old_takes_no_place(ledger: Ledger, lease: Lease):
    at_once = lambda: 0.0  # noqa: E731  # at the beginning of its slot
    turns = [ledger.do(budget.reserve, lease, 0.0, 4.0, Budget("slow", 1.0), at_once) for _ in range(8)]
    assert not turns[0].is_too_old
    assert turns[-1].is_too_old
    assert sum(slots(ledger, "slow").values()) == sum(not turn.is_too_old for turn in turns)


def test_the_age_of_what_failed_for_good_and_is_run_again_begins_anew(ledger: Ledger, lease: Lease):
    ledger.fail(lease)
    ledger.passes(1000)
    ledger.requeue("t")
    again = ledger.lease("w1")
    assert ledger.do(budget.reserve, again, 1.0, 2000.0, None) == Turn(1.0)
    assert ledger.do(budget.reserve, again, 1.0, 900.0, None).is_too_old


def test_slots_that_are_over_are_forgotten(ledger: Ledger, lease: Lease):
    ledger.do(budget.reserve, lease, 1.0, None, BANK)
    ledger.write("INSERT INTO mirepoix_budget VALUES ('bank', 1000, 5)")
    ledger.do(budget.forget)
    assert len(slots(ledger)) == 1
