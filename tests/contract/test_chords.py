"""Chords: each member counts once, and whoever returns the last one, alone, gets the chord."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from driver import Ledger, envelope, rolled_back
from mirepoix.connect.source import OwnConnection, Source
from mirepoix.ledger import chords, operate, outgoing
from mirepoix.ledger.chords import Returned
from mirepoix.records import Chord, Part

BODY = {"task": "shop.body", "args": [], "kwargs": {}, "options": {"task_id": "body"}}


def part(task_id: str, group_id: str = "g", status: str = "SUCCESS", position: int | None = None, value="1") -> Part:
    return Part(group_id, task_id, position, status, value, origin=f"request of {task_id}")


def begin(ledger: Ledger, size: int, group_id: str = "g") -> None:
    ledger.do(chords.begin, Chord(group_id, size))


def returns(ledger: Ledger, *parts: Part) -> list[Returned]:
    return ledger.do(chords.return_parts, parts)


def chord_row(ledger: Ledger, group_id: str = "g") -> tuple[Any, ...]:
    ((*row,),) = ledger.query("SELECT size, done, state FROM mirepoix_chord WHERE group_id = :id", id=group_id)
    return tuple(row)


def parts_kept(ledger: Ledger) -> list[str]:
    return [id for (id,) in ledger.query("SELECT task_id FROM mirepoix_chord_part ORDER BY task_id")]


@pytest.fixture
def other(source: Source) -> OwnConnection:
    """A second connection."""
    connection = source.open()
    yield connection
    connection.close()


def test_the_last_part_gets_the_chord_with_all_of_them_in_the_order_of_the_header(ledger: Ledger):
    begin(ledger, 3)
    assert returns(ledger, part("b", position=1, value='"b"')) == []
    assert returns(ledger, part("c", position=2, value='"c"')) == []
    (complete,) = returns(ledger, part("a", position=0, value='"a"'))
    assert [one.result for one in complete.parts] == ['"a"', '"b"', '"c"']
    assert (complete.group_id, complete.origin, complete.failed_part) == ("g", "request of a", None)
    assert chord_row(ledger) == (3, 3, "waiting")


def test_all_parts_may_return_in_one_transaction(ledger: Ledger):
    begin(ledger, 2, "g")
    begin(ledger, 1, "h")
    begin(ledger, 3, "waits")
    complete = returns(ledger, part("x", "h"), part("b"), part("a"), part("y", "waits"))
    assert [one.group_id for one in complete] == ["g", "h"]


def test_members_without_a_place_come_last(ledger: Ledger):
    begin(ledger, 3)
    (complete,) = returns(ledger, part("no place"), part("second", position=1), part("first", position=0))
    assert [one.task_id for one in complete.parts] == ["first", "second", "no place"]


def test_a_member_counts_once_however_often_it_returns(ledger: Ledger):
    begin(ledger, 2)
    for _ in range(3):
        assert returns(ledger, part("a", value='"first"')) == []
    assert returns(ledger, part("a", status="FAILURE"), part("a", value='"again"')) == []
    assert chord_row(ledger) == (2, 1, "waiting")
    (complete,) = returns(ledger, part("b"))
    assert [one.result for one in complete.parts if one.task_id == "a"] == ['"first"']


def test_the_first_part_that_did_not_succeed_is_told(ledger: Ledger):
    begin(ledger, 3)
    parts = [part("c", status="REVOKED", position=2), part("a", position=0), part("b", status="FAILURE", position=1)]
    (complete,) = returns(ledger, *parts)
    assert complete.failed_part.task_id == "b"


def test_a_failure_waits_for_the_others(ledger: Ledger):
    begin(ledger, 2)
    assert returns(ledger, part("a", status="FAILURE")) == []
    assert len(returns(ledger, part("b"))) == 1


def test_a_chord_is_ended_once(ledger: Ledger):
    begin(ledger, 1)
    returns(ledger, part("a"))
    assert ledger.do(chords.end, "g", is_success=True)
    assert not ledger.do(chords.end, "g", is_success=False)
    assert not ledger.do(chords.end, "unknown", is_success=True)
    assert chord_row(ledger) == (1, 1, "fired")
    assert parts_kept(ledger) == []
    begin(ledger, 1, "h")
    assert ledger.do(chords.end, "h", is_success=False)
    assert chord_row(ledger, "h") == (1, 0, "failed")


def test_what_returns_after_the_end_counts_for_nothing(ledger: Ledger):
    begin(ledger, 1)
    returns(ledger, part("a"))
    ledger.do(chords.end, "g", is_success=True)
    assert returns(ledger, part("a"), part("b")) == []
    assert chord_row(ledger) == (1, 1, "fired")
    assert parts_kept(ledger) == []


def test_what_returns_to_an_unknown_chord_counts_for_nothing(ledger: Ledger):
    assert returns(ledger, part("a")) == []
    assert returns(ledger) == []
    assert parts_kept(ledger) == []


def test_a_rolled_back_part_has_not_returned(ledger: Ledger):
    begin(ledger, 2)
    returns(ledger, part("a"))
    with rolled_back(ledger.connection) as tx:
        assert len(chords.return_parts(tx, [part("b")])) == 1
        assert chords.end(tx, "g", is_success=True)
    assert chord_row(ledger) == (2, 1, "waiting")
    assert len(returns(ledger, part("b"))) == 1


def test_an_ended_chord_that_is_sent_again_is_counted_anew(ledger: Ledger):
    begin(ledger, 1)
    returns(ledger, part("a"))
    ledger.do(chords.end, "g", is_success=True)
    begin(ledger, 2)
    assert chord_row(ledger) == (2, 0, "waiting")
    assert returns(ledger, part("a")) == []
    assert len(returns(ledger, part("b"))) == 1


def test_a_chord_that_is_under_way_keeps_its_count_when_it_is_sent_again(ledger: Ledger):
    begin(ledger, 2)
    returns(ledger, part("a"))
    begin(ledger, 2)
    assert chord_row(ledger) == (2, 1, "waiting")
    assert len(returns(ledger, part("b"))) == 1


def test_a_chord_that_grows_waits_for_more(ledger: Ledger):
    begin(ledger, 1)
    ledger.do(chords.grow, "g")
    ledger.do(chords.grow, "g", 2)
    ledger.do(chords.grow, "unknown")
    assert returns(ledger, part("a"), part("b"), part("c")) == []
    assert len(returns(ledger, part("d"))) == 1


def test_an_ended_chord_does_not_grow(ledger: Ledger):
    begin(ledger, 1)
    ledger.do(chords.end, "g", is_success=True)
    ledger.do(chords.grow, "g")
    assert chord_row(ledger)[0] == 1


def test_a_chord_and_its_members_are_there_together_or_not_at_all(ledger: Ledger):
    sent = [envelope("a"), Chord("g", 2), envelope("b")]
    with rolled_back(ledger.connection) as tx:
        outgoing.add(tx, sent)
    assert (ledger.states(), ledger.query("SELECT * FROM mirepoix_chord")) == ({}, [])
    ledger.do(outgoing.add, sent)
    assert (set(ledger.states()), chord_row(ledger)) == ({"a", "b"}, (2, 0, "waiting"))


def test_pruning_forgets_only_chords_that_ended_long_ago(ledger: Ledger):
    for id in ("waits", "old", "new"):
        begin(ledger, 2, id)
    returns(ledger, part("a", "waits"))
    for id in ("old", "new"):
        ledger.do(chords.end, id, is_success=True)
    ledger.write("UPDATE mirepoix_chord SET created_at = '2001-01-01 00:00:00'")
    ledger.write("UPDATE mirepoix_chord SET ended_at = '2001-01-01 00:00:00' WHERE group_id = 'old'")
    ledger.do(chords.prune, 3_600.0)
    assert sorted(ledger.query("SELECT group_id FROM mirepoix_chord")) == [("new",), ("waits",)]
    assert parts_kept(ledger) == ["a"]


# ---- two transactions at once


def test_of_two_transactions_that_return_the_last_parts_one_gets_the_chord(ledger: Ledger, other: OwnConnection):
    for turn in range(20):
        group_id = f"g{turn}"
        begin(ledger, 2, group_id)
        barrier = threading.Barrier(2)

        def last(
            connection: OwnConnection, id: str, group_id: str = group_id, barrier: threading.Barrier = barrier
        ) -> int:
            barrier.wait()
            with connection.transaction() as tx:
                complete = chords.return_parts(tx, [part(id, group_id)])
                return sum(chords.end(tx, one.group_id, is_success=True) for one in complete)

        with ThreadPoolExecutor(2) as threads:
            ended = list(threads.map(last, [ledger.connection, other], ["a", "b"]))
        assert sorted(ended) == [0, 1]
        assert chord_row(ledger, group_id) == (2, 2, "fired")


def test_the_second_transaction_waits_for_the_first_and_sees_its_part(
    ledger: Ledger, other: OwnConnection, source: Source
):
    begin(ledger, 2)
    begun = threading.Event()

    def second() -> list[Returned]:
        begun.set()
        with other.transaction() as tx:
            return chords.return_parts(tx, [part("b")])

    with ThreadPoolExecutor(1) as thread:
        with ledger.connection.transaction() as tx:
            assert chords.return_parts(tx, [part("a")]) == []
            waiting = thread.submit(second)
            assert begun.wait(20)
            assert not waiting.done()
        (complete,) = waiting.result(20)
    assert [one.task_id for one in complete.parts] == ["a", "b"]


def test_a_last_part_that_is_rolled_back_leaves_the_chord_to_the_next(ledger: Ledger, other: OwnConnection):
    begin(ledger, 2)
    returns(ledger, part("a"))
    with ThreadPoolExecutor(1) as thread:
        with rolled_back(ledger.connection) as tx:
            assert len(chords.return_parts(tx, [part("b")])) == 1
            assert chords.end(tx, "g", is_success=True)
            waiting = thread.submit(_in_one, other, part("b"), part("c"))
        (complete,) = waiting.result(20)
    assert {one.task_id for one in complete.parts} == {"a", "b", "c"}


def test_chords_in_opposite_order_do_not_deadlock(ledger: Ledger, other: OwnConnection):
    for turn in range(20):
        groups = [f"{turn}-{n}" for n in range(6)]
        for group_id in groups:
            begin(ledger, 2, group_id)
        barrier = threading.Barrier(2)

        def last(
            connection: OwnConnection, id: str, in_order: list[str], barrier: threading.Barrier = barrier
        ) -> list[str]:
            barrier.wait()
            return [one.group_id for one in _in_one(connection, *(part(id, group_id) for group_id in in_order))]

        with ThreadPoolExecutor(2) as threads:
            first, second = threads.map(last, [ledger.connection, other], ["a", "b"], [groups, groups[::-1]])
        assert sorted(first + second) == sorted(groups)


def _in_one(connection: OwnConnection, *parts: Part) -> list[Returned]:
    with connection.transaction() as tx:
        return chords.return_parts(tx, parts)


# ---- members that ended without running


def body(**embed: Any) -> str:
    return json.dumps([[1], {"a": 2}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None, **embed}])


def members(ledger: Ledger, *task_ids: str) -> list[tuple[Part, str]]:
    return ledger.do(chords.members, task_ids, "REVOKED", '"why"')


def test_a_member_that_was_cancelled_returns_its_part(ledger: Ledger):
    headers = {"task": "shop.pay", "id": "t", "group": "g", "group_index": 3, "root_id": "r", "stamps": {}}
    ledger.send("t", body=body(chord=BODY), headers=headers, queue="slow")
    ledger.do(operate.cancel, ["t"])
    ((found, queue),) = members(ledger, "t", "unknown")
    assert found == Part("g", "t", 3, "REVOKED", '"why"')
    assert queue == "slow"
    assert (found.origin["chord"], found.origin["root_id"], found.origin["group"]) == (BODY, "r", "g")


def test_a_step_of_a_chain_returns_the_part_of_the_chains_last_step(ledger: Ledger):
    last = {"task": "shop.pay", "options": {"task_id": "last", "group_id": "g", "group_index": 1, "chord": BODY}}
    middle = {"task": "shop.pay", "options": {"task_id": "middle"}}
    ledger.send("first", body=body(chain=[last, middle]), headers={"task": "shop.pay", "id": "first"})
    ((found, _),) = members(ledger, "first")
    assert found == Part("g", "last", 1, "REVOKED", '"why"')
    assert found.origin["chord"] == BODY


def test_a_step_of_a_chain_that_ends_in_a_group_returns_all_its_parts(ledger: Ledger):
    def last(id: str, **more: Any) -> dict[str, Any]:
        return {"task": "x", "options": {"task_id": id, "group_id": "g", "chord": BODY}, "subtask_type": None, **more}

    chain = {"task": "celery.chain", "subtask_type": "chain", "kwargs": {"tasks": [{"task": "x"}, last("b")]}}
    inner = {"task": "celery.chord", "subtask_type": "chord", "kwargs": {"header": [last("no")], "body": last("c")}}
    both = {
        "task": "celery.group",
        "subtask_type": "group",
        "options": {"task_id": "no", "group_id": "g", "chord": BODY},
    }
    both["kwargs"] = {"tasks": [last("a"), chain, inner]}
    ledger.send("first", body=body(chain=[both, {"task": "x", "options": {"task_id": "y"}}]), headers={})
    assert [found.task_id for found, _ in members(ledger, "first")] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "text",
    [
        body(),
        body(chain=[{"task": "x", "options": {"task_id": "y"}}]),
        json.dumps([['"chord": {"'], {}, {"chord": None}]),
        '[[], {}, {"chord": {"task": "broken',
        '"chord": {"',
        '{"chord": {"a": 1}}',
        '[[], {}, null] "chord": {"',
    ],
)
def test_what_is_in_no_chord_returns_nothing(ledger: Ledger, text: str):
    ledger.send("t", body=text, headers={"task": "shop.pay", "id": "t", "group": "g"})
    assert members(ledger, "t") == []


def test_what_is_no_json_text_returns_nothing(ledger: Ledger):
    text = body(chord=BODY)
    ledger.send("a", body=text, content_type="application/x-yaml", headers={"group": "g"})
    ledger.send("b", body=text, body_encoding="base64", headers={"group": "g"})
    ledger.send("c", body=text, headers={})  # a chord without a group
    assert members(ledger, "a", "b", "c") == []
    assert members(ledger) == []


def test_a_queue_of_any_known_task_is_told_best_one_that_somebody_takes_from(ledger: Ledger):
    ledger.send("t", queue="slow")
    assert ledger.do(chords.queue_of, ["unknown", "t"]) == "slow"
    ledger.worker("w1")
    ledger.send("taken", queue="quick")
    ledger.send("u", queue="slow")
    ledger.take("w1", queues=["quick"])
    assert ledger.do(chords.queue_of, ["t", "taken", "u"]) == "quick"
    assert ledger.do(chords.queue_of, ["unknown"]) is None
