"""A shop for each test, or one with a running worker for a whole module: real processes on a fresh ledger."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from workers import POOLS, Process, Shop

from databases import TEMPLATE

SHARED = [
    *((database, pool) for pool in POOLS for database in ("sqlite", "postgresql") if pool != "mirepoix-asyncio"),
    ("postgresql", "mirepoix-asyncio"),
    ("mariadb", "prefork"),
]
"""On MariaDB the tests of the shared worker run in one pool. A pool that runs ``def`` tasks as another does needs one
database."""


@pytest.fixture
def shop(ledger_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A shop on a fresh ledger; what it started is ended, and its broker was never dialled."""
    with Shop(tmp_path / "shop", ledger_url) as shop:
        yield shop
        assert not shop.broker.was_dialled


@pytest.fixture(scope="session", params=SHARED, ids="-".join)
def open_shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop with one worker that many tests share, for each pool and each database."""
    database, pool = request.param
    folder = tmp_path_factory.mktemp(f"{database}-{pool}")
    with Shop(folder / "shop", _shared_ledger(request, database, folder)) as shop:
        shop.pool = pool
        events = () if pool.startswith("mirepoix") else ("-E",)  # for events, that pool takes the way of all others
        shop.steady_worker = shop.worker("w1", *events, "--include", "validated", pool=pool, max_handovers=3)
        yield shop
        assert shop.steady_worker.is_running, shop.steady_worker.said
        assert not shop.broker.was_dialled


@pytest.fixture(scope="session")
def shared_ledger(request: pytest.FixtureRequest) -> Callable[[str, Path], str]:
    """Makes a fresh migrated ledger of that kind, for several tests; the folder is its own."""
    return partial(_shared_ledger, request)


@pytest.fixture
def pool(open_shop: Shop) -> str:
    """The pool of the shared worker."""
    return open_shop.pool


@pytest.fixture
def steady_worker(open_shop: Shop) -> Process:
    """The shared worker."""
    return open_shop.steady_worker


def _shared_ledger(request: pytest.FixtureRequest, database: str, folder: Path) -> str:
    if database == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_template"), folder / "ledger.db")
        return f"sqlite:///{folder / 'ledger.db'}"
    name = folder.name.replace("-", "_")
    if database == "mariadb":
        request.getfixturevalue("mariadb_server").start()
        return str(request.getfixturevalue("mariadb_template").copy(name))
    server = request.getfixturevalue("postgresql_server")
    server.start()
    server.run(f"CREATE DATABASE {name}{server.copy_of(TEMPLATE)}")
    return server.url(name)
