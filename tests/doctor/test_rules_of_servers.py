"""The rules about brokers and databases, on real servers that are set up wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from redis import Redis

import mirepoix
from brokers import RedisServer
from driver import Ledger
from mirepoix.connect.url import source_for
from mirepoix.doctor import database, examine, servers
from mirepoix.doctor.database import file_system
from mirepoix.doctor.facts import Facts
from mirepoix.doctor.rules import RULES
from pgbouncer import Pgbouncer
from servers import PostgresServer

FAST = {"MD304", "MD305"}
"""The tests' own servers do not flush their logs."""


def found(app: Any) -> dict[str, str]:
    facts = examine.facts_of(app)
    return {finding.code: finding.evidence for finding in examine.findings(facts) if finding.code[2] in "23"}


@pytest.fixture
def shop(redis: RedisServer) -> Any:
    return Celery("shop", set_as_current=False, broker=redis.url)


@contextmanager
def configured(redis: RedisServer, **settings: Any) -> Iterator[None]:
    with Redis.from_url(redis.url) as client:
        before = {name: client.config_get(name)[name] for name in settings}
        try:
            for name, value in settings.items():
                client.config_set(name, value)
            yield
        finally:
            for name, value in before.items():
                client.config_set(name, value)


@pytest.mark.parametrize(
    ("code", "settings"),
    [
        ("MD202", {"maxmemory": "1gb", "maxmemory-policy": "allkeys-lru"}),
        ("MD205", {"maxmemory": "900kb"}),
        ("MD206", {"timeout": 30}),
        ("MD207", {"appendfsync": "no"}),
        ("MD203", {"appendonly": "no"}),
        ("MD204", {"appendonly": "no", "save": "900 1"}),
    ],
    ids=str,
)
def test_redis(redis: RedisServer, shop: Any, code: str, settings: dict[str, Any]):
    with configured(redis, appendonly="yes"):
        assert found(shop) == {}
        with configured(redis, **settings):
            assert set(found(shop)) == {code}


def test_with_a_ledger_redis_may_forget(redis: RedisServer, shop: Any, sqlite_url: str):
    mirepoix.install(shop, sqlite_url, delivery="broker")
    assert found(shop) == {}


def test_a_broker_that_does_not_answer_is_named_without_its_password():
    shop = Celery("shop", set_as_current=False, broker="redis://:secret@127.0.0.1:1/0")
    evidence = found(shop)["MD201"]
    assert "127.0.0.1:1" in evidence
    assert "secret" not in evidence


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("amqp://u:hunt#er2@127.0.0.1:1", "encode # / ? @ in its password"),
        ("redis://:12/hunter2@127.0.0.1:1/0", "encode # / ? @ in its password"),
        ("nothing://u:hunter2@127.0.0.1:1", "KeyError"),
        ("rediss://:hunter2@127.0.0.1:1/0?ssl_cert_reqs=sometimes", "KeyError"),
    ],
    ids=lambda text: text.partition(":")[0],
)
def test_a_broker_url_that_cannot_be_read_does_not_answer(url: str, words: str):
    result = found(Celery("shop", set_as_current=False, broker=url))
    assert set(result) == {"MD201"}
    assert "hunt" not in str(result)
    assert words in result["MD201"]


@pytest.fixture
def app(ledger_url: str) -> Iterator[Any]:
    app = Celery("shop", set_as_current=False)
    mirepoix.install(app, ledger_url, look_at_broker=False)
    yield app
    app.mirepoix.source.close()


def test_in_a_ledger_as_it_should_be_nothing_is_found(app: Any):
    assert set(found(app)) <= FAST


def test_servers_that_lose_commits_are_found(postgresql_url: str):
    """The tests' PostgreSQL does not flush; the second setting is a role's or a database's own."""
    app = Celery("shop", set_as_current=False)
    name = postgresql_url.rpartition("/")[2]
    with Ledger(source_for(postgresql_url)) as ledger:
        ledger.write(f"ALTER DATABASE {name} SET synchronous_commit = off")
        ledger.write("ALTER TABLE mirepoix_task SET (autovacuum_enabled = false)")
    mirepoix.install(app, postgresql_url)
    result = found(app)
    assert result["MD304"].endswith(" is off")
    assert result["MD305"] == "synchronous_commit is off"
    assert result["MD306"] == "autovacuum_enabled is false for mirepoix_task"
    app.mirepoix.source.close()


