"""What happens to calls that are sent when their limit has no room: they are dropped, or older ones cancelled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import pytest

from driver import OOPS, Ledger, envelope
from mirepoix.connect.url import source_for
from mirepoix.connect.verdict import Verdict, verdict
from mirepoix.ledger import enqueue, finish, limits, operate, take
from mirepoix.ledger.limits import Bounds
from mirepoix.ledger.tx import Tx
from mirepoix.records import AtLimitPolicy, Envelope, Taken
from mirepoix.sql import statement
from pace import until

T = TypeVar("T")


class Ended:
    """What a policy was told of the calls that were ended."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def __call__(self, tx: Tx, ids: Sequence[str], reason: str) -> None:
        self.ids += ids


def call(task_id: str, action: str, key: str = "pay:ann", running: int | None = 2, **fields: Any) -> Envelope:
    ended = fields.pop("ended", Ended())
    return envelope(task_id, limit_key=key, at_limit=AtLimitPolicy(action, running, ended), **fields)


def send(ledger: Ledger, action: str, *task_ids: str, **fields: Any) -> set[str]:
    """Send each call in a transaction of its own; return those that wait."""
    return {id for task_id in task_ids for id in ledger.do(enqueue.add, [call(task_id, action, **fields)])}


def hold(ledger: Ledger, *task_ids: str) -> None:
    """Let a worker hold these calls."""
    ledger.worker("w1")
    for _ in task_ids:
        taken = ledger.do(take.take_limited, "w1", [("celery", "pay:ann", 1)])
        assert taken[0].lease.task_id in task_ids


def test_a_call_without_room_is_dropped(ledger: Ledger):
    ended = Ended()
    assert send(ledger, "drop", "a", "b", "c", ended=ended) == {"a", "b"}
    assert ledger.states() == {"a": "pending", "b": "pending", "c": "cancelled"}
    assert ledger.row("c")["reason"] == "dropped: the limit 'pay' allows 2 at once"
    assert ended.ids == ["c"]
    assert send(ledger, "drop", "other", key="pay:bob") == {"other"}


def test_there_is_room_again_once_a_call_has_ended(ledger: Ledger):
    send(ledger, "drop", "a", "b")
    hold(ledger, "a")
    assert send(ledger, "drop", "c") == set()
    ledger.do(operate.cancel, ["b"])
    assert send(ledger, "drop", "d", "e") == {"d"}


def test_a_call_that_waits_for_its_time_or_its_next_try_counts(ledger: Ledger):
    send(ledger, "drop", "later", eta="2099-01-01T00:00:00+00:00")
    send(ledger, "drop", "again")
    ledger.worker("w1")
    (taken,) = ledger.do(take.take_limited, "w1", [("celery", "pay:ann", 1)])
    retried = call("again", "drop", eta="2099-01-01T00:00:00+00:00")
    assert ledger.do(finish.retry, taken.lease, retried, OOPS)
    assert send(ledger, "drop", "new") == set()
    assert ledger.states() == {"later": "pending", "again": "pending", "new": "cancelled"}


def test_what_comes_back_is_never_dropped_and_cancels_nothing(ledger: Ledger):
    send(ledger, "drop", "a", "b", "c")
    hold(ledger, "a", "b")
    ledger.do(finish.give_back, "w1", None, "it stops")
    assert ledger.states() == {"a": "pending", "b": "pending", "c": "cancelled"}
    ledger.do(operate.requeue, ["c"])  # a person has decided
    assert ledger.states() == {"a": "pending", "b": "pending", "c": "pending"}
    assert send(ledger, "drop", "d") == set()


@pytest.mark.parametrize("action", ["drop", "cancel"])
def test_a_call_that_waits_and_is_sent_again_is_left_alone(ledger: Ledger, action: str):
    assert send(ledger, action, "a", running=1) == {"a"}
    assert send(ledger, action, "a", running=1) == set()
    assert ledger.states() == {"a": "pending"}


