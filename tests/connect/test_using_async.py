"""``async with mirepoix.using(...)``: rows are written later, and still have the fate of the caller's own rows."""

# ruff: noqa: PT012 (what happens inside of a transaction until it is left is the subject)

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import callers
import psycopg
import pytest
import sqlalchemy as sa
from callers import AsyncCaller
from psycopg.rows import dict_row
from sqlalchemy.ext import asyncio as sa_asyncio

from driver import Ledger, envelope
from mirepoix.connect import ambient
from mirepoix.connect.ambient import using
from mirepoix.connect.url import source_for
from mirepoix.errors import ConfigurationError, SchemaError

Work = Callable[[AsyncCaller], Awaitable[None]]


class Boom(Exception):
    """What a caller raises."""


def send(*task_ids: str) -> None:
    enclosing = ambient.current()
    assert enclosing is not None
    enclosing.add([envelope(task_id) for task_id in task_ids])


KINDS = [*callers.ASYNC_ON_SQLITE, *callers.ASYNC_ON_POSTGRESQL, *callers.ASYNC_ON_MARIADB]


@pytest.fixture(params=KINDS, ids=lambda make: make.__name__)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def url(kind: Any, request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(callers.url_of(kind))


@pytest.fixture
def books(url: str) -> Iterator[Ledger]:
    with Ledger(source_for(url)) as ledger:
        ledger.write("CREATE TABLE mine (word text)")
        yield ledger


@pytest.fixture
def run(kind: Any, url: str, books: Ledger) -> Callable[[Work], None]:
    """Run a coroutine function with a caller."""

    def run(work: Work) -> None:
        async def main() -> None:
            async with kind(url) as caller:
                await work(caller)

        asyncio.run(main())

    return run


def words(books: Ledger) -> set[str]:
    return {row[0] for row in books.query("SELECT word FROM mine")}


def test_commit_makes_it_real(run: Any, books: Ledger):
    async def work(caller: AsyncCaller) -> None:
        async with using(caller.held):
            await caller.insert("a")
            send("a", "b")
        await caller.commit()

    run(work)
    assert set(books.states()) == {"a", "b"}
    assert words(books) == {"a"}


def test_rollback_leaves_nothing(run: Any, books: Ledger):
    async def work(caller: AsyncCaller) -> None:
        async with using(caller.held):
            await caller.insert("a")
            send("a")
        await caller.rollback()
        async with using(caller.held):
            send("b")
        await caller.rollback()

    run(work)
    assert books.states() == {}
    assert words(books) == set()


def test_an_exception_that_rolls_back_leaves_nothing(run: Any, books: Ledger):
    async def work(caller: AsyncCaller) -> None:
        with pytest.raises(Boom):
            async with caller.held.begin(), using(caller.held):
                await caller.insert("a")
                send("a")
                raise Boom
        async with caller.held.begin(), using(caller.held):
            send("next")

    run(work)
    assert set(books.states()) == {"next"}


def test_an_exception_that_the_caller_answers_and_commits_keeps_what_was_sent(run: Any, books: Ledger):
    async def work(caller: AsyncCaller) -> None:
        with pytest.raises(Boom):
            async with using(caller.held):
                await caller.insert("a")
                send("a")
                raise Boom
        await caller.commit()

    run(work)
    assert set(books.states()) == {"a"}
    assert words(books) == {"a"}


def test_a_cancelled_block_leaves_nothing(run: Any, books: Ledger):
    async def work(caller: AsyncCaller) -> None:
        is_inside = asyncio.Event()

        async def cancelled() -> None:
            async with caller.held.begin(), using(caller.held):
                send("a")
                is_inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(cancelled())
        await is_inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await caller.insert("a")
        await caller.commit()

    run(work)
    assert books.states() == {}


def test_a_commit_inside_the_block_takes_along_what_was_sent_before_it(run: Any, books: Ledger):
    async def work(caller: AsyncCaller) -> None:
        async with using(caller.held):
            await caller.insert("a")
            send("before")
            await caller.commit()
            send("after")
        await caller.rollback()

    run(work)
    assert set(books.states()) == {"before"}


def test_a_rollback_inside_the_block_takes_along_what_was_sent_before_it(run: Any, books: Ledger):
    async def work(caller: AsyncCaller) -> None:
        async with using(caller.held):
            await caller.insert("a")
            send("before")
            await caller.rollback()
            send("after")
        await caller.commit()

    run(work)
    assert set(books.states()) == {"after"}


def test_a_savepoint_that_is_rolled_back_takes_only_its_own_tasks(run: Any, books: Ledger):
    async def work(caller: AsyncCaller) -> None:
        async with using(caller.held):
            await caller.insert("outer")
            send("outer")
            with pytest.raises(Boom):
                async with caller.savepoint():
                    send("inner")
                    async with caller.savepoint():
                        send("innermost")
                        await caller.insert("innermost")
                    raise Boom
            async with caller.savepoint():
                send("kept")
                with pytest.raises(Boom):
                    async with caller.savepoint():
                        send("lost")
                        raise Boom
            send("after")
        await caller.commit()

    run(work)
    assert set(books.states()) == {"outer", "kept", "after"}
    assert words(books) == {"outer"}


def test_a_block_inside_a_savepoint_has_its_fate(run: Any, books: Ledger):
    async def work(caller: AsyncCaller) -> None:
        await caller.insert("a")
        with pytest.raises(Boom):
            async with caller.savepoint():
                async with using(caller.held):
                    send("lost")
                raise Boom
        async with caller.savepoint(), using(caller.held):
            send("kept")
        await caller.commit()

    run(work)
    assert set(books.states()) == {"kept"}


def test_closing_without_a_commit_leaves_nothing(run: Any, books: Ledger):
    async def work(caller: AsyncCaller) -> None:
        async with using(caller.held):
            await caller.insert("a")
            send("a")
            await caller.held.close()

    run(work)
    assert books.states() == {}


def test_many_blocks_on_one_session_write_each_task_once(run: Any, books: Ledger):
    async def work(caller: AsyncCaller) -> None:
        for n in range(5):
            async with using(caller.held):
                send(f"t{n}")
                async with using(caller.held):
                    send(f"u{n}")
            await caller.commit()

    run(work)
    assert len(books.states()) == 10


def test_a_synchronous_with_names_the_asynchronous_one(run: Any):
    async def work(caller: AsyncCaller) -> None:
        with pytest.raises(ConfigurationError, match=r"async with mirepoix.using"):
            using(caller.held).__enter__()
        assert ambient.current() is None

    run(work)


def test_inside_of_run_sync_the_synchronous_with_writes_at_once(run: Any, books: Ledger):
    def place_order(session: Any) -> None:
        with using(session):
            send("a")
        assert session.execute(sa.text("SELECT count(*) FROM mirepoix_task")).scalar() == 1

    async def work(caller: AsyncCaller) -> None:
        await caller.held.run_sync(place_order)
        await caller.commit()

    run(work)
    assert set(books.states()) == {"a"}


def test_coroutines_side_by_side_do_not_see_each_others_blocks(kind: Any, url: str, books: Ledger):
    async def request(name: str, barrier: asyncio.Barrier) -> None:
        async with kind(url) as caller:
            async with using(caller.held):
                await barrier.wait()
                send(name)
                await barrier.wait()
                if name == "rolls back":
                    await caller.rollback()
            if name == "commits":
                await caller.commit()

    async def main() -> None:
        barrier = asyncio.Barrier(2)
        await asyncio.gather(request("commits", barrier), request("rolls back", barrier))
        assert ambient.current() is None

    asyncio.run(main())
    assert set(books.states()) == {"commits"}


def test_a_coroutine_that_outlives_the_block_is_outside_of_it(run: Any, books: Ledger):
    async def work(caller: AsyncCaller) -> None:
        block_has_ended = asyncio.Event()

        async def outlives() -> Any:
            assert ambient.current() is not None
            await block_has_ended.wait()
            return ambient.current()

        async with using(caller.held):
            task = asyncio.create_task(outlives())
            await asyncio.sleep(0)
        block_has_ended.set()
        assert await task is None

    run(work)


def test_an_async_scoped_session_is_joined(postgresql_url: str):
    async def main() -> None:
        engine = sa_asyncio.create_async_engine(postgresql_url.replace("://", "+asyncpg://"))
        scope = sa_asyncio.async_scoped_session(sa_asyncio.async_sessionmaker(engine), asyncio.current_task)
        async with using(scope):
            send("a")
        await scope.commit()
        await scope.remove()
        await engine.dispose()

    asyncio.run(main())
    with Ledger(source_for(postgresql_url)) as books:
        assert set(books.states()) == {"a"}


def test_a_database_without_a_ledger_is_named_when_the_block_ends(postgresql_server: Any):
    async def main() -> None:
        url = postgresql_server.url("postgres")
        engine = sa_asyncio.create_async_engine(url.replace("://", "+asyncpg://"))
        async with sa_asyncio.AsyncSession(engine) as session:
            with pytest.raises(SchemaError, match=r"/postgres.*mirepoix --app"):
                async with using(session):
                    send("a")
        await engine.dispose()
        async with await psycopg.AsyncConnection.connect(url) as connection:
            with pytest.raises(SchemaError, match=r"/postgres.*mirepoix --app"):
                async with using(connection):
                    send("a")
            await connection.rollback()

    asyncio.run(main())


# psycopg's own AsyncConnection


@pytest.fixture
def run_psycopg(postgresql_url: str) -> Iterator[Callable[[Any], Ledger]]:
    with Ledger(source_for(postgresql_url)) as ledger:

        def run(work: Any) -> Ledger:
            async def main() -> None:
                async with _connected(postgresql_url) as connection:
                    await work(connection)

            asyncio.run(main())
            return ledger

        yield run


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Any]:
    connection = await psycopg.AsyncConnection.connect(url, row_factory=dict_row)
    try:
        yield connection
    finally:
        await connection.close()