def test_tables_that_are_not_there_are_found(empty_url: str):
    app = Celery("shop", set_as_current=False)
    mirepoix.install(app, empty_url)
    assert set(found(app)) - FAST == (set() if empty_url.startswith("sqlite") else {"MD302"}), "SQLite needs no set-up"
    app.mirepoix.source.close()


def test_a_database_that_does_not_answer_is_found():
    app = Celery("shop", set_as_current=False)
    mirepoix.install(app, "postgresql://shop:secret@127.0.0.1:1/shop")
    evidence = found(app)["MD301"]
    assert "127.0.0.1" in evidence
    assert "secret" not in evidence


def test_a_full_server_and_an_old_transaction_are_found(
    postgresql_server: PostgresServer, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
):
    app = Celery("shop", set_as_current=False)
    mirepoix.install(app, postgresql_url)
    monkeypatch.setattr(servers, "FULL", 0.01)
    monkeypatch.setattr(servers, "OLDEST_TRANSACTION_S", 0.0)
    with postgresql_server.connected() as other:
        other.execute("BEGIN")
        result = found(app)
    assert "connections are used" in result["MD309"]
    assert "has had a transaction open" in result["MD308"]
    app.mirepoix.source.close()


def test_workers_of_several_hosts_and_versions_are_found(sqlite_url: str):
    app = Celery("shop", set_as_current=False)
    mirepoix.install(app, sqlite_url)
    with Ledger(app.mirepoix.source) as ledger:
        ledger.worker("one")
        ledger.worker("two")
        ledger.write("UPDATE mirepoix_worker SET host = id, software = json_object('celery', '5.' || id)")
    assert found(app) == {"MD311": "workers of one, two", "MD313": "celery 5.one, celery 5.two"}
    app.mirepoix.source.close()


def test_a_payload_that_fits_into_no_packet_is_found(mariadb_url: str):
    app = Celery("shop", set_as_current=False)
    mirepoix.install(app, mariadb_url, payload_limit_bytes=2_000_000_000)
    assert "max_allowed_packet" in found(app)["MD312"]
    app.mirepoix.source.close()


def test_bloat_is_found(postgresql_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(servers, "MOST_DEAD_ROWS", 3)
    app = Celery("shop", set_as_current=False)
    mirepoix.install(app, postgresql_url)
    with Ledger(app.mirepoix.source) as ledger:
        for number in range(4):
            ledger.send(f"t{number}")
        ledger.write("DELETE FROM mirepoix_task")
        ledger.query("SELECT pg_stat_force_next_flush()") if _has_flush(ledger) else None
    app.mirepoix.source.close()
    evidence = found(app)["MD307"]
    assert evidence.startswith("mirepoix_task has 4 dead rows")


def _has_flush(ledger: Ledger) -> bool:
    return ledger.query("SELECT count(*) FROM pg_proc WHERE proname = 'pg_stat_force_next_flush'") == [(1,)]


def test_a_clock_that_is_wrong_is_found(postgresql_url: str, monkeypatch: pytest.MonkeyPatch):
    """This host's clock is put back a minute; the database's is right."""
    right = database.time.time
    app = Celery("shop", set_as_current=False)
    mirepoix.install(app, postgresql_url)
    monkeypatch.setattr(database.time, "time", lambda: right() - 60)
    assert found(app)["MD310"] == "the database is 60.0 s ahead"
    app.mirepoix.source.close()


def test_a_network_file_system_is_found(sqlite_url: str, monkeypatch: pytest.MonkeyPatch):
    assert file_system(Path("/proc/self/status")) == "proc"
    app = Celery("shop", set_as_current=False)
    mirepoix.install(app, sqlite_url)
    monkeypatch.setattr(database, "file_system", lambda _: "nfs4")
    assert "is on nfs4" in found(app)["MD311"]
    app.mirepoix.source.close()


def test_a_pooler_that_gives_away_sessions_is_found(postgresql_url: str):
    with Pgbouncer(postgresql_url, "transaction") as pooler:
        app = Celery("shop", set_as_current=False)
        mirepoix.install(app, pooler.url)
        assert "worker_url" in found(app)["MD303"]
        app.mirepoix.source.close()


def test_every_rule_about_servers_is_planted_here():
    text = Path(__file__).read_text()
    codes = {code for code, rule in RULES.items() if rule.look.__module__.endswith("servers")}
    assert {code for code in codes if code not in text} == set()
    assert Facts(Celery(set_as_current=False)).broker is None
