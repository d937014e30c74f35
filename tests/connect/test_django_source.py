"""A ledger in Django's database: tasks belong to Django's own transaction, on Django's own connection."""

# ruff: noqa: PT012 (what happens inside of a transaction until it is left is the subject)

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django.db
import psycopg
import pymysql
import pytest
from django.db import connections, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from psycopg.conninfo import conninfo_to_dict

import django_site
from driver import Ledger, envelope
from mirepoix.celery import capture
from mirepoix.celery.installation import Installation
from mirepoix.connect.django import DjangoSource
from mirepoix.connect.sqlite3 import SqliteSource
from mirepoix.connect.url import source_for
from mirepoix.errors import ConfigurationError, SchemaError, UnsupportedDatabase


class Boom(Exception):
    """What a caller raises."""


class Site:
    """Django with its ledger in ``default``, and a database ``other`` without one."""

    def __init__(self, url: str, other: str) -> None:
        self.url = url
        self.other = other
        self.use()
        self.source = DjangoSource("default")
        self.books = Ledger(source_for(url))
        self.books.write("CREATE TABLE mine (word text)")

    def use(self, **more: Any) -> None:
        django_site.use(default=django_site.database(self.url, **more), other=django_site.database(self.other))

    def send(self, *task_ids: str) -> None:
        """Send tasks by the way every task of Celery takes."""
        capture.write(Installation(None, self.source, {}), [envelope(id) for id in task_ids])

    def insert(self, word: str) -> None:
        with connections["default"].cursor() as cursor:
            cursor.execute("INSERT INTO mine VALUES (%s)", [word])

    @property
    def sent(self) -> set[str]:
        return set(self.books.states())

    @property
    def words(self) -> set[str]:
        return {row[0] for row in self.books.query("SELECT word FROM mine")}


@pytest.fixture
def site(ledger_url: str, tmp_path: Path) -> Iterator[Site]:
    site = Site(ledger_url, f"sqlite:///{tmp_path / 'other.db'}")
    yield site
    site.books.connection.close()
    site.source.close()
    django_site.use()


def test_outside_of_atomic_a_task_is_real_at_once(site: Site):
    site.send("a", "b")
    assert site.sent == {"a", "b"}
    assert not connections["default"].in_atomic_block


def test_the_statement_runs_on_djangos_own_connection(site: Site):
    with CaptureQueriesContext(connections["default"]) as seen:
        site.send("a")
    (only,) = seen.captured_queries  # it commits itself: no BEGIN, no COMMIT
    assert "INSERT INTO mirepoix_task" in only["sql"]


def test_atomic_makes_it_real_when_it_commits_and_not_before(site: Site):
    with transaction.atomic():
        site.insert("a")
        site.send("a")
        if site.source.dialect != "sqlite":
            assert site.sent == set()
    assert site.sent == {"a"}
    assert site.words == {"a"}


def test_atomic_that_rolls_back_leaves_nothing(site: Site):
    with pytest.raises(Boom), transaction.atomic():
        site.insert("a")
        site.send("a")
        raise Boom
    assert site.sent == set()
    assert site.words == set()
    site.send("next")
    assert site.sent == {"next"}


def test_set_rollback_leaves_nothing(site: Site):
    with transaction.atomic():
        site.send("a")
        transaction.set_rollback(True)
    assert site.sent == set()


def test_an_inner_atomic_that_rolls_back_takes_only_its_own_tasks(site: Site):
    with transaction.atomic():
        site.send("outer")
        with pytest.raises(Boom), transaction.atomic():
            site.insert("inner")
            site.send("inner")
            raise Boom
        with transaction.atomic():
            site.send("kept")
        site.send("after")
    assert site.sent == {"outer", "kept", "after"}
    assert site.words == set()


def test_a_savepoint_by_hand_takes_its_tasks_along(site: Site):
    with transaction.atomic():
        site.send("outer")
        savepoint = connections["default"].savepoint()
        site.send("inner")
        connections["default"].savepoint_rollback(savepoint)
    assert site.sent == {"outer"}


def test_a_finished_task_that_is_sent_again_waits_only_if_atomic_commits(site: Site):
    site.books.send("a")
    site.books.cancel("a")
    with pytest.raises(Boom), transaction.atomic():
        site.send("a")
        raise Boom
    assert site.books.states() == {"a": "cancelled"}
    with transaction.atomic():
        site.send("a")
    assert site.books.states() == {"a": "pending"}


def test_odd_characters_and_times_pass_djangos_cursor_unchanged(site: Site):
    body = "[[\"100% %s %(id)s %% :name ::text ?1 'quoted' \\\\n 🧅\"], {}, {}]"
    odd = envelope("a", body=body, eta="2090-01-02T03:04:05.678000+02:00", headers={"%(rows)s": "%d"})
    with transaction.atomic():
        capture.write(Installation(None, site.source, {}), [odd])
    row = site.books.row("a")
    assert row["body"] == body
    assert str(row["due_at"]).startswith("2090-01-02")
    assert str(row["created_at"]).startswith("20")


