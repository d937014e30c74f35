"""``mirepoix.submit_once``: one task for each key, in every kind of caller's transaction and in none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import callers
import pytest
from callers import Caller, EachCaller
from celery import Celery, chain, group
from celery.signals import before_task_publish
from sqlalchemy.ext import asyncio as sa_asyncio

import mirepoix
from driver import Ledger
from mirepoix.connect.url import source_for
from mirepoix.errors import ConfigurationError, InvalidOption, KeyTaken, PayloadNotSerializable, PayloadTooLarge
from mirepoix.ledger import operate

KINDS = [*callers.ON_SQLITE, *callers.ON_POSTGRESQL, *callers.ON_MARIADB]


def app_with(url: str, **settings: Any) -> Any:
    app = Celery("shop", set_as_current=False, broker="amqp://nobody@127.0.0.1:1//")
    mirepoix.install(app, url, look_at_broker=False, **settings)

    @app.task(name="shop.add", shared=False)
    def add(*numbers: int, **named: int) -> int:
        return sum(numbers)

    app.add = add
    return app


@pytest.fixture
def app(ledger_url: str) -> Iterator[Any]:
    app = app_with(ledger_url)
    yield app
    app.mirepoix.source.close()


def submitted(books: Ledger) -> dict[str, str]:
    return dict(books.query("SELECT id, task_id FROM mirepoix_key"))


class TestInATransactionOfItsOwn:
    def test_the_same_call_under_the_same_key_is_the_same_task(self, app: Any, ledger: Ledger):
        first = mirepoix.submit_once(app.add, "order-7", (1, 2))
        again = mirepoix.submit_once(app.add, "order-7", [1, 2], {})
        assert first.id == again.id
        assert (first.is_new, again.is_new) == (True, False)
        assert (again.key, again.task_name, again.state) == ("order-7", "shop.add", "pending")
        assert ledger.states() == {first.id: "pending"}
        assert ledger.row(first.id)["body"].startswith("[[1, 2], {}, ")

    def test_a_signature_is_the_same_call_as_its_task(self, app: Any, ledger: Ledger):
        first = mirepoix.submit_once(app.add, "order-7", (1, 2), {"c": 3})
        for signature, args in (
            (app.add.s(1, 2, c=3), ()),
            (app.add.s(2, c=3), (1,)),
            (app.signature("shop.add"), (1, 2)),
        ):
            given = {} if signature.kwargs else {"c": 3}
            assert mirepoix.submit_once(signature, "order-7", args, given).id == first.id
        assert ledger.states() == {first.id: "pending"}

    def test_options_are_those_of_the_call_that_sends(self, app: Any, ledger: Ledger):
        first = mirepoix.submit_once(app.add, "k", (1,), queue="slow", countdown=100)
        again = mirepoix.submit_once(app.add, "k", (1,), queue="fast")
        assert again.id == first.id
        assert ledger.row(first.id)["queue"] == "slow"
        assert ledger.row(first.id)["due_at"] is not None

    def test_another_call_is_refused_with_what_differs_and_no_value_of_it(self, app: Any, ledger: Ledger):
        first = mirepoix.submit_once(app.add, "order-7", (1, 4711), {"secret": 815})
        with pytest.raises(KeyTaken) as caught:
            mirepoix.submit_once(app.add, "order-7", (1, 4712), {"secret": "816"})
        told = str(caught.value)
        assert "keyword 'secret' was number, is text" in told
        without_id = told.replace(first.id, "")  # which may have these digits
        assert not any(value in without_id for value in ("4711", "4712", "815", "816"))
        assert caught.value.task_id == first.id
        with pytest.raises(KeyTaken, match="argument 2 has another value"):
            mirepoix.submit_once(app.add, "order-7", (1, 4712), {"secret": 815})
        assert list(ledger.states()) == [first.id]

    def test_publish_signals_are_sent_once(self, app: Any, ledger: Ledger):
        sent: list[str] = []

        def hear(sender: str, **_: Any) -> None:
            sent.append(sender)

        before_task_publish.connect(hear)
        try:
            for _ in range(3):
                mirepoix.submit_once(app.add, "order-7", (1,))
        finally:
            before_task_publish.disconnect(hear)
        assert sent == ["shop.add"]

    def test_values_that_celery_writes_in_its_own_way_are_compared_too(self, app: Any):
        first = mirepoix.submit_once(app.add, "order-7", (Decimal("1.50"),))
        assert mirepoix.submit_once(app.add, "order-7", (Decimal("1.50"),)).id == first.id
        with pytest.raises(KeyTaken, match="argument 1 was decimal, is number"):
            mirepoix.submit_once(app.add, "order-7", (1.5,))
        with pytest.raises(PayloadNotSerializable):
            mirepoix.submit_once(app.add, "order-8", (object(),))

    @pytest.mark.parametrize("key", ["", " a", "a ", "a\nb", "k" * 256, 7, None])
    def test_what_is_no_key_is_refused(self, app: Any, ledger: Ledger, key: Any):
        with pytest.raises(ConfigurationError, match="is no key"):
            mirepoix.submit_once(app.add, key)
        assert ledger.states() == {}

    def test_a_workflow_and_an_id_of_the_callers_own_are_refused(self, app: Any, ledger: Ledger):
        for canvas in (group(app.add.s(1), app.add.s(2)), chain(app.add.s(1), app.add.s(2))):
            with pytest.raises(TypeError, match="one task"):
                mirepoix.submit_once(canvas, "k")
        with pytest.raises(InvalidOption):
            mirepoix.submit_once(app.add, "k", task_id="mine")
        assert ledger.states() == {}

    def test_where_nothing_would_be_written_it_is_refused(self, ledger_url: str):
        eager = app_with(ledger_url)
        eager.conf.task_always_eager = True
        with pytest.raises(ConfigurationError, match="task_always_eager"):
            mirepoix.submit_once(eager.add, "k")
        past = app_with(ledger_url, delivery="broker", capture=False)
        with pytest.raises(ConfigurationError, match="mirepoix_capture"):
            mirepoix.submit_once(past.add, "k")
        for app in (eager, past):
            app.mirepoix.source.close()

    def test_of_racing_callers_one_sends(self, app: Any, ledger: Ledger):
        got: list[Any] = []
        gate = threading.Barrier(6)

        def race() -> None:
            for turn in range(5):
                gate.wait()
                got.append((turn, mirepoix.submit_once(app.add, f"key-{turn}", (turn,))))

        threads = [threading.Thread(target=race) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 30
        assert len({(turn, handle.id) for turn, handle in got}) == 5
        assert sum(handle.is_new for _, handle in got) == 5
        assert set(submitted(ledger).values()) == set(ledger.states())

    def test_a_key_whose_task_was_never_sent_is_made_good(self, app: Any, ledger: Ledger):
        # Its sender died between the two, on a connection that commits each statement by itself.
        first = mirepoix.submit_once(app.add, "order-7", (1,))
        ledger.write("DELETE FROM mirepoix_task")
        again = mirepoix.submit_once(app.add, "order-7", (1,))
        assert (again.id, again.is_new) == (first.id, True)
        assert ledger.states() == {first.id: "pending"}
        assert not mirepoix.submit_once(app.add, "order-7", (1,)).is_new

    def test_a_key_whose_task_was_pruned_sends_nothing(self, app: Any, ledger: Ledger):
        for key, keys_kept_s in (("a while", 100.0), ("for ever", None)):
            first = mirepoix.submit_once(app.add, key, (1,))
            ledger.cancel(first.id)
            ledger.passes(1_000)
            assert ledger.do(operate.prune, 500.0, keys_kept_s=keys_kept_s) == 1
            again = mirepoix.submit_once(app.add, key, (1,))
            assert (again.id, again.is_new, again.state) == (first.id, False, None)
        assert ledger.states() == {}

    def test_a_task_that_cannot_be_sent_leaves_its_key_free(self, ledger_url: str, ledger: Ledger):
        app = app_with(ledger_url, payload_limit_bytes=200)
        with pytest.raises(PayloadTooLarge):
            mirepoix.submit_once(app.add, "k", (10**300,))
        assert submitted(ledger) == {}
        app.mirepoix.source.close()


class TestInTheCallersTransaction(EachCaller):
    @pytest.fixture(params=KINDS, ids=lambda make: make.__name__)
    def kind(self, request: pytest.FixtureRequest) -> Any:
        return request.param

    @pytest.fixture
    def books(self, url: str) -> Iterator[Ledger]:
        with Ledger(source_for(url)) as ledger:
            ledger.write("CREATE TABLE mine (word text)")
            yield ledger

    @pytest.fixture
    def app(self, url: str) -> Iterator[Any]:
        app = app_with(url)
        yield app
        app.mirepoix.source.close()

    def test_commit_makes_key_and_task_real(self, caller: Caller, books: Ledger, app: Any):
        caller.begin()
        with mirepoix.using(caller.held):
            caller.insert("a")
            first = mirepoix.submit_once(app.add, "order-7", (1,))
            again = mirepoix.submit_once(app.add, "order-7", (1,))
            assert (first.is_new, again.is_new) == (True, False)
        caller.commit()
        assert submitted(books) == {"order-7": first.id}
        assert again.id == first.id
        assert books.states() == {first.id: "pending"}
        caller.begin()
        with mirepoix.using(caller.held):
            assert mirepoix.submit_once(app.add, "order-7", (1,)).id == first.id
        caller.rollback()

    def test_rollback_leaves_neither(self, caller: Caller, books: Ledger, app: Any):
        caller.begin()
        with mirepoix.using(caller.held):
            caller.insert("a")
            rolled_back = mirepoix.submit_once(app.add, "order-7", (1,))
        caller.rollback()
        assert submitted(books) == books.states() == {}
        fresh = mirepoix.submit_once(app.add, "order-7", (2,))
        assert fresh.is_new
        assert fresh.id != rolled_back.id

    def test_a_refusal_leaves_the_transaction_as_it_was(self, caller: Caller, books: Ledger, app: Any):
        first = mirepoix.submit_once(app.add, "order-7", (1,))
        caller.begin()
        with mirepoix.using(caller.held):
            caller.insert("a")
            with pytest.raises(KeyTaken):
                mirepoix.submit_once(app.add, "order-7", (2,))
            with pytest.raises(ConfigurationError):
                mirepoix.submit_once(app.add, " ", (2,))
            with pytest.raises(ValueError, match="no t"):
                mirepoix.submit_once(app.add, "unsendable", (2,), expires="no time")
        caller.commit()
        assert submitted(books) == {"order-7": first.id}
        assert [row[0] for row in books.query("SELECT word FROM mine")] == ["a"]

    @pytest.mark.parametrize("commits", [True, False], ids=["commit", "rollback"])
    def test_who_races_gets_the_others_task_only_if_it_commits(
        self, caller: Caller, books: Ledger, app: Any, commits: bool
    ):
        got: list[Any] = []
        caller.begin()
        with mirepoix.using(caller.held):
            caller.insert("a")
            first = mirepoix.submit_once(app.add, "order-7", (1,))
        thread = threading.Thread(target=lambda: got.append(mirepoix.submit_once(app.add, "order-7", (1,))))
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        (caller.commit if commits else caller.rollback)()
        thread.join()
        assert (got[0].id == first.id) == commits
        assert got[0].is_new != commits
        assert books.states() == {got[0].id: "pending"}


def test_an_asynchronous_transaction_is_refused_with_the_remedy(sqlite_url: str):
    app = app_with(sqlite_url)

    async def submit() -> Any:
        engine = sa_asyncio.create_async_engine(sqlite_url.replace("sqlite://", "sqlite+aiosqlite://"))
        async with sa_asyncio.AsyncSession(engine) as session, session.begin():
            async with mirepoix.using(session):
                with pytest.raises(ConfigurationError, match="run_sync"):
                    mirepoix.submit_once(app.add, "k", (1,))

            def in_it(sync_session: Any) -> Any:
                with mirepoix.using(sync_session):
                    return mirepoix.submit_once(app.add, "k", (1,))

            handle = await session.run_sync(in_it)
        await engine.dispose()
        return handle

    handle = asyncio.run(submit())
    assert handle.state == "pending"
    app.mirepoix.source.close()
