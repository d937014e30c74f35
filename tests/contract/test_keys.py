"""Keys: an INSERT that happens once decides which of several calls makes the task, on every database."""

from __future__ import annotations

import threading

import pytest

from driver import Ledger, envelope, rolled_back, until_somebody_waits_for_a_lock
from mirepoix.ledger import enqueue, keys, operate
from mirepoix.ledger.keys import Call, Due
from mirepoix.ledger.tx import Tx

PAY = Call("shop.pay", [7, "card"], {"amount": 5})


def submit(tx: Tx, key: str, task_id: str, call: Call = PAY) -> str:
    """Send the task unless the key is taken; the id of the task that has it."""
    claimed = keys.claim(tx, key, call, task_id)
    if claimed.task_id == task_id:
        enqueue.add(tx, [envelope(task_id, name=call.name)])
    return claimed.task_id


def has(ledger: Ledger) -> dict[str, str]:
    return dict(ledger.query("SELECT id, task_id FROM mirepoix_key"))


def test_the_first_call_has_the_key_for_good(ledger: Ledger):
    assert ledger.do(keys.find, "order-7") is None
    assert ledger.do(submit, "order-7", "a") == "a"
    assert ledger.do(submit, "order-7", "b") == "a"
    assert ledger.do(submit, "order-8", "c") == "c"
    claimed = ledger.do(keys.find, "order-7")
    assert (claimed.task_id, claimed.name, claimed.call_hash) == ("a", "shop.pay", PAY.hash_under("order-7"))
    assert ledger.states() == {"a": "pending", "c": "pending"}
    ledger.worker("w1")
    ledger.succeed(ledger.lease("w1"))
    assert ledger.do(submit, "order-7", "d") == "a"
    assert ledger.states() == {"a": "succeeded", "c": "pending"}


def test_a_rollback_frees_the_key(ledger: Ledger):
    with rolled_back(ledger.connection) as tx:
        assert submit(tx, "order-7", "a") == "a"
    assert has(ledger) == {}
    assert ledger.do(submit, "order-7", "b") == "b"


@pytest.mark.parametrize("commits", [True, False], ids=["commit", "rollback"])
def test_who_races_waits_for_the_others_end(ledger: Ledger, commits: bool):
    # It gets the other's task only if that was committed, and its own if not.
    got: list[str] = []
    with Ledger(ledger.source) as other, Ledger(ledger.source) as watcher:

        def race() -> None:
            got.append(other.do(submit, "order-7", "b"))

        thread = threading.Thread(target=race)
        if commits:
            with ledger.connection.transaction() as tx:
                submit(tx, "order-7", "a")
                _race(thread, watcher)
        else:
            with rolled_back(ledger.connection) as tx:
                submit(tx, "order-7", "a")
                _race(thread, watcher)
        thread.join()
    winner = "a" if commits else "b"
    assert got == [winner]
    assert has(ledger) == {"order-7": winner}
    assert ledger.states() == {winner: "pending"}


def _race(thread: threading.Thread, watcher: Ledger) -> None:
    thread.start()
    if watcher.source.dialect == "postgresql":
        until_somebody_waits_for_a_lock(watcher)
    thread.join(0.3)
    assert thread.is_alive()


