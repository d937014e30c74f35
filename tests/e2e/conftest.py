"""A shop for each test, or one with a running worker for a whole module: real processes on a fresh ledger."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from workers import POOLS, Process, Shop

from driver import migrate_ledger
from servers import run_mariadb

OTHER_POOLS = frozenset(POOLS) - {"prefork"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out on MariaDB what it has in common with the others: a pool cares little for the database.

    What is tested in several pools is tested in the prefork one there.
    """
    left_out = [item for item in items if _is_another_pool_on_mariadb(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]


def _is_another_pool_on_mariadb(item: pytest.Item) -> bool:
    params = getattr(item, "callspec", None)
    if params is None or item.path.parent != Path(__file__).parent:
        return False
    words = set(params.id.split("-"))
    return "mariadb" in words and bool(words & OTHER_POOLS)


SHARED = [*((database, pool) for pool in POOLS for database in ("sqlite", "postgresql")), ("mariadb", "prefork")]
"""On MariaDB the tests of the shared worker run in one pool."""


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
        shop.keeper = shop.worker("w1", "-E", "--include", "validated", pool=pool, max_handovers=3)
        yield shop
        assert shop.keeper.is_running, shop.keeper.said
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
def keeper(open_shop: Shop) -> Process:
    """The shared worker."""
    return open_shop.keeper


def _shared_ledger(request: pytest.FixtureRequest, database: str, folder: Path) -> str:
    if database == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_template"), folder / "ledger.db")
        return f"sqlite:///{folder / 'ledger.db'}"
    name = folder.name.replace("-", "_")
    if database == "mariadb":
        server = request.getfixturevalue("mariadb_server")
        server.start()
        run_mariadb(server, f"CREATE DATABASE {name}")
        migrate_ledger(server.url(name))
        return str(server.url(name))
    import psycopg

    server = request.getfixturevalue("postgresql_server")
    server.start()
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE mirepoix_template")
    return server.url(name)
