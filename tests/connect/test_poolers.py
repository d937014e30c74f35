"""Behind a pooler that shares sessions out: senders leave nothing in them, and workers refuse to work."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa
from celery import Celery
from celery.exceptions import TimeoutError as NotReady
from click.testing import CliRunner
from django.db import transaction
from sqlalchemy.orm import Session

import django_site
import mirepoix
from cable import Cable
from driver import Ledger, envelope
from mirepoix.celery import capture
from mirepoix.celery.installation import Installation
from mirepoix.celery.worker_process import WorkerProcess
from mirepoix.cli.main import mirepoix as command
from mirepoix.connect.django import DjangoSource
from mirepoix.connect.url import source_for
from mirepoix.errors import ConfigurationError, SessionsNotKept
from pgbouncer import Pgbouncer

SIZE = 2
SENT = 7
"""More often than psycopg runs a statement before it prepares it."""


@pytest.fixture
def pooler(postgresql_url: str) -> Iterator[Pgbouncer]:
    with Pgbouncer(postgresql_url, size=SIZE) as pooler:
        yield pooler


@pytest.fixture
def books(postgresql_url: str) -> Iterator[Ledger]:
    with Ledger(source_for(postgresql_url)) as ledger:
        yield ledger
        ledger.source.close()


@pytest.fixture
def app(pooler: Pgbouncer) -> Iterator[Celery]:
    app = Celery("sender", broker="memory://", set_as_current=False)
    mirepoix.install(app, pooler.url)
    yield app
    app.mirepoix.source.close()
    app.close()


SETTINGS = ("idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout", "DateStyle")


def left_in_sessions(pooler: Pgbouncer, url: str) -> list[object]:
    """What differs in the sessions that the pooler shares out from what a new session has."""
    asked = ", ".join(f"current_setting('{name}')" for name in SETTINGS)
    sql = (
        f"SELECT {asked}, (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_listening_channels())"
    )
    with psycopg.connect(url) as direct:
        new = direct.execute(sql).fetchone()
    held = [psycopg.connect(pooler.url, prepare_threshold=None) for _ in range(SIZE)]
    found = [one.execute(sql).fetchone() for one in held]  # each holds one, as their transactions are open
    for one in held:
        one.close()
    return [one for one in found if one != new]


def test_delay_leaves_nothing_in_the_sessions_of_others(app, pooler, books, postgresql_url):
    ids = [app.send_task("shop.pay").id for _ in range(SENT)]
    ids += [app.send_task("shop.pay", countdown=60).id for _ in range(SENT)]
    with mirepoix.bulk(app) if False else app.mirepoix.source.transaction() as tx:
        assert tx.query("SELECT current_setting('idle_in_transaction_session_timeout')") == [("10s",)]
    assert set(books.states()) == set(ids)
    assert not left_in_sessions(pooler, postgresql_url)


def test_results_are_waited_for_and_workers_asked_through_a_pooler(app, pooler, books, postgresql_url):
    sent = app.send_task("shop.pay")
    with pytest.raises(NotReady):
        sent.get(timeout=0.3)
    assert app.control.ping(timeout=0.1) == []
    assert not left_in_sessions(pooler, postgresql_url)


def test_the_callers_own_connection_prepares_nothing_of_ours(app, pooler, books, postgresql_url):
    sent = []
    for _ in range(SENT):
        with psycopg.connect(pooler.url) as connection, mirepoix.using(connection):
            sent.append(app.send_task("shop.pay").id)
    with psycopg.connect(pooler.url) as connection:
        for _ in range(SENT):
            with mirepoix.using(connection):
                sent.append(app.send_task("shop.pay").id)
            connection.commit()
    engine = sa.create_engine(
        pooler.url.replace("://", "+psycopg://"), connect_args={"prepare_threshold": None}, poolclass=sa.NullPool
    )
    for _ in range(SENT):
        with Session(engine) as session, session.begin(), mirepoix.using(session):
            sent.append(app.send_task("shop.pay").id)
    engine.dispose()
    assert set(books.states()) == set(sent)
    assert not left_in_sessions(pooler, postgresql_url)


def test_django_sends_through_a_pooler(pooler, books, postgresql_url):
    django_site.use(default=django_site.database(pooler.url))
    installation = Installation(None, DjangoSource("default"), {})
    for n in range(SENT):
        capture.write(installation, [envelope(f"alone{n}")])
        with transaction.atomic():
            capture.write(installation, [envelope(f"joined{n}")])
    assert len(books.states()) == 2 * SENT
    installation.source.close()
    django_site.use()
    assert not left_in_sessions(pooler, postgresql_url)


def test_the_command_line_works_through_a_pooler(pooler, books, postgresql_url):
    books.worker("w1")
    books.send("a")
    for words in ("migrate", "health", "status", "tasks", "cancel a"):
        said = CliRunner().invoke(command, ["--ledger", pooler.url, *words.split()], env={"MIREPOIX_APP": None})
        assert said.exit_code == 0, said.output
    assert books.state("a") == "cancelled"
    assert not left_in_sessions(pooler, postgresql_url)


def test_defaults_of_the_database_matter_no_more_through_a_pooler(postgresql_url, books):
    name = postgresql_url.rpartition("/")[2]
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        for setting, value in (("default_transaction_isolation", "serializable"), ("DateStyle", "SQL, DMY")):
            connection.execute(f"ALTER DATABASE {name} SET {setting} = '{value}'")
    with Pgbouncer(postgresql_url) as pooler:
        source = source_for(pooler.url)
        with source.statement() as tx:
            assert tx.query("SELECT current_setting('transaction_isolation')") == [("read committed",)]
        with Ledger(source) as ledger:
            ledger.send("a", eta="2999-02-01T00:00:00+00:00")
            assert ledger.row("a")["eta"].month == 2
            with ledger.connection.statements() as tx:
                assert tx.query("SELECT current_setting('DateStyle')") == [("ISO, DMY",)]
        source.close()


# Workers


@pytest.mark.parametrize(
    "options",
    [{}, {"size": 1}, {"round_robin": True}, {"pool_mode": "statement"}],
    ids=["newest first", "one session", "in turn", "each statement"],
)
def test_a_worker_sees_that_its_sessions_are_not_its_own(postgresql_url: str, options):
    with Pgbouncer(postgresql_url, **options) as pooler:
        others = [psycopg.connect(pooler.url, autocommit=True) for _ in range(2)]
        for one in others:
            one.execute("SELECT 1")
        with pytest.raises(SessionsNotKept, match="mirepoix_worker_url"):
            source_for(pooler.url).require_sessions()
        for one in others:
            one.close()


def test_a_worker_is_content_with_sessions_of_its_own(postgresql_url: str):
    with Pgbouncer(postgresql_url, "session") as pooler, Cable(postgresql_url) as cable:
        for url in (postgresql_url, pooler.url, cable.url):
            source_for(url).require_sessions()
    with Pgbouncer(postgresql_url, "session", size=1) as pooler:
        source_for(pooler.url).require_sessions()


def test_another_database_is_no_url_for_workers(postgresql_url: str, sqlite_url: str):
    app = Celery("worker", broker="memory://", set_as_current=False)
    mirepoix.install(app, postgresql_url, worker_url="mysql://u:s3cret@db/shop")
    begin = {"pool": "solo", "is_forking": False, "concurrency": 1, "queues": ("celery",)}
    with pytest.raises(ConfigurationError, match="must be the same database") as refused:
        WorkerProcess.begin(app.mirepoix, "w1", **begin)
    assert "s3cret" not in str(refused.value)
    app.close()
