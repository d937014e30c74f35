"""``with mirepoix.using(...)``: a task has the fate of a row that the caller inserts beside it."""

# ruff: noqa: PT012 (what happens inside of a transaction until it is left is the subject)

from __future__ import annotations

import asyncio
import contextvars
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import callers
import psycopg
import pytest
import sqlalchemy as sa
from callers import Caller
from sqlalchemy import orm

from driver import Ledger, envelope
from mirepoix.connect import ambient
from mirepoix.connect.ambient import using
from mirepoix.connect.url import source_for
from mirepoix.errors import ConfigurationError, SchemaError, UnsupportedDatabase


class Boom(Exception):
    """What a caller raises."""


def send(*task_ids: str) -> None:
    enclosing = ambient.current()
    assert enclosing is not None
    enclosing.add([envelope(task_id) for task_id in task_ids])


KINDS = [*callers.ON_SQLITE, *callers.ON_POSTGRESQL, *callers.ON_MARIADB]


@pytest.fixture(params=KINDS, ids=lambda make: make.__name__)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def url(kind: Any, request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(callers.url_of(kind))


@pytest.fixture
def books(url: str) -> Iterator[Ledger]:
    """The ledger as others see it, with a table of the caller's."""
    with Ledger(source_for(url)) as ledger:
        ledger.write("CREATE TABLE mine (word text)")
        yield ledger


@pytest.fixture
def caller(kind: Any, url: str, books: Ledger) -> Iterator[Caller]:
    with kind(url) as caller:
        yield caller


def words(books: Ledger) -> set[str]:
    return {row[0] for row in books.query("SELECT word FROM mine")}


def test_commit_makes_it_real_and_not_before(caller: Caller, books: Ledger):
    caller.begin()
    with using(caller.held):
        caller.insert("a")
        send("a", "b")
        if books.source.dialect != "sqlite":  # an SQLite reader would wait for nothing, but a writer has the file
            assert books.states() == {}
    caller.commit()
    assert books.states() == {"a": "pending", "b": "pending"}
    assert words(books) == {"a"}


def test_rollback_leaves_nothing(caller: Caller, books: Ledger):
    caller.begin()
    with using(caller.held):
        caller.insert("a")
        send("a")
    caller.rollback()
    assert books.states() == {}
    assert words(books) == set()


def test_rows_sent_before_the_callers_first_statement_are_in_the_transaction_too(caller: Caller, books: Ledger):
    caller.begin()
    with using(caller.held):
        send("a")
    caller.insert("a")
    caller.rollback()
    assert books.states() == {}


def test_a_savepoint_that_is_rolled_back_takes_only_its_own_tasks(caller: Caller, books: Ledger):
    caller.begin()
    with using(caller.held):
        caller.insert("outer")
        send("outer")
        with pytest.raises(Boom), caller.savepoint():
            caller.insert("inner")
            send("inner")
            raise Boom
        with caller.savepoint():
            send("kept")
        send("after")
    caller.commit()
    assert set(books.states()) == {"outer", "kept", "after"}
    assert words(books) == {"outer"}


def test_an_exception_in_the_block_is_the_callers_to_answer(caller: Caller, books: Ledger):
    caller.begin()
    with pytest.raises(Boom), using(caller.held):
        caller.insert("a")
        send("a")
        raise Boom
    caller.commit()
    assert set(books.states()) == {"a"}


def test_a_finished_task_that_is_sent_again_waits_only_if_the_caller_commits(caller: Caller, books: Ledger):
    books.send("a")
    books.cancel("a")
    caller.begin()
    with using(caller.held):
        caller.insert("a")
        send("a")
    caller.rollback()
    assert books.states() == {"a": "cancelled"}
    caller.begin()
    with using(caller.held):
        send("a")
    caller.commit()
    assert books.states() == {"a": "pending"}
    assert books.row("a")["generation"] == 1


def test_odd_characters_and_times_pass_every_driver_unchanged(caller: Caller, books: Ledger):
    body = "[[\"100% %s %(id)s :name ::text $1 ?1 'quoted' \\\\n 🧅\"], {}, {}]"
    caller.begin()
    with using(caller.held):
        enclosing = ambient.current()
        assert enclosing is not None
        assert enclosing.dialect == books.source.dialect
        enclosing.add([envelope("a", body=body, eta="2090-01-02T03:04:05.678000+02:00", headers={"a:b": "%d::x"})])
    caller.commit()
    row = books.row("a")
    assert row["body"] == body
    assert "2090-01-02 01:04:05.678" in str(row["eta"]) or row["eta"].isoformat().startswith("2090-01-02")


def test_more_than_one_statement_full_is_one_transaction(caller: Caller, books: Ledger):
    caller.begin()
    with using(caller.held):
        send(*(f"t{n}" for n in range(2_500)))
    caller.commit()
    assert len(books.states()) == 2_500


def test_an_async_with_takes_a_synchronous_connection_too(url: str, kind: Any, books: Ledger):
    async def work() -> None:
        with kind(url) as caller:
            caller.begin()
            async with using(caller.held):
                send("a")
            caller.commit()

    asyncio.run(work())
    assert set(books.states()) == {"a"}


def test_without_a_block_there_is_no_transaction_to_join():
    assert ambient.current() is None


def test_blocks_nest_and_the_innermost_counts(sqlite_url: str, postgresql_url: str):
    with callers.sqlite3_legacy(sqlite_url) as one, callers.psycopg_plain(postgresql_url) as two:
        with using(one.held):
            send("outer")
            with using(two.held):
                send("inner")
            send("outer again")
        assert ambient.current() is None
        one.commit()
        two.commit()
    with Ledger(source_for(sqlite_url)) as books:
        assert set(books.states()) == {"outer", "outer again"}
    with Ledger(source_for(postgresql_url)) as books:
        assert set(books.states()) == {"inner"}


def test_a_block_that_is_left_by_an_exception_restores_the_outer_one(sqlite_url: str):
    with callers.sqlite3_legacy(sqlite_url) as one, using(one.held):
        outer = ambient.current()
        with pytest.raises(Boom), using(one.held):
            raise Boom
        assert ambient.current() is outer


def test_threads_do_not_see_each_others_blocks(postgresql_url: str):
    both_are_inside = threading.Barrier(2)
    seen: dict[str, Any] = {}

    def work(name: str) -> None:
        with callers.psycopg_plain(postgresql_url) as caller:
            with using(caller.held):
                both_are_inside.wait(10)
                send(name)
                both_are_inside.wait(10)
            caller.commit() if name == "commits" else caller.rollback()
        seen[name] = ambient.current()

    threads = [threading.Thread(target=work, args=(name,)) for name in ("commits", "rolls back")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {"commits": None, "rolls back": None}
    with Ledger(source_for(postgresql_url)) as books:
        assert set(books.states()) == {"commits"}


def test_what_outlives_the_block_is_outside_of_it(sqlite_url: str):
    with callers.sqlite3_legacy(sqlite_url) as caller:
        with using(caller.held):
            inside = contextvars.copy_context()
            assert inside.run(ambient.current) is not None
        assert inside.run(ambient.current) is None


def test_a_block_may_be_left_in_another_context_than_it_was_entered_in(sqlite_url: str):
    with callers.sqlite3_legacy(sqlite_url) as caller:
        block = using(caller.held)
        entered = contextvars.copy_context()
        entered.run(block.__enter__)
        block.__exit__(None, None, None)
        assert entered.run(ambient.current) is None


def test_with_sqlite3_in_autocommit_a_task_is_real_at_once(sqlite_url: str):
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    with using(connection):
        send("a")
    connection.close()
    with Ledger(source_for(sqlite_url)) as books:
        assert set(books.states()) == {"a"}


@pytest.fixture(params=["sqlite3", "psycopg", "session", "session on sqlite"])
def stranger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, str]]:
    """A connection to a database without a ledger, and that database's name."""
    if "sqlite" in request.param:
        path = str(tmp_path / "elsewhere.db")
        held: Any = (
            sqlite3.connect(path) if request.param == "sqlite3" else orm.Session(sa.create_engine(f"sqlite:///{path}"))
        )
        yield held, path
    else:
        url = request.getfixturevalue("postgresql_server").url("postgres")
        engine = sa.create_engine(url.replace("://", "+psycopg2://"))
        held = psycopg.connect(url) if request.param == "psycopg" else orm.Session(engine)
        yield held, "/postgres"
    held.close()
    if isinstance(held, orm.Session):
        held.get_bind().dispose()


