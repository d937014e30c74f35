"""Unique tasks: one that counts for each key, in the caller's transaction and in none, while several send."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import callers
import pytest
from callers import Caller
from celery import chain, chord, group
from sqlalchemy.ext import asyncio as sa_asyncio

import mirepoix
from driver import Ledger, until_somebody_waits_for_a_lock
from mirepoix import Unique
from mirepoix.errors import ConfigurationError, InvalidOption, NotUnique


@pytest.fixture
def app(ledger_url: str) -> Iterator[Any]:
    app = callers.app_with(ledger_url)
    yield app
    app.mirepoix.source.close()


def task_of(app: Any, unique: Any, name: str = "shop.sync") -> Any:
    @app.task(name=name, shared=False, unique=unique)
    def sync(customer: int, what: str = "all", **more: Any) -> None: ...

    app.finalize()
    return app.tasks[name]


def test_equal_arguments_are_one_task_by_position_or_by_name(app: Any, ledger: Ledger):
    sync = task_of(app, True)
    first = sync.delay(1)
    same = [sync.delay(1, "all"), sync.delay(customer=1), sync.apply_async(kwargs={"what": "all", "customer": 1})]
    assert {again.id for again in same} == {first.id}
    other = [sync.delay(2), sync.delay(1, "mail"), sync.delay(1, extra=3)]
    assert len({first.id, *(one.id for one in other)}) == 4
    assert set(ledger.states()) == {first.id, *(one.id for one in other)}


def test_it_is_unique_by_some_arguments_by_none_or_by_a_function(app: Any):
    by_customer = task_of(app, Unique(by=["customer"]), "shop.a")
    assert by_customer.delay(1, "mail").id == by_customer.delay(1, "orders").id != by_customer.delay(2).id
    alone = task_of(app, Unique(by=[]), "shop.b")
    assert alone.delay(1).id == alone.delay(2).id
    by_function = task_of(app, Unique(by=lambda customer, what="all", **_: f"{customer % 2}"), "shop.c")
    assert by_function.delay(1).id == by_function.delay(3).id != by_function.delay(2).id


def end(ledger: Ledger, task_id: str, state: str, *, since_s: float = 0) -> None:
    """Let the task be in that state, for so long by the ledger's clock."""
    moment = {
        "postgresql": f"now() - interval '{since_s} seconds'",
        "mysql": f"UTC_TIMESTAMP(6) - INTERVAL {since_s} SECOND",
        "sqlite": f"strftime('%Y-%m-%d %H:%M:%f', 'now', '-{since_s} seconds')",
    }[ledger.source.dialect]
    finished = "NULL" if state in ("pending", "leased", "running", "parked") else moment
    ledger.write(
        f"UPDATE mirepoix_task SET state = '{state}', created_at = {moment}, started_at = {moment},"
        f" finished_at = {finished} WHERE id = '{task_id}'"
    )


@pytest.mark.parametrize(
    ("policy", "counting", "over"),
    [
        (Unique(until="started"), ["pending", "parked"], ["leased", "running", "succeeded", "failed", "cancelled"]),
        (Unique(), ["pending", "leased", "running", "parked"], ["succeeded", "failed", "quarantined", "expired"]),
        (
            Unique(until="succeeded"),
            ["pending", "running", "parked", "failed", "quarantined"],
            ["succeeded", "cancelled", "expired"],
        ),
    ],
    ids=lambda given: given.until if isinstance(given, Unique) else "",
)
def test_it_counts_until(app: Any, ledger: Ledger, policy: Unique, counting: list[str], over: list[str]):
    sync = task_of(app, policy)
    holder = sync.delay(1).id
    for state in counting:
        end(ledger, holder, state)
        assert (state, sync.delay(1).id) == (state, holder)
    for state in over:
        end(ledger, holder, state)
        holder, before = sync.delay(1).id, holder
        assert (state, holder) != (state, before)
        assert sync.delay(1).id == holder


