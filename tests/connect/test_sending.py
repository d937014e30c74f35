"""Celery's own ways to send, inside of a caller's transaction: everything they send has its fate, together."""

# ruff: noqa: PT012 (what happens inside of a transaction until it is left is the subject)

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import callers
import pytest
import sqlalchemy as sa
from celery import Celery, chain, chord, group
from django.db import transaction
from sqlalchemy import orm
from sqlalchemy.ext import asyncio as sa_asyncio
from test_django_app import Project

import django_site
import mirepoix
from driver import Ledger
from mirepoix.connect.url import source_for


class Boom(Exception):
    """What a caller raises."""


def app_with(url: str | None) -> Any:
    # A chord needs a result backend; the ledger brings none yet.
    app = Celery("shop", set_as_current=False, broker="amqp://nobody@127.0.0.1:1//", backend="cache+memory://")
    mirepoix.install(app, url)

    @app.task(name="shop.add", shared=False)
    def add(*numbers: int) -> int:
        return sum(numbers)

    app.add = add
    return app


def by_delay(app: Any) -> None:
    app.add.delay(1, 2)


def by_send_task(app: Any) -> None:
    app.send_task("shop.add", args=(1, 2))


def by_group(app: Any) -> None:
    group(app.add.s(n) for n in range(3)).apply_async()


def by_chain(app: Any) -> None:
    chain(app.add.s(1), app.add.s(2), app.add.s(3)).apply_async()


def by_chord(app: Any) -> None:
    chord([app.add.s(1), app.add.s(2)], app.add.s(3)).apply_async()


def by_bulk(app: Any) -> None:
    mirepoix.bulk(app.add, [(n,) for n in range(2_500)])


WAYS = [(by_delay, 1), (by_send_task, 1), (by_group, 3), (by_chain, 1), (by_chord, 2), (by_bulk, 2_500)]
"""Each with how many tasks it sends at once."""


@pytest.fixture(params=WAYS, ids=lambda way: way[0].__name__)
def way(request: pytest.FixtureRequest) -> tuple[Callable[[Any], None], int]:
    return request.param


@pytest.fixture
def books(ledger_url: str) -> Iterator[Ledger]:
    with Ledger(source_for(ledger_url)) as ledger:
        yield ledger


@pytest.fixture
def engine(ledger_url: str) -> Iterator[sa.Engine]:
    url = ledger_url.replace("postgresql:", "postgresql+psycopg:").replace("mysql:", "mysql+pymysql:")
    with callers._engine(url) as engine:
        yield engine


def test_a_session_decides_about_all_of_it(ledger_url: str, books: Ledger, engine: sa.Engine, way: Any):
    send, count = way
    app = app_with(ledger_url)
    with orm.Session(engine) as session:
        with pytest.raises(Boom), session.begin(), mirepoix.using(session):
            send(app)
            raise Boom
        assert books.states() == {}
        with session.begin(), mirepoix.using(session):
            send(app)
    assert len(books.states()) == count


def test_an_async_session_decides_about_all_of_it(ledger_url: str, books: Ledger, way: Any):
    send, count = way
    app = app_with(ledger_url)

    async def main() -> None:
        url = ledger_url.replace("postgresql:", "postgresql+asyncpg:").replace("sqlite:", "sqlite+aiosqlite:")
        url = url.replace("mysql:", "mysql+aiomysql:")
        engine = sa_asyncio.create_async_engine(url)
        async with sa_asyncio.AsyncSession(engine) as session:
            with pytest.raises(Boom):
                async with session.begin(), mirepoix.using(session):
                    send(app)
                    raise Boom
            async with session.begin(), mirepoix.using(session):
                send(app)
        await engine.dispose()

    asyncio.run(main())
    assert len(books.states()) == count


def test_atomic_decides_about_all_of_it(ledger_url: str, books: Ledger, way: Any, monkeypatch: pytest.MonkeyPatch):
    send, count = way
    django_site.use(default=django_site.database(ledger_url))
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "django_site")
    app = app_with(None)
    with pytest.raises(Boom), transaction.atomic():
        send(app)
        raise Boom
    assert books.states() == {}
    with transaction.atomic():
        send(app)
    assert len(books.states()) == count
    django_site.use()


SHOP = {
    "shop/__init__.py": "from shop.celery import app\n",
    "shop/celery.py": """
import os
import mirepoix
from celery import Celery
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop_settings")
app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
mirepoix.install(app)
app.autodiscover_tasks()
""",
    "shop/tasks.py": """
from celery import shared_task

@shared_task
def pay(order):
    return order
""",
    "shop/tests.py": """
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase
from shop.tasks import pay

def count():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM mirepoix_task")
        return cursor.fetchone()[0]

class Rolled(TestCase):
    def test_one(self):
        assert connection.settings_dict["NAME"] != "never"
        pay.delay(1)
        assert count() == 1

    def test_two(self):
        assert count() == 0
        pay.delay(2)
        assert count() == 1

class Committed(TransactionTestCase):
    def test_atomic(self):
        try:
            with transaction.atomic():
                pay.delay(1)
                raise KeyError
        except KeyError:
            pass
        assert count() == 0
        with transaction.atomic():
            pay.delay(1)
        assert count() == 1
""",
}


def test_a_projects_own_tests_run_as_ever(tmp_path: Path, empty_url: str):
    for name, text in SHOP.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    project = Project(tmp_path)
    project.write(INSTALLED_APPS=["mirepoix.django", "shop"], DATABASES={"default": django_site.database(empty_url)})
    project.manage("test", "--no-input")
