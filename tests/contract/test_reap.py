"""Taking back what dead processes held: to the queue, or to quarantine when it keeps killing them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from driver import OOPS, Ledger, moment, rolled_back
from mirepoix.config import Settings
from mirepoix.ledger import finish, reap, take, workers
from mirepoix.records import LostTask

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
        LostTask("started", "shop.pay", fence=1, state="pending", was_started=True),
        LostTask("unstarted", "shop.pay", fence=1, state="pending", was_started=False),
    ]
    assert bounded.states() == {"started": "pending", "unstarted": "pending", "of the living": "leased"}
    assert bounded.reap() == []


def blame(ledger: Ledger) -> dict[str, tuple[int, int, int]]:
    """Of each task: its deaths, its handovers, and whether it is a suspect."""
    found = ledger.query("SELECT id, deaths, handovers, is_suspect FROM mirepoix_task")
    return {task_id: tuple(counts) for task_id, *counts in found}


def runs(ledger: Ledger, worker_id: str, *task_ids: str, is_seen: bool = True) -> None:
    """A new worker runs these, which are all that waits."""
    ledger.worker(worker_id)
    for _ in task_ids:
        lease = ledger.lease(worker_id)
        assert lease.task_id in task_ids
        if is_seen:
            ledger.start(lease)


def test_only_a_task_that_was_seen_to_start_is_blamed(bounded: Ledger):
    bounded.send("started")
    runs(bounded, "w2", "started")
    bounded.send("unstarted")
    runs(bounded, "w3", "unstarted", is_seen=False)
    bounded.die("w2")
    bounded.die("w3")
    bounded.reap()
    assert blame(bounded) == {"started": (1, 0, 1), "unstarted": (0, 1, 1)}


def asked_to_stop(ledger: Ledger) -> None:
    ledger.do(workers.heartbeat, "w2", 1_000.0, is_stopping=True)
    ledger.die("w2")


def with_its_host(ledger: Ledger) -> None:
    ledger.write(f"UPDATE mirepoix_worker SET process = '{'a' * 36} 4026531836 7 1' WHERE id = 'w2'")
    ledger.die("w2", host="host", boot="b" * 36)


INNOCENT = {
    "it was to stop": asked_to_stop,
    "it was silent": lambda ledger: ledger.die("w2", "silent"),
    "its host was booted": with_its_host,
    "it stopped": lambda ledger: ledger.do(workers.stop, "w2"),
    "a release before found it": lambda ledger: ledger.write(
        "UPDATE mirepoix_worker SET state = 'dead', reason = 'it died' WHERE id = 'w2'"
    ),
}


@pytest.mark.parametrize("how", INNOCENT)
def test_a_death_that_no_task_can_be_blamed_for_counts_a_handover(bounded: Ledger, how: str):
    bounded.send("a", "b")
    runs(bounded, "w2", "a", "b")
    INNOCENT[how](bounded)
    assert {lost.state for lost in bounded.reap()} == {"pending"}
    assert blame(bounded) == {"a": (0, 1, 0), "b": (0, 1, 0)}
    (attempt,) = bounded.attempts("a")
    assert attempt["outcome"] == "lost"
    assert "nobody is blamed; beside it: shop.pay[b]" in attempt["error"]
    bounded.write(f"UPDATE mirepoix_task SET handovers = {BOUNDS.max_handovers - 1}")
    bounded.do(workers.stop, "w1")
    bounded.write("UPDATE mirepoix_task SET state = 'running', fence = 9, worker_id = 'w1'")
    assert {lost.state for lost in bounded.reap()} == {"quarantined"}
    assert "without evidence that the task caused it" in bounded.row("a")["reason"]


def test_on_the_same_boot_of_its_host_a_death_is_its_own(bounded: Ledger):
    bounded.send("a")
    runs(bounded, "w2", "a")
    bounded.write(f"UPDATE mirepoix_worker SET process = '{'a' * 36} 4026531836 7 1' WHERE id = 'w2'")
    bounded.die("w2", host="host", boot="a" * 36)
    bounded.reap()
    assert blame(bounded) == {"a": (1, 0, 1)}


def test_a_task_that_is_lost_so_often_without_blame_is_a_suspect(bounded: Ledger):
    bounded.send("a")
    seen = []
    for _ in range(3):
        bounded.lose(bounded.lease("w1"), is_blamed=False, suspect_after=3)
        seen.append(blame(bounded)["a"])
    assert seen == [(0, 1, 0), (0, 2, 0), (0, 3, 1)]
    bounded.lose(bounded.lease("w1"), is_blamed=False)
    assert blame(bounded)["a"] == (0, 4, 1)


def test_of_several_suspects_none_is_blamed_and_of_one_it_is(bounded: Ledger):
    bounded.send("culprit", "neighbour")
    runs(bounded, "w2", "culprit", "neighbour")
    bounded.die("w2")
    bounded.reap()
    assert blame(bounded) == {"culprit": (0, 1, 1), "neighbour": (0, 1, 1)}
    assert "suspects; beside it: shop.pay[neighbour]" in bounded.attempts("culprit")[0]["error"]
    bounded.worker("w3")
    first = bounded.lease("w3")
    assert first.task_id == "culprit"
    bounded.start(first)
    bounded.worker("w4")
    bounded.retry(bounded.lease("w4"))
    assert blame(bounded)["neighbour"] == (0, 1, 0)
    bounded.send("new")
    bounded.write("UPDATE mirepoix_task SET state = 'running', worker_id = 'w3' WHERE id = 'new'")
    bounded.die("w3")
    (lost, *others) = bounded.reap()
    assert (lost.task_id, [other.task_id for other in others]) == ("culprit", ["new"])
    assert blame(bounded) == {"culprit": (1, 1, 1), "neighbour": (0, 1, 0), "new": (0, 1, 1)}
    assert "no other suspect was beside it; beside it: shop.pay[new]" in bounded.attempts("culprit")[1]["error"]
    bounded.succeed(bounded.lease("w4"))


@pytest.mark.parametrize("end", ["requeued", "sent again", "parked"])
def test_a_suspect_that_comes_to_an_end_is_none_any_more(bounded: Ledger, end: str):
    bounded.send("a")
    runs(bounded, "w2", "a")
    bounded.die("w2")
    bounded.reap()
    assert blame(bounded)["a"][2] == 1
    if end == "requeued":
        bounded.cancel("a")
        bounded.requeue("a")
    elif end == "sent again":
        bounded.succeed(bounded.lease("w1"))
        bounded.send("a")
    else:
        bounded.do(finish.park, bounded.lease("w1"), OOPS)
    assert blame(bounded)["a"][2] == 0


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