def test_psycopg_async_commits_and_rolls_back(run_psycopg: Any):
    async def work(connection: Any) -> None:
        async with using(connection):
            send("a", "a again")
        await connection.commit()
        async with using(connection):
            send("b")
        await connection.rollback()
        async with connection.transaction(), using(connection):
            send(*(f"t{n}" for n in range(1_500)))

    books = run_psycopg(work)
    assert len(books.states()) == 1_502
    assert "b" not in books.states()


def test_psycopg_async_sends_a_finished_task_again(run_psycopg: Any):
    async def work(connection: Any) -> None:
        async with using(connection):
            send("a")
        await connection.execute("UPDATE mirepoix_task SET state = 'succeeded'")
        async with using(connection):
            send("a", "b")
        await connection.commit()

    books = run_psycopg(work)
    assert books.states() == {"a": "pending", "b": "pending"}
    assert books.row("a")["generation"] == 1


def test_psycopg_async_refuses_a_transaction_that_begins_inside(run_psycopg: Any):
    async def work(connection: Any) -> None:
        async with using(connection), connection.transaction():
            with pytest.raises(ConfigurationError, match=r"async with connection.transaction"):
                send("a")
        async with connection.transaction():
            async with using(connection):
                send("b")
            with pytest.raises(Boom):
                async with connection.transaction(), using(connection):
                    send("c")
                    raise Boom

    assert set(run_psycopg(work).states()) == {"b"}


def test_psycopg_async_refuses_a_commit_inside_instead_of_losing_tasks(run_psycopg: Any):
    async def work(connection: Any) -> None:
        with pytest.raises(ConfigurationError, match="1 tasks"):
            async with using(connection):
                await connection.execute("SELECT 1")
                send("a")
                await connection.commit()

    assert run_psycopg(work).states() == {}


def test_psycopg_async_says_what_an_exception_drops(run_psycopg: Any, caplog: pytest.LogCaptureFixture):
    async def work(connection: Any) -> None:
        with pytest.raises(Boom):
            async with using(connection):
                send("a")
                raise Boom
        await connection.commit()

    with caplog.at_level(logging.WARNING):
        assert run_psycopg(work).states() == {}
    assert "1 tasks are not sent" in caplog.text


def test_psycopg_async_names_async_with(run_psycopg: Any):
    async def work(connection: Any) -> None:
        with pytest.raises(ConfigurationError, match=r"async with mirepoix.using"):
            using(connection).__enter__()

    run_psycopg(work)