@pytest.mark.parametrize("racers", [8])
def test_of_many_callers_one_sends(ledger: Ledger, racers: int):
    got: list[str] = []
    gate = threading.Barrier(racers)

    def race(number: int) -> None:
        with Ledger(ledger.source) as own:
            for turn in range(10):
                gate.wait()
                got.append(f"{turn} {own.do(submit, f'key {turn}', f'{turn}-{number}')}")

    threads = [threading.Thread(target=race, args=(number,)) for number in range(racers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == racers * 10
    assert len(set(got)) == 10
    assert len(ledger.states()) == 10
    assert set(has(ledger).values()) == set(ledger.states())


def test_a_key_lives_as_long_as_its_task_and_the_time_that_is_asked_for(ledger: Ledger):
    ledger.do(submit, "order-7", "a")
    ledger.do(submit, "waits", "b")
    ledger.worker("w1")
    ledger.succeed(ledger.lease("w1"))
    ledger.passes(1_000)
    assert ledger.do(keys.prune) == 0
    assert ledger.do(operate.prune, 500.0, keys_kept_s=100.0) == 1
    assert ledger.do(keys.prune) == 0
    assert ledger.do(submit, "order-7", "c") == "a"
    ledger.passes(99)
    assert ledger.do(keys.prune) == 0
    ledger.passes(2)
    assert ledger.do(keys.prune, 1) == 1
    assert has(ledger) == {"waits": "b"}
    assert ledger.do(submit, "order-7", "c") == "c"


def test_without_a_time_keys_stay_for_ever(ledger: Ledger):
    ledger.do(submit, "order-7", "a")
    ledger.worker("w1")
    ledger.succeed(ledger.lease("w1"))
    ledger.passes(1_000)
    assert ledger.do(operate.prune, 500.0, keys_kept_s=None) == 1
    ledger.passes(1_000_000)
    assert ledger.do(keys.prune) == 0
    assert has(ledger) == {"order-7": "a"}


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (Call("shop.refund", [7, "card"], {"amount": 5}), ["the task was shop.pay"]),
        (Call("shop.pay", [7, "card"], {"amount": "5"}), ["keyword 'amount' was number, is text"]),
        (Call("shop.pay", [7], {"amount": 5, "to": None}), ["keyword 'to' was not there", "argument 2 is missing"]),
        (
            Call("shop.pay", [8, "card"], {"amount": 6}),
            ["argument 1 has another value", "keyword 'amount' has another value"],
        ),
    ],
    ids=["task", "kind", "places", "values"],
)
def test_the_difference_of_two_calls_is_told_without_their_values(ledger: Ledger, call: Call, told: list[str]):
    def both(tx: Tx) -> list[str]:
        claimed = keys.claim(tx, "order-7", PAY, "a")
        enqueue.add(
            tx,
            [envelope("a", name="shop.pay", body='[[7, "card"], {"amount": 5}, {}]', content_type="application/json")],
        )
        assert claimed.call_hash != call.hash_under("order-7")
        return keys.differences(tx, claimed, call)

    assert ledger.do(both) == told


def test_the_difference_is_told_after_the_task_was_pruned(ledger: Ledger):
    claimed = ledger.do(keys.claim, "order-7", PAY, "a")
    other = Call("shop.pay", [8, "card"], {"amount": 5})
    assert ledger.do(keys.differences, claimed, other) == ["an argument has another value"]


def test_a_hash_is_of_the_call_and_the_key():
    assert PAY.hash_under("k") == Call("shop.pay", [7, "card"], {"amount": 5}).hash_under("k")
    several = Call("t", [], {"a": {"x": 1, "y": 2}, "b": 1})
    assert several.hash_under("k") == Call("t", [], {"b": 1, "a": {"y": 2, "x": 1}}).hash_under("k")
    others = [
        ("k", Call("shop.pay", [7, "card"], {"amount": 5.5})),
        ("l", PAY),
        ("k", Call("shop.pay", ["7", "card"], {})),
    ]
    assert len({PAY.hash_under("k"), *(call.hash_under(key) for key, call in others)}) == 4


@pytest.mark.parametrize("key", ["ü🧅", "A", "a", "a b", "%(x)s :key", "'", "k" * 255])
def test_any_printable_key_is_its_own(ledger: Ledger, key: str):
    ledger.do(submit, "other", "o")
    assert ledger.do(submit, key, "a") == "a"
    assert ledger.do(submit, key, "b") == "a"
    assert has(ledger) == {"other": "o", key: "a"}


def test_who_asked_last_is_told_of_the_end_once(ledger: Ledger):
    ledger.do(submit, "order-7", "a")
    ledger.do(submit, "order-8", "b")
    ledger.do(keys.ask_callback, "order-7", "temporal:x", "one")
    ledger.do(keys.ask_callback, "order-7", "temporal:x", "two")
    ledger.do(keys.ask_callback, "order-8", "temporal:y", "three")
    assert ledger.do(keys.due_callbacks, "temporal:x") == []
    ledger.worker("w1")
    for _ in range(2):
        ledger.succeed(ledger.lease("w1"))
    assert ledger.do(keys.due_callbacks, "temporal:x") == [Due("order-7", "a", "two")]
    assert not ledger.do(keys.drop_callback, Due("order-7", "a", "one"))
    assert ledger.do(keys.drop_callback, Due("order-7", "a", "two"))
    assert ledger.do(keys.due_callbacks, "temporal:x") == []
    assert ledger.do(keys.due_callbacks, "temporal:y") == [Due("order-8", "b", "three")]
