"""Settings of the server, the database or the role that the ledger's statements must not depend on."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal

from driver import Ledger, migrate_ledger, moment
from mirepoix.connect.url import source_for
from mirepoix.errors import ConfigurationError
from mirepoix.records import AttemptFailure
from pace import until
from servers import MariadbServer, PostgresServer, run_mariadb

POSTGRESQL = {
    "DateStyle": ("SQL, DMY", "ISO, DMY"),
    "TimeZone": ("Asia/Kathmandu", "UTC"),
    "default_transaction_isolation": ("serializable", "read committed"),
    "statement_timeout": ("1min", "0"),
    "lock_timeout": ("1min", "0"),
    "idle_session_timeout": ("1min", "0"),
    "idle_in_transaction_session_timeout": ("1min", "10s"),
}
"""What is the default of a database here, and what our own connections have nevertheless."""

MARIADB = {
    "sql_safe_updates": (1, 0),
    "sql_select_limit": (1, 2**64 - 1),
    "max_join_size": (1, 2**64 - 1),
    "sql_big_selects": (0, 1),
    "completion_type": ("CHAIN", "NO_CHAIN"),
    "max_statement_time": (60, 0),
    "tx_isolation": ("SERIALIZABLE", "READ-COMMITTED"),
}
"""The same, for a whole server."""


def drive(ledger: Ledger) -> None:
    """Take, retry, fail and give back, many at a time, and look at it."""
    ledger.send(*"abcdef", name="shop.füllen")
    ledger.worker("w1")
    leases = {one.lease.task_id: one.lease for one in ledger.take("w1")}
    assert sorted(leases) == [*"abcdef"]
    assert [ledger.start(leases[id]) for id in "ab"] == [{"a"}, {"b"}]
    assert ledger.fail(leases["a"], AttemptFailure("nichts übrig", "ValueError", "Traceback: Zeile 1, füllen"))
    assert ledger.retry(leases["b"])
    assert ledger.succeed(leases["c"])
    assert ledger.lose(leases["d"]) is not None
    assert ledger.give_back("w1") == 2
    (attempt,) = ledger.history("a")
    assert (attempt["outcome"], attempt["error"]) == ("failed", "nichts übrig")
    assert moment(attempt["started_at"]) is not None
    assert len(ledger.states()) == 6
    assert ledger.die("w1")


@pytest.fixture
def encoded_url(postgresql_server: PostgresServer) -> Iterator[str]:
    """A database that does not know how its texts are encoded."""
    with psycopg.connect(postgresql_server.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE sql_ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
        yield postgresql_server.url("sql_ascii")
        connection.execute("DROP DATABASE sql_ascii WITH (FORCE)")


def test_a_database_with_defaults_of_its_own(postgresql_url: str):
    name = postgresql_url.rpartition("/")[2]
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        for setting, (default, _) in POSTGRESQL.items():
            connection.execute(
                SQL("ALTER DATABASE {} SET {} = {}").format(Identifier(name), Identifier(setting), Literal(default))
            )
    source = source_for(postgresql_url)
    with Ledger(source) as ledger:
        drive(ledger)
        own = {setting: ledger.query(f"SHOW {setting}")[0][0] for setting in POSTGRESQL}
        assert own == {setting: ours for setting, (_, ours) in POSTGRESQL.items()}
    source.close()


def test_a_server_with_defaults_of_its_own(mariadb_server: MariadbServer, mariadb_url: str):
    try:
        for setting, (default, _) in MARIADB.items():
            run_mariadb(mariadb_server, f"SET GLOBAL {setting} = {default!r}")
        source = source_for(mariadb_url)
        with Ledger(source) as ledger:
            drive(ledger)
            own = {setting: ledger.query(f"SELECT @@SESSION.{setting}")[0][0] for setting in MARIADB}
            assert own == {setting: ours for setting, (_, ours) in MARIADB.items()}
        source.close()
    finally:
        for setting in MARIADB:
            run_mariadb(mariadb_server, f"SET GLOBAL {setting} = DEFAULT")


def test_a_database_that_cannot_hold_every_text_is_refused(encoded_url: str):
    with pytest.raises(ConfigurationError, match=r"has the encoding SQL_ASCII.*needs UTF8"):
        migrate_ledger(encoded_url)


def test_a_server_that_is_refused_keeps_no_session(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirepoix.connect.psycopg.OLDEST", 990_000)
    with pytest.raises(ConfigurationError, match="the ledger needs 13 or newer") as refused:
        source_for(postgresql_url).open()
    with psycopg.connect(postgresql_url, application_name="the test") as connection:
        sessions = "SELECT application_name FROM pg_stat_activity WHERE datname = current_database()"
        until(lambda: connection.execute(sessions).fetchall() == [("the test",)], f"no session: {refused.value}")