@pytest.mark.parametrize("until", ["sent", "started", "finished", "succeeded"])
def test_it_counts_for_some_seconds_longer(app: Any, ledger: Ledger, until: str):
    sync = task_of(app, Unique(until=until, for_s=100))
    holder = sync.delay(1).id
    end(ledger, holder, "succeeded", since_s=90)
    assert sync.delay(1).id == holder
    end(ledger, holder, "succeeded", since_s=110)
    assert sync.delay(1).id != holder


def test_a_pruned_task_does_not_count(app: Any, ledger: Ledger):
    sync = task_of(app, Unique(until="succeeded", for_s=10**6))
    holder = sync.delay(1).id
    ledger.write(f"DELETE FROM mirepoix_task WHERE id = '{holder}'")
    assert sync.delay(1).id != holder


def test_a_conflict_can_be_refused(app: Any, ledger: Ledger):
    sync = task_of(app, Unique(on_conflict="refuse"))
    holder = sync.delay(1).id
    with pytest.raises(NotUnique, match=rf"shop\.sync is unique, and task {holder} .* is pending") as caught:
        sync.delay(1)
    assert (caught.value.task_id, caught.value.state) == (holder, "pending")
    assert list(ledger.states()) == [holder]


def test_a_call_that_waits_can_be_replaced_with_its_time(app: Any, ledger: Ledger):
    """Debounce: the last call wins, and each call postpones it."""
    sync = task_of(app, Unique(by=["customer"], until="started", on_conflict="replace"))
    holder = sync.apply_async((1, "old"), countdown=100).id
    before = ledger.row(holder)
    assert sync.apply_async((1, "new"), countdown=1000, queue="slow", priority=3).id == holder
    row = ledger.row(holder)
    assert row["body"].startswith('[[1, "new"], {}')
    assert (row["queue"], row["priority"], row["state"]) == ("slow", 3, "pending")
    assert row["generation"] == before["generation"] + 1
    assert row["due_at"] > before["due_at"]
    sync.delay(1, "now")
    assert ledger.row(holder)["due_at"] is None
    end(ledger, holder, "running")
    assert sync.delay(1).id != holder


def test_one_that_runs_is_not_replaced(app: Any, ledger: Ledger):
    sync = task_of(app, Unique(by=["customer"], on_conflict="replace"))
    holder = sync.delay(1, "old").id
    end(ledger, holder, "running")
    assert sync.delay(1, "new").id == holder
    assert ledger.row(holder)["body"].startswith('[[1, "old"]')


def test_a_call_can_have_its_own_policy_or_none(app: Any):
    sync = task_of(app, True)
    holder = sync.delay(1)
    assert sync.apply_async((1,), unique=False).id != holder.id
    plain = task_of(app, None, "shop.plain")
    assert plain.delay(1).id != plain.delay(1).id
    assert plain.apply_async((1,), unique=True).id == plain.apply_async((1,), unique=True).id
    signature = sync.s(1).set(unique=Unique(on_conflict="refuse"))
    with pytest.raises(NotUnique):
        signature.delay()


def test_members_of_a_workflow_are_always_sent(app: Any, ledger: Ledger):
    sync = task_of(app, True)
    sync.delay(1)
    group(sync.si(1), sync.si(1)).apply_async()
    chain(sync.si(1), sync.si(1)).apply_async()
    chord([sync.si(1), sync.si(1)], sync.si(1)).apply_async()
    assert len(ledger.states()) == 1 + 2 + 1 + 2


def test_what_cannot_be_unique_says_so(app: Any, ledger: Ledger):
    sync = task_of(app, True)
    with pytest.raises(InvalidOption, match="would not call this link"):
        sync.apply_async((1,), link=sync.si(2))
    with pytest.raises(InvalidOption, match="sent by its name"):
        app.send_task("shop.sync", (1,), unique=True)
    with pytest.raises(ConfigurationError, match="one by one"):
        mirepoix.bulk(sync, [(1,)])
    assert ledger.states() == {}