def test_a_database_without_a_ledger_is_named_with_the_remedy(stranger: tuple[Any, str]):
    held, name = stranger
    with using(held), pytest.raises(SchemaError) as raised:
        send("a")
    assert name in str(raised.value)
    assert "mirepoix --app YOUR_APP migrate" in str(raised.value)
    assert raised.value.__cause__ is not None


def test_an_sqlite_transaction_survives_the_lack_of_a_ledger(tmp_path: Path):
    with callers.sqlite3_legacy(f"sqlite:///{tmp_path / 'elsewhere.db'}") as caller:
        caller.held.execute("CREATE TABLE mine (word text)")
        caller.insert("a")
        with using(caller.held), pytest.raises(SchemaError):
            send("a")
        caller.commit()
        assert len(caller.held.execute("SELECT * FROM mine").fetchall()) == 1


def test_other_errors_of_the_database_are_not_called_a_missing_ledger(sqlite_url: str):
    with callers.sqlite3_legacy(sqlite_url) as caller, using(caller.held), pytest.raises(sqlite3.IntegrityError):
        ambient.current().add([envelope("a", body=None)])  # type: ignore[union-attr, arg-type]


def test_a_session_with_several_databases_and_no_default_names_the_remedy(sqlite_url: str):
    with orm.Session(binds={}) as session, pytest.raises(ConfigurationError, match="bind_arguments"):
        using(session).__enter__()


def test_a_database_that_no_ledger_speaks_is_refused():
    engine = sa.create_engine("sqlite://")
    engine.dialect.name = "mssql"  # no driver for a real one is installed
    with orm.Session(engine) as session, pytest.raises(UnsupportedDatabase, match="mssql"):
        using(session).__enter__()


@pytest.mark.parametrize("thing", [object(), "sqlite:///file.db", None])
def test_what_is_no_transaction_is_refused_with_the_list_of_what_is(thing: Any):
    with pytest.raises(ConfigurationError, match=r"cannot join a .*Session or Connection"):
        using(thing).__enter__()
    assert ambient.current() is None


def test_an_id_that_came_after_the_callers_snapshot_is_known_all_the_same(mariadb_url: str):
    with callers.pymysql_plain(mariadb_url) as caller, Ledger(source_for(mariadb_url)) as books:
        caller.held.cursor().execute("SELECT * FROM mirepoix_task")  # REPEATABLE READ: what it sees begins here
        books.send("t")
        with using(caller.held):
            send("t", "new")
        caller.commit()
        assert books.states() == {"t": "pending", "new": "pending"}