def test_with_autocommit_off_the_callers_commit_makes_it_real(site: Site):
    transaction.set_autocommit(False)
    site.insert("a")
    site.send("a")
    transaction.rollback()
    site.send("b")
    transaction.commit()
    transaction.set_autocommit(True)
    assert site.sent == {"b"}
    assert site.words == set()


def test_with_autocommit_off_in_the_settings_the_first_statement_may_be_ours(site: Site):
    site.use(AUTOCOMMIT=False)
    site.send("a")
    transaction.rollback()
    site.send("b")
    transaction.commit()
    assert site.sent == {"b"}


def test_another_aliass_transaction_is_not_joined(site: Site):
    with pytest.raises(Boom), transaction.atomic(using="other"):
        site.send("a")
        raise Boom
    assert site.sent == {"a"}


def test_the_ledger_may_be_in_another_alias(site: Site):
    django_site.use(default=django_site.database(site.other), ledger=django_site.database(site.url))
    source = DjangoSource("ledger")
    site.source = source
    with pytest.raises(Boom), transaction.atomic(using="ledger"):
        site.send("a")
        raise Boom
    with transaction.atomic():
        site.send("b")
    assert site.sent == {"b"}


def test_threads_do_not_see_each_others_atomic(site: Site):
    seen: list[Any] = []

    def other_thread() -> None:
        seen.append(site.source.enclosing_transaction())
        if site.source.dialect != "sqlite":  # an open atomic() keeps other writers out of an SQLite file
            site.send("b")
        connections.close_all()

    with pytest.raises(Boom), transaction.atomic():
        site.send("a")
        thread = threading.Thread(target=other_thread)
        thread.start()
        thread.join()
        raise Boom
    assert seen == [None]
    assert site.sent == ({"b"} if site.source.dialect != "sqlite" else set())


def fails(site: Site, task_id: str) -> None:
    site.send(task_id)
    raise Boom


@pytest.mark.parametrize(("path", "expected"), [("atomic", {"fine"}), ("plain", {"fine", "failed"})])
def test_atomic_requests_decide_about_a_views_tasks(site: Site, path: str, expected: set[str]):
    site.use(ATOMIC_REQUESTS=True)
    django_site.views.update(fine=lambda: site.send("fine"), fails=lambda: fails(site, "failed"))
    client = Client(raise_request_exception=False)
    assert client.get(f"/{path}/fine").status_code == 200
    assert client.get(f"/{path}/fails").status_code == 500
    assert site.sent == expected


def test_an_asynchronous_view_sends_in_a_transaction_of_its_own(site: Site):
    django_site.views.update(fine=lambda: site.send("fine"))
    assert Client().get("/async/fine").status_code == 200
    assert site.sent == {"fine"}


def test_a_coroutine_sends_on_a_connection_of_its_own(site: Site):
    async def work() -> None:
        site.send("a")

    asyncio.run(work())
    assert site.sent == {"a"}
    assert connections["default"].connection is None


def test_an_error_inside_atomic_leaves_django_as_usable_as_after_any_other(site: Site):
    with pytest.raises(django.db.IntegrityError), transaction.atomic():
        capture.write(Installation(None, site.source, {}), [envelope("a", body=None)])
    with transaction.atomic():
        site.send("b")
    assert site.sent == {"b"}


def test_a_database_without_a_ledger_is_named_with_the_remedy(site: Site, empty_url: str):
    django_site.use(default=django_site.database(empty_url))
    name = str(connections["default"].settings_dict["NAME"])
    with pytest.raises(SchemaError) as raised, transaction.atomic():
        site.send("a")
    assert name in str(raised.value)
    assert "migrate" in str(raised.value)
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT 1")
    django_site.use()


def test_a_connection_that_the_server_dropped_is_replaced(postgresql_url: str, tmp_path: Path):
    site = Site(postgresql_url, f"sqlite:///{tmp_path / 'other.db'}")
    site.send("a")
    with psycopg.connect(postgresql_url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid = %s",
            [connections["default"].connection.info.backend_pid],
        )
    with pytest.raises(site.source.disconnects):
        site.send("b")
    site.send("c")
    assert site.sent == {"a", "c"}
    site.books.connection.close()
    django_site.use()


def test_what_counts_as_away_are_djangos_errors_and_the_drivers(site: Site):
    drivers = {"postgresql": psycopg, "mysql": pymysql, "sqlite": sqlite3}
    driver = drivers[site.source.dialect].OperationalError
    assert {django.db.OperationalError, django.db.InterfaceError, driver} <= set(site.source.disconnects)


def test_workers_have_connections_of_their_own_to_the_same_database(site: Site):
    site.send("a")
    connection = site.source.open()
    with connection.transaction() as tx:
        assert tx.query("SELECT id FROM mirepoix_task") == [("a",)]
        tx.script("DELETE FROM mirepoix_task")
    connection.close()
    assert site.sent == set()


def test_workers_see_each_others_liveness(site: Site):
    site.books.worker("w1")
    site.books.worker("w2")
    lock = site.source.hold_liveness("w1", site.books.worker_row("w1")["liveness_key"])
    connection = site.source.open()
    assert lock.is_held()
    assert "w1" not in {worker.id for worker in site.source.unheld(connection, "w2")}
    lock.close()
    connection.close()


