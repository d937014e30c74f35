"""Taking back what dead processes held: to the queue, or to quarantine when it keeps killing them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from driver import OOPS, Ledger, moment, rolled_back
from mirepoix.config import Settings
from mirepoix.ledger import reap, take, workers
from mirepoix.records import Lost

BOUNDS = Settings(max_deaths=3, max_handovers=5)


@pytest.fixture
def bounded(ledger: Ledger) -> Ledger:
    """A ledger with small bounds and worker ``w1``."""
    ledger.settings = BOUNDS
    ledger.worker("w1")
    return ledger


def test_what_a_dead_worker_held_is_pending_again(bounded: Ledger):
    bounded.worker("w2")
    bounded.send("started", "unstarted", "of the living", name="shop.pay")
    started = bounded.lease("w1")
    bounded.start(started)
    bounded.lease("w1")
    bounded.lease("w2")
    assert bounded.reap() == []
    bounded.die("w1")
    lost = sorted(bounded.reap(), key=lambda one: one.task_id)
    assert lost == [
        Lost("started", "shop.pay", fence=1, state="pending", was_started=True),
        Lost("unstarted", "shop.pay", fence=1, state="pending", was_started=False),
    ]
    assert bounded.states() == {"started": "pending", "unstarted": "pending", "of the living": "leased"}
    assert bounded.reap() == []


def test_only_a_task_that_was_seen_to_start_is_blamed(bounded: Ledger):
    bounded.send("started", "unstarted")
    bounded.start(bounded.lease("w1"))
    bounded.lease("w1")
    bounded.die("w1")
    bounded.reap()
    blame = {
        task_id: (row["deaths"], row["handovers"]) for task_id in bounded.states() if (row := bounded.row(task_id))
    }
    assert blame == {"started": (1, 0), "unstarted": (0, 1)}


@pytest.mark.parametrize("way", ["the reaper", "its parent"])
@pytest.mark.parametrize("is_started", [True, False], ids=["started", "unstarted"])
def test_a_task_that_keeps_killing_is_quarantined_at_the_bound(bounded: Ledger, way: str, is_started: bool):
    bounded.send("t")
    bound = BOUNDS.max_deaths if is_started else BOUNDS.max_handovers
    for death in range(1, bound + 1):
        assert bounded.state("t") == "pending"
        worker_id = bounded.worker(f"victim{death}")
        lease = bounded.lease(worker_id)
        if is_started:
            bounded.start(lease)
        if way == "the reaper":
            bounded.die(worker_id)
            (lost,) = bounded.reap()
        else:
            lost = bounded.lose(lease, is_blamed=is_started)
        assert lost.state == ("quarantined" if death == bound else "pending")
        assert lost.was_started == is_started
    row = bounded.row("t")
    assert row["state"] == "quarantined"
    assert row["reason"]
    assert row["finished_at"] is not None
    assert (row["deaths"], row["handovers"]) == ((bound, 0) if is_started else (0, bound))
    assert [a["outcome"] for a in bounded.attempts("t")] == ["lost"] * bound
    assert bounded.take_ids("w1") == []


def test_a_task_that_succeeds_in_between_starts_counting_anew(bounded: Ledger):
    bounded.send("t")
    for _ in range(BOUNDS.max_deaths - 1):
        bounded.lose(bounded.lease("w1"))
    bounded.succeed(bounded.lease("w1"))
    bounded.send("t")
    assert bounded.row("t")["deaths"] == 0
    lost = bounded.lose(bounded.lease("w1"))
    assert lost.state == "pending"


def test_with_a_bound_of_one_the_first_death_quarantines(ledger: Ledger):
    ledger.settings = Settings(max_deaths=1, max_handovers=1)
    ledger.worker("w1")
    ledger.send("a", "b")
    assert ledger.lose(ledger.lease("w1")).state == "quarantined"
    assert ledger.lose(ledger.lease("w1"), is_blamed=False).state == "quarantined"


def test_a_rejected_task_can_be_kept_waiting(bounded: Ledger):
    bounded.send("t")
    assert bounded.lose(bounded.lease("w1"), is_blamed=False, delay_s=30.0).state == "pending"
    due = moment(bounded.row("t")["due_at"])
    assert abs(due - datetime.now(UTC) - timedelta(seconds=30)) < timedelta(seconds=2)
    assert bounded.take_ids("w1") == []
    bounded.passes(31)
    bounded.do(take.release_due)
    assert bounded.take_ids("w1") == ["t"]


@pytest.mark.parametrize("delay_s", [0, 0.0, 0.001, 5, 86_400.5])
def test_any_delay_is_a_time(bounded: Ledger, delay_s: float):
    bounded.send("t")
    bounded.lose(bounded.lease("w1"), delay_s=delay_s)
    due = moment(bounded.row("t")["due_at"])
    if delay_s == 0:
        assert due is None
    else:
        assert abs(due - datetime.now(UTC) - timedelta(seconds=delay_s)) < timedelta(seconds=2)


def test_the_death_is_in_the_history_with_signal_and_process(bounded: Ledger):
    bounded.send("t")
    lease = bounded.lease("w1")
    bounded.start(lease)
    bounded.lose(lease)
    (attempt,) = bounded.attempts("t")
    assert (attempt["outcome"], attempt["worker_id"], attempt["pid"]) == ("lost", "w1", OOPS.pid)
    assert attempt["started_at"] is not None


def test_a_stopped_worker_that_forgot_a_lease_loses_it_too(bounded: Ledger):
    bounded.send("t")
    bounded.lease("w1")
    bounded.do(workers.stop, "w1")
    assert [lost.task_id for lost in bounded.reap()] == ["t"]


def test_a_batch_committed_after_its_worker_was_found_dead_is_reaped_later(bounded: Ledger):
    bounded.send("t")
    bounded.die("w1")
    bounded.reap()
    bounded.write("UPDATE mirepoix_task SET state = 'leased', fence = 1, worker_id = 'w1'")
    assert [lost.task_id for lost in bounded.reap()] == ["t"]


def test_a_rolled_back_reaping_changes_nothing(bounded: Ledger):
    bounded.send("t")
    bounded.start(bounded.lease("w1"))
    bounded.die("w1")
    before = bounded.row("t")
    with rolled_back(bounded.connection) as tx:
        assert len(reap.lose_of_dead_workers(tx, BOUNDS)) == 1
    assert bounded.row("t") == before
    assert bounded.attempts("t") == []