def test_an_unknown_argument_is_found_when_the_task_is_registered(app: Any):
    @app.task(name="shop.wrong", shared=False, unique=Unique(by=["order"]))
    def wrong(customer: int) -> None: ...

    with pytest.raises(ConfigurationError, match=r"unique by 'order', and has no argument"):
        app.finalize()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"until": "done"}, "one of sent, started, finished, succeeded"),
        ({"on_conflict": "drop"}, "one of existing, replace, refuse"),
        ({"by": "customer"}, "by=\\['customer'\\]"),
        ({"for_s": -1}, "number of seconds"),
        ({"until": "sent"}, "needs for_s"),
    ],
)
def test_a_wrong_policy_is_refused(wrong: dict[str, Any], message: str):
    with pytest.raises(ConfigurationError, match=message):
        Unique(**wrong)


class TestInTheCallersTransaction(callers.EachCaller):
    def test_a_rollback_frees_the_key(self, caller: Caller, books: Ledger, app: Any):
        sync = task_of(app, True)
        caller.begin()
        with mirepoix.using(caller.held):
            gone = sync.delay(1).id
            assert sync.delay(1).id == gone
        caller.rollback()
        assert books.states() == {}
        assert sync.delay(1).id != gone

    def test_another_sender_waits_for_its_end(self, caller: Caller, books: Ledger, app: Any):
        sync = task_of(app, True)
        caller.begin()
        with mirepoix.using(caller.held):
            holder = sync.delay(1).id
        found: list[str] = []
        other = threading.Thread(target=lambda: found.append(sync.delay(1).id))
        other.start()
        if books.source.dialect != "sqlite":  # where who waits holds no lock, and tries again
            until_somebody_waits_for_a_lock(books)
        assert found == []
        caller.commit()
        other.join(60)
        assert found == [holder]
        assert list(books.states()) == [holder]

    def test_what_it_found_waiting_begins_after_its_commit(self, caller: Caller, books: Ledger, app: Any):
        """The task that is there then sees what the transaction wrote."""
        sync = task_of(app, Unique(until="started"))
        holder = sync.delay(1).id
        books.worker("w")
        caller.begin()
        with mirepoix.using(caller.held):
            assert sync.delay(1).id == holder
        if books.source.dialect != "sqlite":  # where nobody else writes meanwhile
            assert books.take_ids("w") == []
        caller.commit()
        assert books.take_ids("w") == [holder]

    def test_it_sees_what_ended_after_its_first_read(self, caller: Caller, books: Ledger, app: Any):
        sync = task_of(app, True)
        holder = sync.delay(1).id
        caller.begin()
        if books.source.dialect == "mysql":  # its default is REPEATABLE READ
            caller.held.cursor().execute("SELECT count(*) FROM mirepoix_task")
        end(books, holder, "succeeded")
        with mirepoix.using(caller.held):
            assert sync.delay(1).id != holder
        caller.commit()
        assert len(books.states()) == 2


def test_an_asynchronous_transaction_is_refused_with_the_remedy(sqlite_url: str):
    app = callers.app_with(sqlite_url)
    sync = task_of(app, True)

    async def send() -> None:
        engine = sa_asyncio.create_async_engine(sqlite_url.replace("sqlite://", "sqlite+aiosqlite://"))
        try:
            async with engine.connect() as connection, connection.begin(), mirepoix.using(connection):
                sync.delay(1)
        finally:
            await engine.dispose()

    with pytest.raises(ConfigurationError, match="run_sync"):
        asyncio.run(send())
    app.mirepoix.source.close()


def test_of_many_senders_at_once_one_sends(app: Any, ledger: Ledger):
    sync = task_of(app, True)
    barrier = threading.Barrier(8)
    ids: list[str] = []

    def send() -> None:
        barrier.wait(60)
        ids.append(sync.delay(1).id)

    senders = [threading.Thread(target=send) for _ in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(60)
    assert len(ids) == 8
    assert set(ids) == set(ledger.states())
    assert len(ledger.states()) == 1
