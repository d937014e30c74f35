"""tenant-schemas-celery on django-tenants: each task, and what follows from it, runs for the tenant that sent it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from conftest import Place, until
from servers import PostgresServer, require_postgres

TENANTS = ("blue", "green")
MAKE = """
import django; django.setup()
from customers.models import Customer
for name in ("blue", "green"):
    Customer.objects.create(schema_name=name, name=name)
"""
SEND = """
import tenant_app as site
from celery import chord
from django.db import transaction
from django_tenants.utils import schema_context
for tenant in ("blue", "green"):
    with schema_context(tenant), transaction.atomic():
        site.note.delay(f"plain {tenant}")
        site.note_later.delay(f"child {tenant}")
        site.note_again.delay(f"retried {tenant}")
        chord([site.note.s(f"member {tenant}"), site.note.s(f"member {tenant}")])(site.gather.s())
with schema_context("blue"):
    try:
        with transaction.atomic():
            site.note.delay("rolled back")
            raise ValueError
    except ValueError:
        pass
"""


class TenantSite:
    """The site in a folder of the test's own, and its database."""

    def __init__(self, place: Place, url: str) -> None:
        self.url = url
        self._place = place
        shutil.copytree(Path(__file__).parent / "tenants", place.folder, dirs_exist_ok=True)
        self._env = {
            "DJANGO_SETTINGS_MODULE": "tenant_settings",
            "NEIGHBOURS_POSTGRESQL": url,
            "PYTHONPATH": os.pathsep.join((str(place.folder), str(Path(__file__).parent))),
        }

    def run(self, *command: str, **env: str) -> str:
        """Run a module of Python to its end."""
        return self._place.run(*command, **self._env, **env)

    def worker(self, pool: str) -> Path:
        """Start a worker."""
        return self._place.worker("tenant_app", "-P", pool, **self._env)

    def rows(self, sql: str) -> list[Any]:
        """Return what a statement finds."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL of the tests' own."""
    server = PostgresServer(require_postgres())
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def site(place: Place, server: PostgresServer, request: pytest.FixtureRequest) -> TenantSite:
    """A site with two tenants."""
    name = f"site_{abs(hash(request.node.name))}"
    with server.connected() as connection:
        connection.execute(f"CREATE DATABASE {name}")
    site = TenantSite(place, server.url(name))
    site.run("django", "makemigrations", "-v", "0", "customers", "notes")
    site.run("django", "migrate_schemas", "--shared", "-v", "0")
    site.run("site_app_shell", MAKE)
    return site


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_tenant_schemas_celery(site: TenantSite, pool: str) -> None:
    site.run("site_app_shell", SEND)
    site.worker(pool)
    unfinished = "SELECT count(*) FROM mirepoix_task WHERE state <> 'succeeded'"
    until(lambda: site.rows(unfinished) == [(0,)], "all tasks have succeeded")
    for tenant in TENANTS:
        found = sorted(text for (text,) in site.rows(f"SELECT text FROM {tenant}.notes_note"))
        members = [f"member {tenant}"] * 2
        assert found == sorted(
            [f"plain {tenant}", f"child {tenant}", f"retried {tenant}", *members, f"{tenant} {tenant}"]
        )
    ledgers = "SELECT table_schema FROM information_schema.tables WHERE table_name = 'mirepoix_task'"
    assert site.rows(ledgers) == [("public",)]
