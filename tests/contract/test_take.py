"""Taking leases: the right tasks, in the right order, each to one worker."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from driver import Ledger, declare_dead, envelope, moment, rolled_back
from mirepoix.config import Settings
from mirepoix.connect.source import Source
from mirepoix.daemons.leases import Leases
from mirepoix.ledger import enqueue, reap, take, workers
from mirepoix.records import Lease, Worker


def test_the_oldest_goes_first(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("c")
    ledger.send("a", "b")
    assert ledger.take_ids("w1") == ["c", "a", "b"]


def test_the_highest_priority_goes_first_then_the_oldest(ledger: Ledger):
    ledger.worker("w1")
    for task_id, priority in (("a", 0), ("b", 5), ("c", 9), ("d", 5), ("e", 0), ("f", -1)):
        ledger.send(task_id, priority=priority)
    assert ledger.take_ids("w1", 2) == ["c", "b"]
    assert ledger.take_ids("w1") == ["d", "a", "e", "f"]


def test_the_queues_take_turns(ledger: Ledger):
    ledger.worker("w1")
    ledger.send(*(f"a{n}" for n in range(50)), queue="a")
    ledger.send("b0", "b1", queue="b")
    ledger.send("c0", queue="c")
    taken = ledger.take_ids("w1", 6, queues=["a", "b", "c"])
    assert taken == ["a0", "b0", "c0", "a1", "b1", "a2"]
    assert ledger.take_ids("w1", 3, queues=["a", "b", "c"]) == ["a3", "a4", "a5"]


def test_a_full_queue_cannot_starve_another_even_one_task_at_a_time(ledger: Ledger):
    ledger.worker("w1")
    ledger.send(*(f"a{n}" for n in range(6)), queue="a", priority=9)
    ledger.send("b0", queue="b")
    # The caller turns the list. The first queue with a task begins, however old or urgent the tasks of the others are.
    turns = (["a", "b", "none"], ["b", "none", "a"], ["none", "a", "b"], ["none", "b", "a"])
    assert [ledger.take_ids("w1", 1, queues=turn)[0] for turn in turns] == ["a0", "b0", "a1", "a2"]


def test_a_worker_that_takes_one_task_at_a_time_serves_its_queues_in_turn(ledger: Ledger, source: Source):
    leases = Leases(source, Settings(), Worker("", "w1@host", "host", 1, queues=("a", "empty", "c")))
    leases.incarnation.register()
    ledger.send("a0", "a1", "a2", "a3", queue="a", priority=9)
    ledger.send("c0", "c1", queue="c")
    taken = [leases.record_and_take(ledger.connection, leases.worker.queues, 1)[0].lease.task_id for _ in range(6)]
    assert taken == ["a0", "c0", "a1", "c1", "a2", "a3"]
    leases.incarnation.close(is_over=True)


def test_only_the_named_queues_are_touched(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("a", queue="a")
    ledger.send("b", queue="b")
    assert ledger.take_ids("w1", queues=["b", "nothing here"]) == ["b"]
    assert ledger.take_ids("w1", queues=[]) == []
    assert ledger.state("a") == "pending"


def test_a_queue_named_twice_gives_each_task_once(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("a", "b", "c", queue="a")
    assert sorted(ledger.take_ids("w1", 3, queues=["a", "a"])) == ["a", "b", "c"]


def test_a_batch_is_never_exceeded(ledger: Ledger):
    ledger.worker("w1")
    ledger.send(*"abcdefgh", queue="a")
    ledger.send(*"ABCDEFGH", queue="b")
    assert ledger.take_ids("w1", 0, queues=["a", "b"]) == []
    assert len(ledger.take_ids("w1", 5, queues=["a", "b"])) == 5
    assert len(ledger.take_ids("w1", 100, queues=["a", "b"])) == 11


def test_what_is_taken_is_marked_with_its_worker_and_time(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t")
    assert ledger.lease("w1") == Lease("t", 1, "w1")
    row = ledger.row("t")
    assert (row["state"], row["fence"], row["worker_id"], row["pid"]) == ("leased", 1, "w1", None)
    assert abs(moment(row["leased_at"]) - datetime.now(UTC)) < timedelta(seconds=5)


def test_a_held_or_finished_task_is_not_taken(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t")
    for state in ("leased", "running", "succeeded", "failed", "quarantined", "parked", "cancelled", "expired"):
        ledger.write(f"UPDATE mirepoix_task SET state = '{state}'")
        assert ledger.take_ids("w1") == [], state


def test_a_task_that_is_not_due_is_not_taken(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t", eta=_in(60))
    assert ledger.take_ids("w1") == []
    assert ledger.do(take.release_due) == 0
    ledger.passes(61)
    assert ledger.do(take.release_due) == 1
    assert ledger.do(take.release_due) == 0
    assert ledger.take_ids("w1") == ["t"]


def test_what_comes_due_stands_where_its_age_puts_it(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("late", eta=_in(60))
    ledger.send("ready")
    ledger.passes(61)
    ledger.do(take.release_due)
    assert ledger.take_ids("w1") == ["late", "ready"]


def test_the_next_due_time_is_known(ledger: Ledger):
    assert ledger.do(take.next_due_s) is None
    ledger.send("ready")
    assert ledger.do(take.next_due_s) is None
    ledger.send("far", eta=_in(3_600))
    ledger.send("near", eta=_in(60))
    assert ledger.do(take.next_due_s) == pytest.approx(60, abs=2)
    ledger.passes(70)
    assert ledger.do(take.next_due_s) == pytest.approx(-10, abs=2)
    ledger.do(take.release_due)
    assert ledger.do(take.next_due_s) == pytest.approx(3_530, abs=2)
    ledger.cancel("far")
    assert ledger.do(take.next_due_s) is None


def test_an_expired_task_is_not_taken(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t", expires=_in(60))
    ledger.send("later", expires=_in(600))
    ledger.passes(61)
    assert ledger.take_ids("w1") == ["later"]
    assert len(ledger.do(reap.expire)) == 1
    assert ledger.do(reap.expire) == []
    assert ledger.states() == {"t": "expired", "later": "leased"}
    assert ledger.row("t")["finished_at"] is not None


def test_a_task_expires_while_it_waits_for_its_eta(ledger: Ledger):
    ledger.send("t", eta=_in(600), expires=_in(60))
    ledger.passes(61)
    assert len(ledger.do(reap.expire)) == 1
    assert ledger.do(take.next_due_s) is None


@pytest.mark.parametrize("end", [lambda tx, w: declare_dead(tx, w, "gone"), workers.stop])
def test_a_worker_that_is_dead_or_stopped_takes_nothing(ledger: Ledger, end):
    ledger.worker("w1")
    ledger.send("t")
    assert ledger.do(end, "w1")
    assert ledger.take_ids("w1") == []
    assert ledger.row("t")["fence"] == 0


def test_a_worker_that_nobody_registered_takes_nothing(ledger: Ledger):
    ledger.send("t")
    assert ledger.take_ids("stranger") == []


def test_a_task_that_was_lost_comes_back_as_redelivered(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t")
    ledger.lose(ledger.lease("w1"), is_blamed=False)
    assert [taken.is_redelivered for taken in ledger.take("w1")] == [True]


def test_a_task_that_was_given_back_is_not_redelivered_and_has_no_death(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t")
    ledger.lease("w1")
    ledger.give_back("w1")
    assert [taken.is_redelivered for taken in ledger.take("w1")] == [False]


def test_a_retake_forgets_the_figures_of_the_attempt_before(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t")
    lease = ledger.lease("w1")
    ledger.start(lease)
    ledger.fail(lease)
    ledger.requeue("t")
    ledger.lease("w1")
    row = ledger.row("t")
    for column in ("started_at", "finished_at", "run_time_s", "peak_memory_kb", "pid"):
        assert row[column] is None, column


def test_a_rolled_back_take_leaves_the_task_waiting_under_its_old_fence(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t")
    with rolled_back(ledger.connection) as tx:
        assert len(take.take(tx, "w1", ["celery"], 1)) == 1
    assert (ledger.state("t"), ledger.row("t")["fence"]) == ("pending", 0)


def test_two_open_transactions_never_hold_the_same_task(source: Source, ledger: Ledger):
    if source.dialect == "sqlite":
        pytest.skip("SQLite has one writer at a time; see the next test")
    ledger.worker("w1")
    ledger.worker("w2")
    ledger.send(*"abcd")
    with Ledger(source) as other:
        with ledger.connection.transaction() as tx:
            first = [t.lease.task_id for t in take.take(tx, "w1", ["celery"], 2)]
            # The second is not kept waiting by the first: SKIP LOCKED.
            second = other.take_ids("w2", 4)
        assert (first, second) == (["a", "b"], ["c", "d"])


def test_workers_taking_at_once_never_share_a_task(source: Source, ledger: Ledger):
    ids = [f"t{n}" for n in range(300)]
    ledger.do(enqueue.add, [envelope(task_id, queue="ab"[n % 2]) for n, task_id in enumerate(ids)])
    names = [ledger.worker(f"w{n}") for n in range(4)]
    barrier = threading.Barrier(len(names))
    taken: dict[str, list[str]] = {name: [] for name in names}

    def work(name: str) -> None:
        with Ledger(source) as own:
            barrier.wait()
            while got := own.take_ids(name, 7, queues=["a", "b"]):
                taken[name].extend(got)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = [task_id for got in taken.values() for task_id in got]
    assert len(everything) == len(set(everything))
    # SKIP LOCKED may end one worker's loop while another holds the rest for a moment.
    everything += ledger.take_ids("w0", 300, queues=["a", "b"])
    assert sorted(everything) == sorted(ids)
    assert {row["fence"] for row in ledger.rows("SELECT * FROM mirepoix_task")} == {1}


def test_a_start_is_noted_with_its_process_and_the_time_it_really_began(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t")
    lease = ledger.lease("w1")
    assert ledger.do(take.start, "w1", [(lease, 30.0, 4711)]) == {"t"}
    row = ledger.row("t")
    assert (row["state"], row["pid"]) == ("running", 4711)
    assert datetime.now(UTC) - moment(row["started_at"]) == pytest.approx(
        timedelta(seconds=30), abs=timedelta(seconds=2)
    )
    assert ledger.do(take.start, "w1", [(lease, 0.0, 1)]) == set()
    assert ledger.do(take.start, "w1", []) == set()


@pytest.mark.parametrize("age_s", [0, 0.0, 0.001, 0.0004, 1, 100_000.25])
def test_any_age_of_a_start_is_a_time(ledger: Ledger, age_s: float):
    ledger.worker("w1")
    ledger.send("t")
    ledger.do(take.start, "w1", [(ledger.lease("w1"), age_s, None)])
    began = datetime.now(UTC) - moment(ledger.row("t")["started_at"])
    assert began == pytest.approx(timedelta(seconds=age_s), abs=timedelta(seconds=2))


def _in(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_a_worker_takes_one_suspect_and_fills_up_with_others(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("s1", "s2", "s3", "a")
    ledger.send("s4", "b", queue="other")
    ledger.write("UPDATE mirepoix_task SET is_suspect = 1 WHERE id LIKE 's%'")
    queues = ["celery", "other"]
    first = ledger.take("w1", 10, queues)
    assert [(taken.lease.task_id, taken.is_suspect) for taken in first] == [("s1", True), ("b", False), ("a", False)]
    ledger.send("c")
    others = ledger.do(take.take, "w1", queues, 2, may_be_suspect=False)
    assert [taken.lease.task_id for taken in others] == ["c"]
    assert ledger.take_ids("w1", 1, queues) in (["s2"], ["s4"])


def test_a_suspect_is_taken_by_its_id_only_if_it_may_be_one(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("s", "a")
    ledger.write("UPDATE mirepoix_task SET is_suspect = 1 WHERE id = 's'")
    taken = ledger.do(take.take_by_id, "w1", ["s", "a"], may_be_suspect=False)
    assert [one.lease.task_id for one in taken] == ["a"]
    assert ledger.do(take.readiness, ["s"]) == {"s": True}
    assert [one.is_suspect for one in ledger.do(take.take_by_id, "w1", ["s"])] == [True]
