"""A shop for each database, the tasks of ``django.tasks``, and the end-to-end tests' way to start processes."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest
from celery import _state
from django.core.management import call_command
from django.db import connections
from shop import Shop

import django_site
from databases import DATABASES, TEMPLATE, mariadb_database, postgresql_database
from servers import MariadbServer, MariadbTemplate, PostgresServer

SITE = "site_template"

sys.path.append(str(Path(__file__).parents[1] / "e2e"))  # last: it has a shop.py of its own


def migrate_site(url: str) -> None:
    """Make Django's tables beside the ledger's."""
    django_site.use(default=django_site.database(url))
    call_command("migrate", verbosity=0)
    connections.close_all()
    django_site.use()


@pytest.fixture(scope="session")
def sqlite_site(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One SQLite file with the tables of a site, to copy."""
    path = Path(shutil.copy(sqlite_template, tmp_path_factory.mktemp("site") / "site.db"))
    migrate_site(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgresql_site(postgresql_server: PostgresServer) -> str:
    """The name of a database in PostgreSQL with the tables of a site, to copy."""
    with postgresql_server.connected() as connection:
        connection.execute(f"CREATE DATABASE {SITE} TEMPLATE {TEMPLATE}")
    migrate_site(postgresql_server.url(SITE))
    return SITE


@pytest.fixture(scope="session")
def mariadb_site(mariadb_server: MariadbServer, mariadb_template: MariadbTemplate) -> MariadbTemplate:
    """A database in MariaDB with the tables of a site, to copy."""
    migrate_site(mariadb_template.copy(SITE))
    return MariadbTemplate(mariadb_server, SITE)


@pytest.fixture
def sqlite_site_url(sqlite_site: Path, tmp_path: Path) -> str:
    """A fresh site in SQLite."""
    return f"sqlite:///{shutil.copy(sqlite_site, tmp_path / 'site.db')}"


@pytest.fixture
def postgresql_site_url(postgresql_server: PostgresServer, postgresql_site: str) -> Iterator[str]:
    """A fresh site in PostgreSQL."""
    yield from postgresql_database(postgresql_server, postgresql_site)


@pytest.fixture
def mariadb_site_url(mariadb_server: MariadbServer, mariadb_site: MariadbTemplate) -> Iterator[str]:
    """A fresh site in MariaDB."""
    yield from mariadb_database(mariadb_server, mariadb_site.copy)


@pytest.fixture(params=DATABASES)
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A Django project whose ledger is in its default database, once for each kind of database."""
    shop = Shop(request.getfixturevalue(f"{request.param}_site_url"))
    yield shop
    shop.close()


@pytest.fixture
def jobs(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of tasks, imported anew, for this test's app alone."""
    monkeypatch.setattr(_state, "_apps", WeakSet([shop.app]))
    others = set(_state._on_app_finalizers)
    yield importlib.import_module("jobs")
    _state._on_app_finalizers.intersection_update(others)
    del sys.modules["jobs"]
