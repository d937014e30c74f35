"""A broker in front of the ledger: what it was told of, what it is still to be told of, what a notification takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from driver import Ledger, envelope
from mirepoix.ledger import enqueue, finish, sending, take, workers
from mirepoix.records import PROMISED, UNSENT, AttemptFailure, Envelope, Lease, RelayRole, Worker
from mirepoix.sql import statement

GRACE_S = 10.0
SENT = 0
"""The fence of a task that was never taken."""


def hours_from_now(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


def take_by_id(ledger: Ledger, worker_id: str, *task_ids: str) -> list[str]:
    return [taken.lease.task_id for taken in ledger.do(take.take_by_id, worker_id, task_ids)]


def unsent(ledger: Ledger, grace_s: float = GRACE_S, batch: int = 100, held_up: tuple[str, ...] = ()) -> list[str]:
    return [one.envelope.id for one in ledger.do(sending.unsent, grace_s, batch, held_up)]


def note(ledger: Ledger, *confirmed: tuple[str, int]) -> int:
    return ledger.do(sending.note_sent, confirmed)


def sent(ledger: Ledger, *task_ids: str, **fields: Any) -> None:
    """Send them, and let the broker confirm each."""
    ledger.send(*task_ids, sent_fence=UNSENT, **fields)
    assert note(ledger, *((task_id, SENT) for task_id in task_ids)) == len(task_ids)


@pytest.fixture
def worker(ledger: Ledger) -> str:
    return ledger.worker("w1")


# ---- taking what the broker notified of


def test_what_is_rung_for_is_leased_in_the_order_asked_for_and_each_once(ledger: Ledger, worker: str):
    ledger.send("a", "b", "c", "d")
    assert take_by_id(ledger, worker, "c", "a", "c", "d") == ["c", "a", "d"]
    assert ledger.states() == {"a": "leased", "b": "pending", "c": "leased", "d": "leased"}


def test_a_lease_by_id_raises_the_fence_and_names_its_holder(ledger: Ledger, worker: str):
    ledger.send("a", priority=3, headers={"h": 1}, exchange="x", routing_key="k")
    ledger.give_back(worker, [ledger.lease(worker)])
    (taken,) = ledger.do(take.take_by_id, worker, ["a"])
    assert taken.lease == Lease("a", 2, "w1")
    assert (taken.name, taken.queue, taken.priority, taken.headers) == ("shop.pay", "celery", 3, {"h": 1})
    assert (taken.exchange, taken.routing_key, taken.is_redelivered) == ("x", "k", False)
    row = ledger.row("a")
    assert (row["fence"], row["worker_id"], row["started_at"]) == (2, "w1", None)
    assert row["leased_at"] is not None


def test_a_lease_by_id_says_that_an_earlier_attempt_was_lost(ledger: Ledger, worker: str):
    ledger.send("a")
    lease = ledger.lease(worker)
    ledger.start(lease)
    ledger.lose(lease)
    (taken,) = ledger.do(take.take_by_id, worker, ["a"])
    assert taken.is_redelivered


def finished(ledger: Ledger, task_id: str) -> None:
    ledger.send(task_id)
    assert ledger.succeed(ledger.lease("w1"))


def cancelled(ledger: Ledger, task_id: str) -> None:
    ledger.send(task_id)
    ledger.cancel(task_id)


def leased(ledger: Ledger, task_id: str) -> None:
    ledger.send(task_id)
    ledger.lease("w1")


def running(ledger: Ledger, task_id: str) -> None:
    ledger.send(task_id)
    ledger.start(ledger.lease("w1"))


def failed(ledger: Ledger, task_id: str) -> None:
    ledger.send(task_id)
    assert ledger.fail(ledger.lease("w1"))


def due_later(ledger: Ledger, task_id: str) -> None:
    ledger.send(task_id, eta=hours_from_now(1))


def expired(ledger: Ledger, task_id: str) -> None:
    ledger.send(task_id, expires=hours_from_now(-1))


def unknown(ledger: Ledger, task_id: str) -> None:
    """Nobody has sent it."""


NOT_READY = [finished, cancelled, leased, running, failed, due_later, expired, unknown]


@pytest.mark.parametrize("made", NOT_READY, ids=lambda made: made.__name__)
def test_what_is_not_ready_is_not_leased_and_the_others_are(ledger: Ledger, worker: str, made: Callable[..., None]):
    made(ledger, "a")
    before = ledger.rows("SELECT * FROM mirepoix_task WHERE id = 'a'")
    ledger.send("b")
    ledger.worker("w2")
    assert take_by_id(ledger, "w2", "a", "b") == ["b"]
    assert ledger.rows("SELECT * FROM mirepoix_task WHERE id = 'a'") == before


@pytest.mark.parametrize("made", NOT_READY, ids=lambda made: made.__name__)
def test_the_whereabouts_of_what_is_not_ready(ledger: Ledger, worker: str, made: Callable[..., None]):
    made(ledger, "a")
    ledger.send("b")
    known = {} if made is unknown else {"a": False}
    assert ledger.do(take.readiness, ["a", "b"]) == {**known, "b": True}


def test_a_worker_that_was_declared_dead_is_given_nothing_it_rang_for(ledger: Ledger, worker: str):
    ledger.send("a")
    ledger.die(worker)
    assert take_by_id(ledger, worker, "a") == []
    assert take_by_id(ledger, "nobody", "a") == []
    assert ledger.row("a")["fence"] == 0
    assert ledger.do(take.readiness, ["a"]) == {"a": True}


def test_two_workers_that_are_rung_for_one_task_do_not_both_get_it(ledger: Ledger, worker: str):
    ledger.worker("w2")
    ledger.send("a")
    assert [take_by_id(ledger, who, "a") for who in ("w1", "w2")] == [["a"], []]


def test_asking_for_nothing_takes_nothing(ledger: Ledger, worker: str):
    ledger.send("a")
    assert take_by_id(ledger, worker) == []
    assert ledger.do(take.readiness, []) == {}


# ---- what the broker has still to be told of


def test_what_waits_to_be_published_comes_oldest_first_and_no_more_than_asked_for(ledger: Ledger):
    ledger.send("c", sent_fence=UNSENT)
    ledger.send("a", "b", sent_fence=UNSENT, priority=9)
    assert unsent(ledger) == ["c", "a", "b"]
    assert unsent(ledger, batch=2) == ["c", "a"]


def test_what_is_to_be_published_is_the_message_as_it_was_sent(ledger: Ledger):
    message = Envelope(
        id="a",
        name="shop.pay",
        queue="mail",
        body="AAEC",
        headers={"id": "a", "lang": "py"},
        properties={"correlation_id": "a", "priority": 7},
        content_type="application/x-own",
        content_encoding="binary",
        body_encoding="base64",
        priority=7,
        exchange="letters",
        routing_key="letters.air",
        sent_fence=UNSENT,
    )
    ledger.do(enqueue.add, [message])
    ((found, fence),) = [(one.envelope, one.fence) for one in ledger.do(sending.unsent, GRACE_S, 10)]
    assert fence == SENT
    assert {**_fields(found), "sent_fence": UNSENT} == _fields(message)


def _fields(message: Envelope) -> dict[str, Any]:
    return {name: getattr(message, name) for name in Envelope.__slots__}


def test_what_its_sender_promised_to_publish_is_left_to_it_for_a_while(ledger: Ledger):
    ledger.send("a", sent_fence=PROMISED)
    ledger.send("b", sent_fence=UNSENT)
    assert unsent(ledger) == ["b"]
    ledger.passes(GRACE_S - 2)
    assert unsent(ledger) == ["b"]
    ledger.passes(4)
    assert unsent(ledger) == ["a", "b"]


def test_a_queue_that_is_held_up_waits_and_the_others_do_not(ledger: Ledger):
    ledger.send("a", queue="a", sent_fence=UNSENT)
    ledger.send("b", queue="b", sent_fence=UNSENT)
    ledger.send("c", queue="c", sent_fence=UNSENT)
    assert unsent(ledger, held_up=("a", "c", "none")) == ["b"]
    assert unsent(ledger, batch=1, held_up=("a",)) == ["b"]


def test_what_was_written_without_a_broker_is_not_published(ledger: Ledger):
    ledger.send("a", sent_fence=None)
    ledger.passes(10 * GRACE_S)
    assert unsent(ledger) == []


@pytest.mark.parametrize("made", [cancelled, leased, due_later], ids=lambda made: made.__name__)
def test_what_is_not_ready_is_not_published(ledger: Ledger, worker: str, made: Callable[..., None]):
    made(ledger, "a")
    ledger.write(f"UPDATE mirepoix_task SET sent_fence = {UNSENT}")
    assert unsent(ledger) == []


def test_what_came_due_is_published_at_once(ledger: Ledger):
    ledger.send("a", eta=hours_from_now(1), sent_fence=UNSENT)
    ledger.passes(3700)
    assert ledger.do(take.release_due) == 1
    assert unsent(ledger) == ["a"]


def lost(ledger: Ledger, lease: Lease) -> None:
    ledger.start(lease)
    ledger.lose(lease)


def given_back(ledger: Ledger, lease: Lease) -> None:
    assert ledger.give_back(lease.worker_id, [lease]) == 1


def taken_from_the_dead(ledger: Ledger, lease: Lease) -> None:
    ledger.die(lease.worker_id)
    assert ledger.reap()


def retried(ledger: Ledger, lease: Lease) -> None:
    assert ledger.retry(lease, sent_fence=UNSENT)


def requeued(ledger: Ledger, lease: Lease) -> None:
    ledger.fail(lease)
    assert ledger.requeue("a")


def rearmed(ledger: Ledger, lease: Lease) -> None:
    ledger.succeed(lease)
    assert ledger.send("a", sent_fence=PROMISED)


def released(ledger: Ledger, lease: Lease) -> None:
    assert ledger.retry(lease, eta=hours_from_now(1), sent_fence=UNSENT)
    assert unsent(ledger) == []
    ledger.passes(3700)
    assert ledger.do(take.release_due) == 1


def parked_and_requeued(ledger: Ledger, lease: Lease) -> None:
    assert ledger.do(finish.park, lease, AttemptFailure("no such task here"))
    assert ledger.requeue("a")


CAME_BACK = [lost, given_back, taken_from_the_dead, retried, requeued, rearmed, released, parked_and_requeued]


@pytest.mark.parametrize("first", [PROMISED, UNSENT, SENT], ids=["promised", "unsent", "sent"])
@pytest.mark.parametrize("came_back", CAME_BACK, ids=lambda came_back: came_back.__name__)
def test_what_comes_back_is_published_again_at_once(
    ledger: Ledger, worker: str, first: int, came_back: Callable[..., None]
):
    ledger.send("a", sent_fence=PROMISED if first == PROMISED else UNSENT)
    if first == SENT:
        assert note(ledger, ("a", SENT)) == 1
    (taken,) = ledger.do(take.take_by_id, worker, ["a"])
    assert unsent(ledger) == []
    came_back(ledger, taken.lease)
    assert unsent(ledger) == ["a"]
    (again,) = ledger.do(sending.unsent, GRACE_S, 10)
    assert note(ledger, ("a", again.fence)) == 1
    assert unsent(ledger) == []


@pytest.mark.parametrize("first", [PROMISED, SENT], ids=["promised", "sent"])
def test_what_was_cancelled_while_its_message_waited_is_published_again_when_it_is_requeued(ledger: Ledger, first: int):
    ledger.send("a", sent_fence=PROMISED)
    if first == SENT:
        assert note(ledger, ("a", SENT)) == 1
    ledger.cancel("a")
    ledger.requeue("a")
    assert unsent(ledger) == ["a"]


@pytest.mark.parametrize("came_back", [lost, given_back, requeued], ids=lambda came_back: came_back.__name__)
def test_what_comes_back_without_a_broker_is_not_published(ledger: Ledger, worker: str, came_back: Callable[..., None]):
    ledger.send("a")
    came_back(ledger, ledger.lease(worker))
    ledger.passes(10 * GRACE_S)
    assert ledger.state("a") == "pending"
    assert unsent(ledger) == []


# ---- what the broker was told of


def test_what_the_broker_confirmed_is_noted_with_its_time_and_count(ledger: Ledger):
    ledger.send("a", "b", sent_fence=UNSENT)
    assert note(ledger, ("a", SENT), ("never seen", SENT)) == 1
    row = ledger.row("a")
    assert (row["sent_fence"], row["sendings"]) == (0, 1)
    assert row["sent_at"] is not None
    assert unsent(ledger) == ["b"]
    assert note(ledger) == 0


def test_a_confirmation_counts_only_at_the_fence_that_was_published(ledger: Ledger, worker: str):
    ledger.send("a", sent_fence=UNSENT)
    ledger.give_back(worker, [ledger.lease(worker)])
    assert note(ledger, ("a", SENT)) == 0
    assert note(ledger, ("a", 2)) == 0
    assert unsent(ledger) == ["a"]
    assert note(ledger, ("a", 1)) == 1
    assert unsent(ledger) == []


@pytest.mark.parametrize("made", [finished, cancelled, leased, running], ids=lambda made: made.__name__)
def test_a_confirmation_of_what_waits_no_longer_changes_nothing(ledger: Ledger, worker: str, made: Callable[..., None]):
    made(ledger, "a")
    before = ledger.row("a")
    assert note(ledger, ("a", before["fence"])) == 0
    assert ledger.row("a") == before


def test_a_confirmation_of_what_is_due_later_changes_nothing(ledger: Ledger):
    ledger.send("a", eta=hours_from_now(1), sent_fence=UNSENT)
    assert note(ledger, ("a", SENT)) == 0


def test_what_nobody_takes_goes_out_again_each_time_after_twice_as_long(ledger: Ledger):
    ledger.send("a", sent_fence=UNSENT)
    deadline_s = 30
    for times in (1, 2, 4, 8, 16, 32, 64, 64, 64):
        assert note(ledger, ("a", SENT)) == 1
        ledger.passes(times * deadline_s - 5)
        assert ledger.do(sending.resend_late, "celery", deadline_s) == 0
        assert unsent(ledger) == []
        ledger.passes(10)
        assert ledger.do(sending.resend_late, "celery", deadline_s) == 1
        assert unsent(ledger) == ["a"]


def test_only_what_waits_in_that_queue_and_was_sent_goes_out_again(ledger: Ledger, worker: str):
    sent(ledger, "other queue", queue="other")
    sent(ledger, "here", "taken", "cancelled")
    ledger.send("without a broker")
    take_by_id(ledger, worker, "taken")
    ledger.cancel("cancelled")
    ledger.passes(100)
    sent(ledger, "new")
    assert ledger.do(sending.resend_all, "celery", 50.0) == 1
    assert unsent(ledger) == ["here"]
    note(ledger, ("here", SENT))
    ledger.passes(100)
    assert ledger.do(sending.resend_late, "celery", 30.0) == 2
    assert unsent(ledger) == ["here", "new"]


def test_all_that_was_sent_goes_out_again_when_the_broker_has_forgotten_it(ledger: Ledger):
    sent(ledger, "a", "b")
    ledger.passes(1)
    assert ledger.do(sending.resend_all, "celery", 0.0) == 2
    assert unsent(ledger) == ["a", "b"]
    assert ledger.do(sending.resend_all, "celery", 0.0) == 0


def test_what_was_written_without_a_broker_can_be_claimed_in_batches(ledger: Ledger, worker: str):
    ledger.send("held")
    ledger.lease(worker)
    ledger.send("a", "b", "c")
    ledger.send("later", eta=hours_from_now(1))
    sent(ledger, "sent")
    assert [ledger.do(sending.claim_unmarked, 2) for _ in range(3)] == [2, 1, 0]
    assert unsent(ledger) == ["a", "b", "c"]
    assert ledger.row("sent")["sent_fence"] == SENT
    assert ledger.row("held")["sent_fence"] is None


def test_the_load_tells_what_the_broker_was_told_of_for_how_long_and_what_it_was_not(ledger: Ledger, worker: str):
    sent(ledger, "old")
    sent(ledger, "taken")
    take_by_id(ledger, worker, "taken")
    ledger.passes(60)
    sent(ledger, "new")
    ledger.send("promised", sent_fence=PROMISED)
    ledger.send("unsent", sent_fence=UNSENT)
    ledger.send("without a broker")
    ledger.send("later", eta=hours_from_now(1), sent_fence=UNSENT)
    ledger.send("mail", queue="mail")
    celery, mail = sorted(ledger.do(sending.load, 30.0), key=lambda queue: queue.queue)
    assert ledger.do(sending.count_unsent) == celery.unsent + mail.unsent > 0
    assert (celery.queue, celery.sent, celery.settled, celery.unsent, celery.ready) == ("celery", 2, 1, 2, 5)
    assert 59 < celery.oldest_sent_s < 75
    assert (mail.sent, mail.settled, mail.oldest_sent_s, mail.unsent, mail.ready) == (0, 0, None, 0, 1)


def test_the_longest_that_held_tasks_waited_in_the_broker_is_known_by_queue(ledger: Ledger, worker: str):
    sent(ledger, "a")
    ledger.passes(40)
    sent(ledger, "b")
    sent(ledger, "m", queue="mail")
    ledger.send("never sent", queue="other")
    ledger.passes(5)
    take_by_id(ledger, worker, "a", "b", "m", "never sent")
    ledger.passes(1000)
    sent(ledger, "waits")
    waited = ledger.do(sending.waits)
    assert 44 < waited["celery"] < 60
    assert 4 < waited["mail"] < 20
    assert set(waited) == {"celery", "mail"}


# ---- who publishes, and who listens


def register(ledger: Ledger, worker_id: str, relays: int) -> None:
    worker = Worker(
        worker_id,
        f"{worker_id}@host",
        "host",
        1,
        queues=("celery", "mail"),
        concurrency=4,
        relay_role=RelayRole(relays),
    )
    ledger.do(workers.register, worker, 1000.0)


def leader(ledger: Ledger) -> str | None:
    found = ledger.do(sending.leader)
    return None if found is None else found.worker_id


def test_a_relay_of_its_own_publishes_before_workers_and_the_oldest_before_the_others(ledger: Ledger):
    assert leader(ledger) is None
    register(ledger, "does not", 0)
    assert leader(ledger) is None
    register(ledger, "z-worker", 1)
    register(ledger, "a-worker", 1)
    assert leader(ledger) == "z-worker"
    register(ledger, "z-relay", 2)
    register(ledger, "a-relay", 2)
    assert leader(ledger) == "z-relay"
    for dead, next_one in (("z-relay", "a-relay"), ("a-relay", "z-worker"), ("z-worker", "a-worker")):
        ledger.die(dead)
        assert leader(ledger) == next_one
    ledger.die("a-worker")
    assert leader(ledger) is None


def test_what_keeps_the_leader_from_publishing_is_kept_while_it_does(ledger: Ledger):
    register(ledger, "w1", 1)
    ledger.do(sending.note_trouble, "w1", "the broker\x00 is away")
    assert "is away" in ledger.do(sending.leader).trouble
    ledger.do(sending.note_trouble, "w1", None)
    assert ledger.do(sending.leader).trouble is None
    ledger.die("w1")
    ledger.do(sending.note_trouble, "w1", "too late")
    assert ledger.worker_row("w1")["reason"] == "its process died"


def test_what_was_seen_of_a_queue_is_kept_with_its_age(ledger: Ledger):
    ledger.do(sending.note_queue, "celery", 7)
    ledger.passes(60)
    ledger.do(sending.note_probe, "celery")
    ledger.do(sending.note_probe, "mail")
    celery, mail = sorted(ledger.do(sending.seen), key=lambda one: one.queue)
    assert (celery.broker_messages, mail.broker_messages, mail.looked_s) == (7, None, None)
    assert 59 < celery.looked_s < 75
    assert celery.probed_s < 15
    ledger.do(sending.note_queue, "celery", 0)
    (celery,) = [one for one in ledger.do(sending.seen) if one.queue == "celery"]
    assert (celery.broker_messages, celery.looked_s < 15) == (0, True)


def test_postgresql_wakes_nobody_for_what_its_sender_tells_the_broker_of(ledger: Ledger):
    if ledger.source.dialect != "postgresql":
        pytest.skip("only PostgreSQL has NOTIFY")
    watcher = ledger.source.open()
    watcher.listen()

    def told() -> frozenset[str]:
        """All that is told until a later message, which is told after it."""
        ledger.query("SELECT pg_notify('mirepoix_message', '')")
        heard: frozenset[str] = frozenset()
        while "messages" not in heard:
            heard |= watcher.news()
        return heard

    ledger.do(enqueue.add, [envelope("a", sent_fence=PROMISED)])
    assert told() == {"messages"}
    for sent_fence in (UNSENT, None):
        ledger.do(
            enqueue.add, [envelope("b", sent_fence=PROMISED), envelope(f"of {sent_fence}", sent_fence=sent_fence)]
        )
        assert told() == {"messages", "tasks"}
    watcher.close()


def test_a_live_worker_that_has_heard_something_is_a_listener(ledger: Ledger):
    for worker_id in ("w1", "w2", "w3"):
        register(ledger, worker_id, 1)
    ledger.passes(100)
    ledger.do(sending.note_received, "w1", 30.0)
    ledger.do(sending.note_received, "w2", 0.0)
    ledger.die("w2")
    (one,) = ledger.do(sending.listeners)
    assert (one.worker_id, one.name, one.queues, one.concurrency) == ("w1", "w1@host", ("celery", "mail"), 4)
    assert 29 < one.silent_s < 45
    assert 99 < one.up_s < 115


# ---- what was sent past the ledger


def test_only_what_the_ledger_does_not_know_is_adopted(ledger: Ledger, worker: str):
    finished(ledger, "finished")
    cancelled(ledger, "cancelled")
    ledger.send("waiting", headers={"whose": "the ledger's"})
    leased(ledger, "leased")
    before = {task_id: ledger.row(task_id) for task_id in ledger.states()}
    foreign = [envelope(task_id, name="shop.foreign", sent_fence=UNSENT) for task_id in (*before, "new")]
    assert ledger.do(enqueue.adopt, foreign) == {"new"}
    assert {task_id: ledger.row(task_id) for task_id in before} == before
    assert ledger.do(enqueue.adopt, foreign) == set()
    assert ledger.do(enqueue.adopt, []) == set()
    assert take_by_id(ledger, worker, "new", "finished", "cancelled") == ["new"]


# ---- what it costs


@pytest.fixture
def many(postgresql_url: str) -> Any:
    """A ledger in PostgreSQL with a backlog that the planner knows nothing of."""
    from mirepoix.connect.url import source_for

    with Ledger(source_for(postgresql_url)) as ledger:
        ledger.write("ALTER TABLE mirepoix_task SET (autovacuum_enabled = false)")
        for state in ("pending", "succeeded"):
            ledger.write(
                "INSERT INTO mirepoix_task (id, name, queue, priority, content_type, content_encoding, body_encoding, "
                "body, headers, properties, exchange, routing_key, state, sent_fence) "
                f"SELECT '{state}' || n, 'a', 'q', 0, 'j', 'u', 'utf-8', repeat('b', 300), "
                f"CAST('{{\"h\": \"' || repeat('h', 600) || '\"}}' AS json), '{{}}', '', '', '{state}', 0 "
                "FROM generate_series(1, 5000) AS n"
            )
        yield ledger


def plan(ledger: Ledger, name: str, **params: Any) -> str:
    return "\n".join(row[0] for row in ledger.query(f"EXPLAIN {statement(name, 'postgresql', 'named')}", **params))


IDS = json.dumps([f"pending{n}" for n in range(1, 101)])
ROWS = json.dumps([{"id": f"pending{n}", "fence": 0} for n in range(1, 101)])
BY_ID = {
    "take_by_id": {"suspects": 1, "worker_id": "w1", "ids": IDS},
    "readiness": {"ids": IDS},
    "note_sent": {"rows": ROWS},
}


@pytest.mark.parametrize("is_analyzed", [False, True], ids=["no statistics", "statistics"])
@pytest.mark.parametrize("name", BY_ID)
def test_rows_are_found_by_their_ids_alone_whatever_the_planner_knows(many: Ledger, name: str, is_analyzed: bool):
    if is_analyzed:
        many.write("ANALYZE mirepoix_task")
    steps = [step for step in plan(many, name, **BY_ID[name]).splitlines() if "mirepoix_task" in step]
    found = [step for step in steps if "Scan" in step]
    assert found
    assert [step for step in found if "Index Scan using mirepoix_task_pkey on mirepoix_task" not in step] == []


@pytest.mark.parametrize("is_analyzed", [False, True], ids=["no statistics", "statistics"])
def test_what_is_unsent_is_found_without_walking_along_what_waits(many: Ledger, is_analyzed: bool):
    many.send("a", sent_fence=UNSENT)
    if is_analyzed:
        many.write("ANALYZE mirepoix_task")
    steps = plan(many, "unsent", grace_s=1.0, batch=500, held_up="[]")
    assert "using mirepoix_task_unsent on mirepoix_task" in steps
    assert "Sort" not in steps
