"""Calls of tasks that are dropped at their limit, or cancel older ones: by every way to send, and in a transaction."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import callers
import psycopg
import pytest
from callers import Caller
from celery import chain, chord
from celery.exceptions import TaskRevokedError
from sqlalchemy.ext import asyncio as sa_asyncio

import mirepoix
from driver import Ledger
from mirepoix import Limit, Unique
from mirepoix.celery import limits as celery_limits
from mirepoix.connect.url import source_for
from mirepoix.errors import ConfigurationError, InvalidOption
from mirepoix.ledger import limits
from mirepoix.ledger.limits import Bounds
from mirepoix.records import WEIGHT_HEADER


@pytest.fixture
def app(ledger_url: str) -> Iterator[Any]:
    app = callers.app_with(ledger_url)
    yield app
    app.mirepoix.source.close()


def task_of(app: Any, at_limit: str = "drop", running: int = 1, name: str = "shop.sync", **options: Any) -> Any:
    @app.task(name=name, shared=False, limit=Limit(running=running, key="customer", at_limit=at_limit), **options)
    def sync(customer: int = 0, what: str = "all") -> None: ...

    if "shop.note" not in app.tasks:

        @app.task(name="shop.note", shared=False)
        def note(*_: Any) -> None: ...

    app.finalize()
    return app.tasks[name]


def test_a_dropped_call_has_ended_for_its_caller(app: Any, ledger: Ledger):
    sync = task_of(app)
    first, dropped, other = sync.delay(1), sync.delay(1), sync.delay(2)
    assert [result.state for result in (first, dropped, other)] == ["PENDING", "REVOKED", "PENDING"]
    with pytest.raises(TaskRevokedError):
        dropped.get(timeout=60)
    assert "dropped: the limit 'shop.sync' allows 1 at once" in ledger.row(dropped.id)["reason"]


def test_nothing_follows_from_a_dropped_call(app: Any, ledger: Ledger):
    sync, note = task_of(app), app.tasks["shop.note"]
    sync.delay(1)
    sync.apply_async((1,), link=note.si(), link_error=note.si())
    chain(sync.si(1), note.si()).apply_async()
    assert sorted(ledger.states().values()) == ["cancelled", "cancelled", "pending"]


@pytest.mark.parametrize("at_limit", ["drop", "cancel"])
def test_a_chord_with_a_call_that_was_ended_has_failed(app: Any, ledger: Ledger, at_limit: str):
    sync, note = task_of(app, at_limit), app.tasks["shop.note"]
    if at_limit == "drop":
        sync.delay(1)
    chord([sync.si(1)], note.s()).apply_async()
    if at_limit == "cancel":
        sync.delay(1)
    ended = ledger.query("SELECT name FROM mirepoix_task WHERE state = 'cancelled'")
    waiting = ledger.query("SELECT name FROM mirepoix_task WHERE state = 'pending' ORDER BY seq")
    assert [name for (name,) in ended] == ["shop.sync"]
    assert [name for (name,) in waiting] == ["shop.sync", "mirepoix.fail_chord"]


def test_bulk_sends_as_many_as_there_is_room_for(app: Any, ledger: Ledger):
    sync = task_of(app, running=2)
    ids = mirepoix.bulk(sync, [(1, str(n)) for n in range(5)] + [(2, "x")])
    assert [ledger.state(id) for id in ids] == ["pending"] * 2 + ["cancelled"] * 3 + ["pending"]
    latest = task_of(app, "cancel", running=2, name="shop.latest")
    ids = mirepoix.bulk(latest, [(1, str(n)) for n in range(5)])
    assert [ledger.state(id) for id in ids] == ["cancelled"] * 3 + ["pending"] * 2


def test_a_dropped_call_does_not_count_as_unique(app: Any, ledger: Ledger):
    sync = task_of(app, unique=Unique(by=["customer", "what"]))
    first = sync.delay(1, "mail")
    assert sync.delay(1, "mail").id == first.id
    dropped = sync.delay(1, "orders").id
    ledger.write(f"UPDATE mirepoix_task SET state = 'succeeded', finished_at = created_at WHERE id = '{first.id}'")
    again = sync.delay(1, "orders").id
    assert again != dropped
    assert [ledger.state(id) for id in (dropped, again)] == ["cancelled", "pending"]


def test_what_is_submitted_once_is_decided_once(app: Any, ledger: Ledger):
    sync = task_of(app)
    sync.delay(1)
    dropped = [mirepoix.submit_once(sync, "k", (1,)).id for _ in range(2)]
    assert dropped[0] == dropped[1]
    assert ledger.state(dropped[0]) == "cancelled"


def test_a_program_that_knows_the_task_by_name_only_sends_no_policy(app: Any, ledger: Ledger, ledger_url: str):
    task_of(app).delay(1)
    other = callers.app_with(ledger_url)
    other.send_task("shop.sync", (1,))
    other.mirepoix.source.close()
    assert list(ledger.states().values()) == ["pending", "pending"]


@pytest.mark.parametrize("at_limit", ["drop", "cancel"])
def test_a_rate_alone_has_nothing_to_drop_or_cancel(at_limit: str):
    with pytest.raises(ConfigurationError, match="needs running"):
        Limit(rate="5/s", at_limit=at_limit)
    assert Limit(running=1, rate="5/s", at_limit=at_limit).bounds() == Bounds(1, 5, 1.0)
    with pytest.raises(ConfigurationError, match="wait, drop, cancel"):
        Limit(running=1, at_limit="skip")


def test_tasks_that_share_a_limit_do_the_same_at_it(app: Any):
    def pay() -> None: ...

    for name, at_limit in (("shop.a", "drop"), ("shop.b", "wait")):
        app.task(name=name, shared=False, limit=Limit(running=1, name="bank", at_limit=at_limit))(pay)
    app.finalize()
    with pytest.raises(ConfigurationError, match="define the limit 'bank' differently"):
        celery_limits.declared(app)


class TestInTheCallersTransaction(callers.EachCaller):
    @pytest.mark.parametrize("at_limit", ["drop", "cancel"])
    def test_a_rollback_undoes_what_was_decided(self, caller: Caller, books: Ledger, app: Any, at_limit: str):
        sync = task_of(app, at_limit)
        first = sync.delay(1).id
        caller.begin()
        with mirepoix.using(caller.held):
            sync.delay(1)
            sync.delay(2)
        caller.rollback()
        assert books.states() == {first: "pending"}
        assert sync.delay(2).state == "PENDING"

    def test_workers_take_the_calls_of_the_key_meanwhile(self, caller: Caller, books: Ledger, app: Any):
        sync = task_of(app, "cancel", running=2)
        first = sync.delay(1).id
        books.do(limits.add_keys, ["shop.sync:1"])
        caller.begin()
        with mirepoix.using(caller.held):
            second = sync.delay(1).id
        if books.source.dialect != "sqlite":  # where nobody else writes meanwhile
            assert set(books.do(limits.lock, ["shop.sync:1"])) == {"shop.sync:1"}
        caller.commit()
        assert books.states() == {first: "pending", second: "pending"}


@pytest.mark.parametrize("by", ["psycopg", "sqlalchemy"])
def test_it_is_decided_in_an_asynchronous_transaction(postgresql_url: str, by: str):
    app = callers.app_with(postgresql_url)
    sync, note = task_of(app), app.tasks["shop.note"]

    def send() -> None:
        sync.delay(1)
        sync.delay(1)
        chord([sync.si(1)], note.s()).apply_async()

    async def with_psycopg() -> None:
        connection = await psycopg.AsyncConnection.connect(postgresql_url)
        async with connection, mirepoix.using(connection):
            send()

    async def with_sqlalchemy() -> None:
        engine = sa_asyncio.create_async_engine(postgresql_url.replace("://", "+psycopg://", 1))
        try:
            async with engine.connect() as connection, connection.begin(), mirepoix.using(connection):
                send()
        finally:
            await engine.dispose()

    asyncio.run({"psycopg": with_psycopg, "sqlalchemy": with_sqlalchemy}[by]())
    with Ledger(source_for(postgresql_url)) as ledger:
        states = list(ledger.states().values())
        assert states == ["pending", "cancelled", "cancelled", "pending"]
    app.mirepoix.source.close()


def test_a_snapshot_that_does_not_show_another_senders_call_is_refused(postgresql_url: str):
    app = callers.app_with(postgresql_url)
    sync = task_of(app)
    with psycopg.connect(postgresql_url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        assert connection.execute("SELECT count(*) FROM mirepoix_task").fetchone() == (0,)
        first = sync.delay(1).id
        with mirepoix.using(connection), pytest.raises(psycopg.errors.SerializationFailure):
            sync.delay(1)
        connection.rollback()
    with Ledger(source_for(postgresql_url)) as ledger:
        assert ledger.states() == {first: "pending"}
    app.mirepoix.source.close()


class TestWeights:
    def task_of(self, app: Any, weight: Any) -> Any:
        @app.task(name="shop.ask", shared=False, limit=Limit(rate="100/m", weight=weight))
        def ask(prompt: str, tokens: Any = 7) -> None: ...

        app.finalize()
        return app.tasks["shop.ask"]

    def weights(self, ledger: Ledger) -> list[int | None]:
        rows = ledger.query("SELECT headers FROM mirepoix_task ORDER BY seq")
        found = [json.loads(headers) if isinstance(headers, str) else headers for (headers,) in rows]
        return [headers.get(WEIGHT_HEADER) for headers in found]

    def test_a_call_weighs_what_its_argument_says(self, app: Any, ledger: Ledger):
        ask = self.task_of(app, "tokens")
        ask.delay("a", 30)
        ask.delay("b", tokens=2.5)
        ask.apply_async(("c",), headers={WEIGHT_HEADER: 0})
        mirepoix.bulk(ask, [("d", 1), ("e",), {"prompt": "f", "tokens": 4}])
        chain(ask.si("g", 8), ask.si("h", 9)).apply_async()
        assert self.weights(ledger) == [30, 3, 7, 1, 7, 4, 8]

    def test_a_call_weighs_what_a_function_says(self, app: Any, ledger: Ledger):
        ask = self.task_of(app, lambda prompt, tokens=0: len(prompt) / 4)
        ask.delay("a" * 10)
        assert self.weights(ledger) == [3]

    @pytest.mark.parametrize("wrong", [-1, None, "many", float("inf"), 2**40])
    def test_a_weight_that_is_no_number_is_refused(self, app: Any, ledger: Ledger, wrong: Any):
        ask = self.task_of(app, "tokens")
        with pytest.raises(InvalidOption, match="weight of its limit cannot be made"):
            ask.delay("a", wrong)
        assert ledger.states() == {}

    def test_an_unknown_argument_and_a_weight_without_a_rate_are_refused(self, app: Any):
        with pytest.raises(ConfigurationError, match="weight 'words', and the task has no argument"):
            self.task_of(app, "words")
        with pytest.raises(ConfigurationError, match="needs rate"):
            Limit(running=1, weight="tokens")