def test_of_calls_that_are_sent_together_the_first_have_the_room(ledger: Ledger):
    sent = [call(task_id, "drop") for task_id in "abcd"] + [call("bob", "drop", key="pay:bob")]
    assert ledger.do(enqueue.add, sent) == {"a", "b", "bob"}
    assert ledger.do(enqueue.adopt, [call("e", "drop"), call("carl", "drop", key="pay:carl")]) == {"carl"}


def test_the_oldest_calls_that_wait_are_cancelled_for_a_new_one(ledger: Ledger):
    ended = Ended()
    send(ledger, "cancel", "a", "b")
    assert send(ledger, "cancel", "c", ended=ended) == {"c"}
    assert ledger.states() == {"a": "cancelled", "b": "pending", "c": "pending"}
    assert ledger.row("a")["reason"] == "cancelled in favour of c: the limit 'pay' allows 2 at once"
    assert ended.ids == ["a"]


def test_a_call_that_a_worker_holds_is_not_cancelled(ledger: Ledger):
    send(ledger, "cancel", "a", "b")
    hold(ledger, "a", "b")
    send(ledger, "cancel", "c")
    assert ledger.states() == {"a": "leased", "b": "leased", "c": "pending"}
    send(ledger, "cancel", "d")
    assert ledger.states() == {"a": "leased", "b": "leased", "c": "cancelled", "d": "pending"}


def test_of_calls_that_are_sent_together_the_last_stay(ledger: Ledger):
    send(ledger, "cancel", "a", "b")
    hold(ledger, "a")
    assert ledger.do(enqueue.add, [call(task_id, "cancel") for task_id in "cde"]) == {"e"}
    assert ledger.states() == {"a": "leased", "b": "cancelled", "c": "cancelled", "d": "cancelled", "e": "pending"}


def test_the_limit_in_the_ledger_counts_and_before_there_is_one_that_of_the_code(ledger: Ledger):
    assert send(ledger, "drop", "a", "b", running=1) == {"a"}
    ledger.do(limits.put, "pay", Bounds(2), "ana")
    assert send(ledger, "drop", "c", "d", running=1) == {"c"}
    ledger.do(limits.put, "pay", Bounds(None, 5, 60.0), "ana")
    assert send(ledger, "drop", "e", "f", running=1) == {"e", "f"}


@pytest.mark.parametrize("commits", [True, False])
def test_a_sender_waits_for_the_open_transaction_of_another(ledger: Ledger, commits: bool):
    began = threading.Event()

    def second() -> set[str]:
        with Ledger(ledger.source) as other:
            began.set()
            return send(other, "drop", "b", running=1)

    with ThreadPoolExecutor(1) as pool:
        try:
            with ledger.connection.transaction() as tx:
                enqueue.add(tx, [call("a", "drop", running=1)])
                waiting = pool.submit(second)
                began.wait()
                if not commits:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        assert waiting.result() == (set() if commits else {"b"})


SENDERS, CALLS, RUNNING = 4, 20, 3


def tried_again(ledger: Ledger, act: Callable[[], T]) -> T:
    """What *act* returns. It is repeated after a deadlock, as senders and workers do."""
    while True:
        try:
            return act()
        except ledger.source.disconnects as error:
            if verdict(error, ledger.source.disconnects) is not Verdict.PASSES:
                raise


