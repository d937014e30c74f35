"""Steps of a task whose ledger is in Django's database, done while the task has a transaction open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction

import django_site
import mirepoix
from driver import Ledger
from mirepoix.celery import context
from mirepoix.celery.context import Attempt
from mirepoix.config import Settings
from mirepoix.connect.django import DjangoSource
from mirepoix.connect.url import source_for


class Boom(Exception):
    """What a task raises."""


@pytest.fixture
def books(ledger_url: str, tmp_path: Path) -> Iterator[Ledger]:
    """The ledger as another process sees it. Around the test, an attempt of task ``t`` runs."""
    django_site.use(default=django_site.database(ledger_url))
    with Ledger(source_for(ledger_url)) as books:
        books.worker("w1")
        books.send("t")
        installation: Any = SimpleNamespace(source=DjangoSource("default"), settings=Settings())
        with context.running(Attempt(books.lease("w1"), "shop.pay", installation=installation)):
            yield books
        installation.source.close()
    django_site.use()


def kept(books: Ledger) -> list[str]:
    return [row[0] for row in books.query("SELECT name FROM mirepoix_step ORDER BY name")]


def test_a_step_is_kept_although_the_tasks_transaction_is_rolled_back(books: Ledger):
    with pytest.raises(Boom), transaction.atomic():  # noqa: PT012 (what happens in it is the subject)
        mirepoix.step("charge", int, 1)
        # On SQLite nobody else could write before this transaction ends: the step is part of it.
        assert books.source.dialect == "sqlite" or kept(books) == ["charge"]
        raise Boom
    assert kept(books) == ([] if books.source.dialect == "sqlite" else ["charge"])


def test_it_is_kept_with_a_transaction_that_commits(books: Ledger):
    with transaction.atomic():
        mirepoix.step("outer", int, 1)
        with pytest.raises(Boom), transaction.atomic():  # noqa: PT012
            mirepoix.step("inner", int, 1)
            raise Boom
    assert kept(books) == (["outer"] if books.source.dialect == "sqlite" else ["inner", "outer"])


def test_outside_of_one_djangos_connection_is_not_used(books: Ledger):
    mirepoix.step("charge", int, 1)
    assert kept(books) == ["charge"]
    assert connections["default"].connection is None


def test_in_a_broken_transaction_a_step_is_kept_where_it_can_be(books: Ledger):
    if books.source.dialect == "sqlite":
        pytest.skip("the step is part of the transaction")
    with transaction.atomic():
        with pytest.raises(DatabaseError), connections["default"].cursor() as cursor:
            cursor.execute("SELECT nothing")
        mirepoix.step("charge", int, 1)
        transaction.set_rollback(True)
    assert kept(books) == ["charge"]


def test_coroutines_keep_their_steps_without_djangos_connection(books: Ledger):
    async def fetch(value: int) -> int:
        return value

    async def run() -> None:
        assert await mirepoix.step("one", fetch, 1) == 1
        assert await asyncio.to_thread(mirepoix.step, "two", int, 2) == 2

    asyncio.run(run())
    assert kept(books) == ["one", "two"]