def test_a_test_runners_renamed_database_is_used_from_then_on(site: Site, tmp_path: Path):
    before = site.source.open()
    before.close()
    django_site.use(default=django_site.database(f"sqlite:///{tmp_path / 'renamed.db'}"))
    source = DjangoSource()
    source.open().close()
    connections["default"].settings_dict["NAME"] = str(tmp_path / "test_renamed.db")
    source.open().close()
    assert (tmp_path / "test_renamed.db").exists()


def test_postgresql_options_reach_our_own_connections(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    with psycopg.connect(postgresql_url, autocommit=True) as admin:
        admin.execute("DROP ROLE IF EXISTS ledger_keeper")
        admin.execute("CREATE ROLE ledger_keeper")
    parts = conninfo_to_dict(postgresql_url)
    service = tmp_path / "services.conf"
    service.write_text("[ours]\n" + "".join(f"{key}={value}\n" for key, value in parts.items()))
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    options = {
        "service": "ours",
        "sslmode": "prefer",
        "assume_role": "ledger_keeper",
        "options": "-c work_mem=12345kB",
        "isolation_level": psycopg.IsolationLevel.SERIALIZABLE,
        "server_side_binding": True,
        "prepare_threshold": 5,
    }
    django_site.use(default={"ENGINE": "django.db.backends.postgresql", "NAME": "", "OPTIONS": options})
    connection = DjangoSource().open()
    with connection.transaction() as tx:
        ((user, memory),) = tx.query("SELECT current_user::text, current_setting('work_mem')")
    connection.close()
    django_site.use()
    with psycopg.connect(postgresql_url, autocommit=True) as admin:
        admin.execute("DROP ROLE ledger_keeper")
    assert (user, memory) == ("ledger_keeper", "12345kB")


def test_a_password_with_quotes_and_backslashes_is_passed_on(monkeypatch: pytest.MonkeyPatch):
    from mirepoix.connect.django import _own_target

    django_site.use(default=django_site.database("postgresql://me@host:5/db", PASSWORD="it's \\ a=b ", PORT="5"))
    assert conninfo_to_dict(_own_target(connections["default"], ""))["password"] == "it's \\ a=b "
    assert "a=b" not in repr(DjangoSource())
    django_site.use()


def test_a_database_in_memory_takes_tasks_and_refuses_workers():
    django_site.use(default=django_site.database("sqlite:///file:memorydb_default?mode=memory&cache=shared"))
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    source = DjangoSource()
    with pytest.raises(Boom), transaction.atomic():
        capture.write(Installation(None, source, {}), [envelope("a")])
        raise Boom
    capture.write(Installation(None, source, {}), [envelope("b")])
    with connections["default"].cursor() as cursor:
        assert cursor.execute("SELECT id FROM mirepoix_task").fetchall() == [("b",)]
    with pytest.raises(ConfigurationError, match="TEST"):
        source.open()
    django_site.use()


def test_an_unknown_alias_names_the_setting():
    django_site.use()
    with pytest.raises(ConfigurationError, match="CELERY_MIREPOIX_DJANGO_ALIAS"):
        _ = DjangoSource("nowhere").dialect


def test_an_engine_that_no_ledger_speaks_is_refused():
    django_site.use(default={"ENGINE": "django.db.backends.dummy"})
    source = DjangoSource()
    with pytest.raises(UnsupportedDatabase, match="dummy"):
        _ = source.dialect
    with pytest.raises(UnsupportedDatabase, match="dummy"):
        source.open()
    django_site.use()


def test_it_can_be_copied_with_the_celery_configuration(site: Site):
    site.source.open().close()
    for twin in (copy.deepcopy(site.source), pickle.loads(pickle.dumps(site.source))):
        assert twin.alias == "default"
        twin.open().close()
        twin.close()


def test_our_own_source_has_the_same_file_as_django(tmp_path: Path):
    django_site.use(default=django_site.database(f"sqlite:///{tmp_path / 'shop.db'}"))
    own = DjangoSource()._own_source()
    assert isinstance(own, SqliteSource)
    assert own.path == str(tmp_path / "shop.db")
    django_site.use()


def test_making_one_touches_no_settings_and_using_one_without_any_names_the_variable():
    program = """
import os
os.environ.pop("DJANGO_SETTINGS_MODULE", None)
from mirepoix.connect.django import DjangoSource
from mirepoix.errors import ConfigurationError
source = DjangoSource("default")
print(repr(source), source.label)
for use in (lambda: source.dialect, lambda: source.enclosing_transaction(), lambda: source.open()):
    try:
        use()
    except ConfigurationError as error:
        assert "Set DJANGO_SETTINGS_MODULE" in str(error), error
    else:
        raise AssertionError("no error")
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_forked_process_leaves_djangos_connection_to_its_parent(site: Site):
    def connection() -> int:
        with site.source.transaction():
            return id(connections["default"].connection)

    before = connection()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, b"same" if connection() == before else b"another")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 10) == b"another"
    assert connection() == before
    os.close(reading)
    os.close(writing)