@pytest.mark.parametrize("action", ["drop", "cancel"])
def test_many_senders_at_once_never_exceed_the_room(ledger: Ledger, action: str):
    """While workers take and finish calls: what waits beside those that are held never exceeds the room."""
    ledger.do(limits.put, "pay", Bounds(RUNNING), "test")
    done = threading.Event()

    def sends(number: int) -> list[str]:
        with Ledger(ledger.source) as own:
            ids = [f"s{number}-{n}" for n in range(CALLS)]
            return [id for new in ids for id in tried_again(own, partial(send, own, action, new))]

    def works(number: int) -> int:
        finished = 0
        with Ledger(ledger.source) as own:
            own.worker(f"w{number}")
            while not done.is_set():
                for one in tried_again(own, partial(own.do, takes, f"w{number}")):
                    finished += tried_again(own, partial(own.succeed, one.lease))
        return finished

    def takes(tx: Tx, worker_id: str) -> list[Taken]:
        rooms = limits.rooms(tx, limits.lock(tx, ["pay:ann"]), limits.read(tx), 2)
        rows = [("celery", key, room.tasks) for key, room in rooms.items() if room.tasks]
        return take.take_limited(tx, worker_id, rows) if rows else []

    def looks() -> int:
        most = 0
        with Ledger(ledger.source) as own:
            while not done.is_set():
                (row,) = own.query(
                    "SELECT sum(CASE WHEN state = 'pending' THEN 1 ELSE 0 END),"
                    " sum(CASE WHEN state IN ('leased', 'running') THEN 1 ELSE 0 END) FROM mirepoix_task"
                )
                waiting, held = (int(value or 0) for value in row)
                allowed = RUNNING if action == "drop" else max(RUNNING, held + 1)
                assert waiting + held <= allowed, (waiting, held)
                most = max(most, waiting + held)
        return most

    ledger.do(limits.add_keys, ["pay:ann"])
    with ThreadPoolExecutor(SENDERS + 3) as pool:
        working = [pool.submit(works, number) for number in range(2)]
        looking = pool.submit(looks)
        try:
            accepted = [one.result() for one in [pool.submit(sends, number) for number in range(SENDERS)]]
            until(lambda: not {"pending", "leased", "running"} & set(ledger.states().values()), "all calls have ended")
        finally:
            done.set()
        finished = sum(one.result() for one in working)
        assert looking.result() > 0
    states = list(ledger.states().values())
    assert len(states) == SENDERS * CALLS
    assert states.count("succeeded") == finished
    if action == "drop":  # what was accepted runs
        assert finished == sum(map(len, accepted))
    assert states.count("cancelled") == len(states) - finished


def test_no_sender_reads_the_whole_table(postgresql_url: str):
    """Even where PostgreSQL has no statistics yet, it uses the index that was made for the statement."""
    with Ledger(source_for(postgresql_url)) as ledger:
        ledger.send(*(f"l{n}" for n in range(3_000)), limit_key="pay:ann")
        ledger.send(*(f"o{n}" for n in range(3_000)))
        with ledger.connection.transaction() as tx:
            sql = statement("open_calls", "postgresql", "named")
            plan = tx.query(f"EXPLAIN {sql}", key="pay:ann", most=3)
        text = "\n".join(row[0] for row in plan)
        assert "mirepoix_task_calls" in text, text
        assert "Seq Scan" not in text


@pytest.mark.parametrize(
    ("name", "params", "index"),
    [
        ("open_calls", {"key": "pay:ann", "most": 3}, "mirepoix_task_calls"),
        ("ready_of_keys", {"keys": '["pay:ann"]', "queue": "celery", "cap": 3}, "mirepoix_task_limited"),
        (
            "ahead_of_key",
            {"key": "pay:ann", "queue": "celery", "priority": 0, "seq": 10**9, "cap": 3},
            "mirepoix_task_limited",
        ),
        (
            "headers_of_waiting",
            {"rows": '[{"queue": "celery", "limit_key": "pay:ann", "room": 3}]', "suspects": 1},
            "mirepoix_task_limited",
        ),
        ("has_limited", {"queues": '["celery"]'}, "mirepoix_task_limited"),
        ("has_returned", {"queues": '["celery"]', "suspects": 1}, "mirepoix_task_returned"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_statistics_of_finished_tasks_mislead_no_look(
    postgresql_url: str, name: str, params: dict[str, Any], index: str
):
    """Most rows have the key, and none is what the statement looks for. A scan for the first would read them all."""
    with Ledger(source_for(postgresql_url)) as ledger:
        ledger.send(*(f"l{n}" for n in range(3_000)), limit_key="pay:ann")
        ledger.write("UPDATE mirepoix_task SET state = 'succeeded', fence = 1, finished_at = now()")
        ledger.send(*(f"o{n}" for n in range(3_000)))
        ledger.write("ANALYZE mirepoix_task")
        with ledger.connection.transaction() as tx:
            plan = tx.query(f"EXPLAIN {statement(name, 'postgresql', 'named')}", **params)
        text = "\n".join(row[0] for row in plan)
        assert index in text, text
        assert "Seq Scan" not in text
