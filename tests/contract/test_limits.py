"""Limits: never more than so many of a key at once or in a period, fair turns, and nothing that waits for ever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, strategies

from driver import Ledger
from mirepoix.config import Settings
from mirepoix.connect.source import Source
from mirepoix.connect.url import source_for
from mirepoix.daemons import limited
from mirepoix.daemons.held import HeldLeases
from mirepoix.daemons.leases import Leases
from mirepoix.daemons.limited import LOOK_S, Limited, equal_parts
from mirepoix.ledger import limits, operate, take
from mirepoix.ledger.holds import Kind
from mirepoix.ledger.limits import Bounds, rate_room, with_starts
from mirepoix.operations import steering
from mirepoix.records import Taken, Worker
from mirepoix.sql import statement
from pace import until


class LimitedWorker:
    """A worker that takes as the delivery does, on a connection of its own."""

    def __init__(self, ledger: Ledger, worker_id: str = "w1", queues: Sequence[str] = ("celery",)) -> None:
        self.ledger, self.id, self.queues = ledger, ledger.worker(worker_id), queues
        self.held = HeldLeases()
        self.limited = Limited(self.held, has_notifications=True)
        self.limited.is_in_use = True

    def take(self, batch: int = 100) -> list[Taken]:
        self.limited.meet(self.ledger.connection, self.queues)
        with self.ledger.connection.transaction() as tx:
            taken = self.limited.take(tx, self.id, self.queues, batch, take.take, may_be_suspect=True)
        self.held.add(taken)
        return taken

    def take_keys(self, batch: int = 100) -> Counter[str | None]:
        return Counter(task.limit_key for task in self.take(batch))

    def take_ids(self, batch: int = 100) -> list[str]:
        return sorted(task.lease.task_id for task in self.take(batch))

    def finish(self, taken: Taken) -> None:
        assert self.ledger.succeed(taken.lease)
        self.held.forget(taken.lease.key)


@pytest.fixture
def worker(ledger: Ledger) -> LimitedWorker:
    return LimitedWorker(ledger)


def limit(ledger: Ledger, name: str, running: int | None = None, rate: int | None = None, period_s: float = 60) -> None:
    ledger.do(limits.put, name, Bounds(running, rate, period_s if rate else None), "test")


def test_no_more_are_held_than_the_limit_says(ledger: Ledger, worker: LimitedWorker):
    limit(ledger, "pay", running=2)
    ledger.send(*"abcde", limit_key="pay")
    first = worker.take()
    assert [task.lease.task_id for task in first] == ["a", "b"]
    assert worker.take() == []
    worker.finish(first[0])
    assert worker.take_ids() == ["c"]


def test_each_key_has_its_own_slots(ledger: Ledger, worker: LimitedWorker):
    limit(ledger, "pay", running=2)
    for customer in ("ana", "bob"):
        ledger.send(*(f"{customer}{n}" for n in range(4)), limit_key=f"pay:{customer}")
    assert worker.take_keys() == {"pay:ana": 2, "pay:bob": 2}


@pytest.fixture
def leases(source: Source) -> Iterator[Leases]:
    """The leases of a worker that looks for tasks with limits."""
    leases = Leases(source, Settings(), Worker("", "w1@host", "host", 1, queues=("celery",)))
    leases.incarnation.register()
    leases.limited.look_now()
    yield leases
    leases.incarnation.close(is_over=True)


def test_a_paused_key_has_no_room_and_the_others_go_on(ledger: Ledger, leases: Leases):
    limit(ledger, "pay", running=2)

    def taken() -> Counter[str | None]:
        ledger.do(leases.read_paused)
        return Counter(task.limit_key for task in leases.record_and_take(ledger.connection, ("celery",), 10))

    ledger.send("a", "b", "c", limit_key="pay:ann")
    ledger.send("d", limit_key="pay:bob")
    ledger.send("e", limit_key="mail")
    assert steering.pause(ledger.connection, Kind.LIMIT, "pay:ann", "ana", "it complains")
    assert taken() == {"pay:bob": 1, "mail": 1}
    assert taken() == {}
    assert steering.resume(ledger.connection, Kind.LIMIT, "pay:ann", "ana", "") == (True, 0)
    assert taken() == {"pay:ann": 2}


def test_a_paused_limit_pauses_each_of_its_keys_and_what_has_not_begun_goes_back(ledger: Ledger, leases: Leases):
    ledger.send("a", limit_key="pay")
    ledger.send("b", limit_key="pay:bob")
    ledger.send("c", limit_key="pay2:bob")
    taken = leases.record_and_take(ledger.connection, ("celery",), 10)
    assert len(taken) == 3
    (first,) = (task.lease for task in taken if task.lease.task_id == "a")
    leases.held.note_begun(first.key, 1)
    steering.pause(ledger.connection, Kind.LIMIT, "pay", "ana", "")
    with ledger.connection.transaction() as tx:
        assert steering.busy(tx, Kind.LIMIT, "pay") == (0, 2)
        assert steering.busy(tx, Kind.LIMIT, "pay:bob") == (0, 1)
        leases.read_paused(tx)
    until(lambda: [lease.task_id for lease in leases.held.pop_abandoned()] == ["b"], "what has not begun goes back")


def test_the_priority_and_the_age_decide_within_a_key(ledger: Ledger, worker: LimitedWorker):
    limit(ledger, "pay", running=1)
    ledger.send("old", "new", limit_key="pay")
    ledger.send("urgent", limit_key="pay", priority=9)
    order = []
    for _ in range(3):
        (taken,) = worker.take()
        order.append(taken.lease.task_id)
        worker.finish(taken)
    assert order == ["urgent", "old", "new"]


def test_a_task_that_waits_at_its_limit_lets_others_pass(ledger: Ledger, worker: LimitedWorker):
    limit(ledger, "pay", running=1)
    ledger.send(*(f"l{n}" for n in range(50)), limit_key="pay", priority=9)
    ledger.send("other", "another")
    assert worker.take_ids() == ["another", "l0", "other"]


@pytest.mark.parametrize("batch", [1, 10])
def test_tasks_with_and_without_a_limit_share_the_batch(ledger: Ledger, worker: LimitedWorker, batch: int):
    limit(ledger, "pay", running=1_000)
    ledger.send(*(f"l{n}" for n in range(30)), limit_key="pay")
    ledger.send(*(f"o{n}" for n in range(30)))
    counts = Counter(key for _ in range(20 // batch) for key in worker.take_keys(batch).elements())
    assert counts == {"pay": 10, None: 10}


def test_what_waits_alone_gets_the_whole_batch(ledger: Ledger, worker: LimitedWorker, monkeypatch: pytest.MonkeyPatch):
    limit(ledger, "pay", running=1_000)
    ledger.send(*(f"l{n}" for n in range(30)), limit_key="pay")
    assert worker.take_keys(10) == {"pay": 10}
    monkeypatch.setattr(limited, "OTHERS_S", 60.0)
    assert worker.take_keys(10) == {"pay": 10}
    monkeypatch.setattr(limited, "OTHERS_S", 0.0)
    assert worker.take_keys(10) == {"pay": 9}  # one place was kept for tasks without a limit


@pytest.mark.parametrize("batch", [1, 2, 10])
def test_a_backlog_with_a_limit_does_not_block_what_is_sent_later_without_one(
    ledger: Ledger, worker: LimitedWorker, batch: int, monkeypatch: pytest.MonkeyPatch
):
    ledger.send(*(f"limited{n}" for n in range(9 * batch)), limit_key="pay")
    limit(ledger, "pay", running=1000)
    worker.take(batch)
    worker.take(batch)
    ledger.send("other")
    monkeypatch.setattr(limited, "OTHERS_S", 0.0)  # it looked for others just now
    assert "other" in worker.take_ids(batch) + worker.take_ids(batch)


def test_the_keys_take_turns_and_one_backlog_blocks_nobody(ledger: Ledger, worker: LimitedWorker):
    limit(ledger, "pay", running=100)
    ledger.send(*(f"a{n}" for n in range(300)), limit_key="pay:a")
    for key in "bcdefghij":
        ledger.send(*(f"{key}{n}" for n in range(20)), limit_key=f"pay:{key}")
    counts: Counter[str | None] = Counter()
    for _ in range(10):
        taken = worker.take(10)
        counts += Counter(task.limit_key for task in taken)
        for task in taken:
            worker.finish(task)
    assert len(counts) == 10
    assert max(counts.values()) - min(counts.values()) <= 1


def test_suspects_of_several_keys_take_no_room_from_other_tasks(ledger: Ledger, worker: LimitedWorker):
    limit(ledger, "pay", running=100)
    for key in "abcde":
        ledger.send(*(f"{key}{n}" for n in range(13)), limit_key=f"pay:{key}")
    suspects = [f"{key}{n}" for key in "abcde" for n in range(3)]
    ledger.write(f"UPDATE mirepoix_task SET is_suspect = 1 WHERE id IN ({', '.join(map(repr, suspects))})")
    taken = worker.take(20)
    assert [task.lease.task_id for task in taken if task.is_suspect] == ["a0"]
    assert Counter(task.limit_key for task in taken) == {f"pay:{key}": 4 for key in "abcde"}


def test_workers_that_have_just_started_do_not_all_favour_the_first_keys(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    """A fleet in which workers restart often is as fair to the last keys."""
    limit(ledger, "pay", running=1)
    for n in range(60):
        ledger.send(f"t{n:02}", limit_key=f"pay:{n:02}")
    monkeypatch.setattr(limited.random, "choice", lambda keys: keys[45])
    assert LimitedWorker(ledger, "new").take_ids(4)[0] == "t46"


def test_keys_take_turns_one_task_at_a_time(ledger: Ledger, worker: LimitedWorker):
    limit(ledger, "pay", running=5)
    for key in "abc":
        ledger.send(*(f"{key}{n}" for n in range(4)), limit_key=f"pay:{key}")
    keys = []
    for _ in range(9):
        (task,) = worker.take(1)
        keys.append(task.limit_key)
        worker.finish(task)
    assert Counter(keys) == {"pay:a": 3, "pay:b": 3, "pay:c": 3}


def test_a_worker_finds_the_one_key_with_room_behind_hundreds_that_are_full(ledger: Ledger, worker: LimitedWorker):
    limit(ledger, "pay", running=1)
    for n in range(200):
        ledger.send(f"first{n:03}", f"second{n:03}", limit_key=f"pay:{n:03}")
    busy = LimitedWorker(ledger, "busy")
    taken = [task for _ in range(15) for task in busy.take(100)]
    assert len(taken) == 200
    busy.finish(taken[150])
    found: list[str] = []
    rounds = 0
    while not found:
        found, rounds = worker.take_ids(1), rounds + 1
    assert found == [taken[150].lease.task_id.replace("first", "second")]
    assert rounds <= 14  # 16 or 32 keys at once
    looks = 0
    while (worker.limited.look_in_s or 0) < LOOK_S / 2 and looks < 50:  # it goes round once, and does not spin
        worker.take(1)
        looks += 1
    assert looks < 50


def test_two_workers_never_fill_the_same_slots(ledger: Ledger, source: Source, worker: LimitedWorker):
    limit(ledger, "pay", running=3)
    ledger.send(*(f"t{n}" for n in range(10)), limit_key="pay")
    if source.dialect == "sqlite":
        pytest.skip("one transaction at a time")
    with Ledger(source) as second:
        other = LimitedWorker(second, "w2")
        worker.limited.meet(ledger.connection, ["celery"])
        other.limited.meet(second.connection, ["celery"])
        with ledger.connection.transaction() as tx:
            first = worker.limited.take(tx, "w1", ["celery"], 2, take.take, may_be_suspect=True)
            with second.connection.transaction() as other_tx:  # the key is locked, and it does not wait
                assert other.limited.take(other_tx, "w2", ["celery"], 9, take.take, may_be_suspect=True) == []
        assert len(first) == 2
        assert other.limited.look_in_s is not None
        assert other.limited.look_in_s < LOOK_S / 2  # it looks again soon, because the key may have had more room
        assert len(other.take()) == 1


def test_a_dead_workers_slot_is_free_when_its_tasks_are_taken_back(ledger: Ledger, worker: LimitedWorker):
    limit(ledger, "pay", running=1)
    ledger.send("t", "u", limit_key="pay")
    dying = LimitedWorker(ledger, "dying")
    assert dying.take_ids() == ["t"]
    assert worker.take() == []
    ledger.die("dying")
    ledger.reap()
    assert worker.take_ids() == ["t"]


def test_a_retry_that_waits_holds_no_slot(ledger: Ledger, worker: LimitedWorker):
    limit(ledger, "pay", running=1)
    ledger.send("t", "u", limit_key="pay")
    (taken,) = worker.take()
    assert ledger.retry(taken.lease, limit_key="pay", eta="2999-01-01T00:00:00+00:00")
    assert worker.take_ids() == ["u"]


def test_what_goes_back_to_waiting_keeps_its_key(ledger: Ledger, worker: LimitedWorker):
    limit(ledger, "pay", running=1)
    ledger.send("t", limit_key="pay")
    (taken,) = worker.take()
    ledger.give_back("w1", [taken.lease])
    (taken,) = worker.take()
    ledger.fail(taken.lease)
    ledger.requeue("t")
    (taken,) = worker.take()
    ledger.lose(taken.lease)
    assert worker.take_keys() == {"pay": 1}


def test_no_other_way_of_taking_sees_tasks_with_a_limit(ledger: Ledger, worker: LimitedWorker):
    limit(ledger, "pay", running=1)
    ledger.send("t", "u", limit_key="pay")
    (taken,) = worker.take()
    ledger.give_back("w1", [taken.lease])
    assert ledger.take("w1") == []
    assert ledger.do(take.take_returned, "w1", ["celery"], 10) == []
    assert ledger.do(take.has_returned, ["celery"]) is False
    assert ledger.do(take.take_by_id, "w1", ["t", "u"]) == []
    assert ledger.do(take.readiness, ["t", "u"]) == {"t": False, "u": False}
    assert ledger.do(limits.has_waiting, ["celery"]) is True


def test_resumed_tasks_go_through_their_limit(ledger: Ledger, worker: LimitedWorker):
    limit(ledger, "pay", running=2)
    ledger.send("running", limit_key="pay")
    worker.take()
    ledger.do(limits.add_keys, ["pay"])
    keys = {"a": "pay", "b": "pay"}
    assert ledger.do(limits.admit, ["a", "free", "b"], keys) == ["a", "free"]
    ledger.send("other", limit_key="pay:1")
    assert ledger.do(limits.keys_of, ["other", "nothing"]) == {"other": "pay:1"}


def test_a_task_whose_limit_is_unknown_has_none(ledger: Ledger, worker: LimitedWorker):
    ledger.send(*"abc", limit_key="gone:1")
    assert worker.take_ids() == ["a", "b", "c"]


def test_a_change_of_the_limit_is_in_force_at_once_or_a_second_later(ledger: Ledger, worker: LimitedWorker):
    limit(ledger, "pay", running=1)
    ledger.send(*"abcd", limit_key="pay")
    assert worker.take_ids() == ["a"]
    limit(ledger, "pay", running=3)
    worker.limited._read_at = None
    assert worker.take_ids() == ["b", "c"]


def test_no_more_are_taken_in_a_period_than_the_rate_says(ledger: Ledger, worker: LimitedWorker):
    limit(ledger, "pay", rate=3, period_s=60)
    ledger.send(*(f"t{n}" for n in range(9)), limit_key="pay")
    taken = worker.take(2) + worker.take(5)
    assert len(taken) == 3
    for task in taken:
        worker.finish(task)
    assert worker.take() == []
    ((starts,),) = ledger.query("SELECT starts FROM mirepoix_limit_key WHERE id = 'pay'")
    now = ledger.do(limits.now_s)
    assert 59 < rate_room(starts, 3, 60, now).next_in_s <= 60.1


def test_the_rate_of_a_key_counts_attempts_that_were_lost(ledger: Ledger, worker: LimitedWorker):
    limit(ledger, "pay", rate=2, period_s=60)
    ledger.send("t", limit_key="pay")
    for _ in range(2):
        (taken,) = worker.take()
        ledger.lose(taken.lease)
    assert worker.take() == []


def test_a_task_that_is_held_because_its_name_is_paused_uses_up_no_start(ledger: Ledger, leases: Leases):
    limit(ledger, "pay", rate=1, period_s=60)
    ledger.send("held", limit_key="pay", name="shop.pay")
    ledger.send("other", limit_key="pay", name="shop.mail")
    assert steering.pause(ledger.connection, Kind.TASK, "shop.pay", "ana", "")
    taken = [
        task.lease.task_id for _ in range(3) for task in leases.record_and_take(ledger.connection, ("celery",), 10)
    ]
    assert taken == ["other"]


def test_a_worker_looks_when_the_rate_allows_the_next(ledger: Ledger, worker: LimitedWorker):
    limit(ledger, "pay", rate=1, period_s=0.5)
    ledger.send("t", "u", limit_key="pay")
    worker.take(1)
    assert worker.take(1) == []
    assert worker.limited.look_in_s is not None
    assert worker.limited.look_in_s <= 0.51


def test_unused_keys_are_pruned_and_come_back(ledger: Ledger, worker: LimitedWorker):
    limit(ledger, "pay", running=1)
    ledger.send("t", "u", limit_key="pay")
    (taken,) = worker.take()
    ledger.write("DELETE FROM mirepoix_limit_key")
    assert ledger.do(limits.prune) == 0
    worker.finish(taken)
    taken_again = worker.take() or worker.take()
    assert [task.lease.task_id for task in taken_again] == ["u"]


def test_an_expired_task_is_not_taken(ledger: Ledger, worker: LimitedWorker):
    limit(ledger, "pay", running=5)
    ledger.send("late", limit_key="pay", expires="2001-01-01T00:00:00+00:00")
    ledger.send("t", limit_key="pay")
    assert worker.take_ids() == ["t"]


def test_the_values_of_a_person_stay_in_force_until_they_are_reset(ledger: Ledger):
    own = {"pay": Bounds(2), "mail": Bounds(None, 5, 1.0)}
    assert ledger.do(limits.record, own, "worker") == ["mail", "pay"]
    assert ledger.do(limits.record, own, "worker") == []
    ledger.do(limits.put, "pay", Bounds(9), "ana")
    assert ledger.do(limits.record, {"pay": Bounds(3)}, "worker") == ["pay"]
    found = ledger.do(limits.read)["pay"]
    assert (found.bounds, found.code, found.source, found.changed_by) == (Bounds(9), Bounds(3), "operator", "ana")
    assert ledger.do(limits.reset, found, "ana") is True
    assert ledger.do(limits.read)["pay"].bounds == Bounds(3)
    ledger.do(limits.put, "other", Bounds(1), "ana")
    assert ledger.do(limits.reset, ledger.do(limits.read)["other"], "ana") is False
    assert set(ledger.do(limits.read)) == {"pay", "mail"}


def test_a_purge_of_the_queue_ends_waiting_tasks_with_limits_too(ledger: Ledger):
    ledger.send("t", limit_key="pay")
    assert ledger.do(operate.purge, "celery") == ["t"]


def test_a_sliding_window_never_has_more_than_the_rate():
    starts, now, taken = None, 1_000.0, []
    for step in range(2_000):
        now += 0.01 + (step % 7) * 0.003
        room = rate_room(starts, 10, 1.0, now).tasks
        if room and step % 3:
            part = min(room, 1 + step % 4)
            starts = with_starts(starts, part, 1.0, now)
            taken += [now] * part
    assert len(starts or "") < 3_000
    assert all(later - first >= 1.0 for first, later in zip(taken, taken[10:], strict=False))
    assert len(taken) > 0.9 * 10 * (now - 1_000)


@given(
    rate=strategies.integers(1, 20),
    period_s=strategies.floats(0.1, 100.0),
    steps=strategies.lists(strategies.tuples(strategies.floats(0.0, 2.0), strategies.integers(1, 30)), max_size=60),
)
def test_a_window_never_takes_what_a_token_bucket_with_its_numbers_refuses(
    rate: int, period_s: float, steps: list[tuple[float, int]]
):
    starts, now, tokens = None, 1_000.0, float(rate)
    for waited, wanted in steps:
        passed_s = waited * period_s
        now, tokens = now + passed_s, min(rate, tokens + passed_s * rate / period_s)
        part = min(wanted, rate_room(starts, rate, period_s, now).tasks)
        if part:
            starts = with_starts(starts, part, period_s, now)
            tokens -= part
            assert tokens > -1e-6


def test_a_clock_that_is_set_back_makes_nobody_wait_longer_than_a_period():
    starts = with_starts(None, 10, 60.0, 10_000.0)
    room = rate_room(starts, 10, 60.0, 5_000.0)
    assert room.tasks == 0
    assert room.next_in_s == 60.0


def test_recording_outcomes_alone_does_not_cancel_the_next_look(ledger: Ledger, source: Source):
    leases = Leases(source, Settings(), Worker("w1", "w1", "host", 1))
    leases.limited.look_now()
    leases.record_and_take(ledger.connection, (), 0)
    assert leases.limited.is_due


def test_no_statement_reads_the_backlog_of_a_key_or_of_a_queue(postgresql_url: str):
    """Even where PostgreSQL has no statistics yet, it uses the index that was made for the statement."""
    with Ledger(source_for(postgresql_url)) as ledger:
        ledger.send(*(f"l{n}" for n in range(3_000)), limit_key="pay:ann")
        ledger.send(*(f"o{n}" for n in range(3_000)))
        params = {
            "queue": "celery", "queues": '["celery"]', "after": "", "most": 9, "worker_id": "w1", "batch": 10,
            "suspects": 1, "key": "pay:ann", "priority": 0, "seq": 5, "cap": 100, "keys": '["pay:ann"]',
            "rows": '[{"queue": "celery", "limit_key": "pay:ann", "room": 3}]',
        }  # fmt: skip
        for name, index in (
            ("take", "mirepoix_task_open"),
            ("take_limited", "mirepoix_task_limited"),
            ("limited_keys", "mirepoix_task_limited"),
            ("has_limited", "mirepoix_task_limited"),
            ("ahead_of_key", "mirepoix_task_limited"),
            ("held_of_keys", "mirepoix_task_slots"),
        ):
            with ledger.connection.transaction() as tx:
                plan = tx.query(f"EXPLAIN {statement(name, 'postgresql', 'named')}", **params)
            text = "\n".join(row[0] for row in plan)
            assert index in text, text
            assert "mirepoix_task_ready" not in text
            assert "Seq Scan on mirepoix_task" not in text


def test_the_look_for_tasks_with_limits_does_not_read_those_that_are_done(postgresql_url: str):
    """Each worker does this each second. PostgreSQL takes the condition of the index for one that half of them meet."""
    with Ledger(source_for(postgresql_url)) as ledger:
        ledger.send(*(f"l{n}" for n in range(3_000)), limit_key="pay:ann")
        with ledger.connection.transaction() as tx:
            tx.script("UPDATE mirepoix_task SET state = 'succeeded', finished_at = now()")
        with ledger.connection.statements() as tx:
            tx.script("VACUUM ANALYZE mirepoix_task")
            plan = tx.query(f"EXPLAIN {statement('has_limited', 'postgresql', 'named')}", queues='["celery"]')
        text = "\n".join(row[0] for row in plan)
        assert "mirepoix_task_limited" in text, text
        assert "Seq Scan on mirepoix_task" not in text


@pytest.mark.parametrize(
    ("rooms", "wanted", "parts"),
    [
        ({"a": 9, "b": 9}, 4, {"a": 2, "b": 2}),
        ({"a": 1, "b": 9}, 6, {"a": 1, "b": 5}),
        ({"a": 9, "b": 9, "c": 9}, 2, {"a": 1, "b": 1}),
        ({"a": 0, "b": 2}, 9, {"b": 2}),
        ({}, 9, {}),
    ],
)
def test_keys_get_equal_parts(rooms: dict[str, int], wanted: int, parts: dict[str, int]):
    assert equal_parts(rooms, wanted) == parts
