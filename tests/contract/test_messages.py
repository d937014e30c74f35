"""Remote control, its replies and events: messages that are no tasks."""

from __future__ import annotations

from driver import Ledger, rolled_back
from mirepoix.ledger import messages

ODD = "it's 100% :name %(x)s {now} 🧅 \\u0000 \n"


def test_messages_of_a_queue_come_once_and_in_order(ledger: Ledger):
    for text in ("1", "2", ODD):
        ledger.do(messages.put, text, queue="q")
    ledger.do(messages.put, "other", queue="r")
    assert ledger.do(messages.take, "q") == ["1", "2", ODD]
    assert ledger.do(messages.take, "q") == []
    assert ledger.do(messages.take, "r") == ["other"]


def test_more_than_nine_messages_keep_their_order(ledger: Ledger):
    texts = [str(n) for n in range(25)]
    for text in texts:
        ledger.do(messages.put, text, queue="q")
    assert ledger.do(messages.take, "q") == texts


def test_a_broadcast_is_read_by_everyone_from_where_each_stands(ledger: Ledger):
    ledger.do(messages.put, "before", exchange="x")
    start = ledger.do(messages.position, "x")
    ledger.do(messages.put, "a", exchange="x")
    ledger.do(messages.put, "elsewhere", exchange="y")
    ledger.do(messages.put, "b", exchange="x")
    seen = ledger.do(messages.broadcasts, "x", start)
    assert [text for _, text in seen] == ["a", "b"]
    assert [text for _, text in ledger.do(messages.broadcasts, "x", start)] == ["a", "b"]
    assert ledger.do(messages.broadcasts, "x", seen[-1][0]) == []
    assert ledger.do(messages.position, "x") == seen[-1][0]
    assert ledger.do(messages.position, "nothing yet") == 0


def test_broadcasts_are_nobodys_queue(ledger: Ledger):
    ledger.do(messages.put, "all", exchange="x")
    assert ledger.do(messages.take, "") == []
    ledger.do(messages.unbind, "")
    assert len(ledger.do(messages.broadcasts, "x", 0)) == 1


def test_bindings_are_a_set(ledger: Ledger):
    for _ in range(2):
        ledger.do(messages.bind, "x", "k", "p", "q")
    ledger.do(messages.bind, "x", "k", "p", "r")
    ledger.do(messages.bind, "y", "k", "p", "q")
    assert sorted(ledger.do(messages.bindings, "x")) == [("k", "p", "q"), ("k", "p", "r")]
    ledger.do(messages.put, "m", queue="q")
    ledger.do(messages.unbind, "q")
    assert ledger.do(messages.bindings, "x") == [("k", "p", "r")]
    assert ledger.do(messages.bindings, "y") == []
    assert ledger.do(messages.take, "q") == []


def test_old_messages_and_the_queues_of_vanished_clients_are_forgotten(ledger: Ledger):
    ledger.do(messages.put, "old", queue="q")
    for exchange in ("celeryev", "reply.celery.pidbox", "celery", "replying"):
        ledger.do(messages.bind, exchange, "", "", "q")
    ledger.passes(120)
    ledger.do(messages.put, "new", queue="q")
    ledger.do(messages.bind, "celeryev", "", "", "fresh")
    ledger.do(messages.forget_old, 60, 100.0)
    assert ledger.do(messages.take, "q") == ["new"]
    assert ledger.do(messages.bindings, "celeryev") == [("", "", "fresh")]
    assert ledger.do(messages.bindings, "reply.celery.pidbox") == []
    assert len(ledger.do(messages.bindings, "celery")) == len(ledger.do(messages.bindings, "replying")) == 1


def test_a_binding_that_is_made_again_is_young_again(ledger: Ledger):
    ledger.do(messages.bind, "celeryev", "", "", "q")
    ledger.passes(120)
    ledger.do(messages.bind, "celeryev", "", "", "q")
    ledger.do(messages.forget_old, 60.0, 60.0)
    assert ledger.do(messages.bindings, "celeryev") == [("", "", "q")]


def test_a_rolled_back_message_is_not_sent(ledger: Ledger):
    with rolled_back(ledger.connection) as tx:
        messages.put(tx, "m", queue="q")
    assert ledger.do(messages.take, "q") == []
