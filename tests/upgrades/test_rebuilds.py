"""MariaDB rebuilds the table of tasks for few migrations: writes wait meanwhile, so the upgrade page names each."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirepoix.connect.source import OwnConnection
from mirepoix.connect.url import source_for
from mirepoix.sql import migrations

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "upgrade.md"
FIRST = "0018"
"""Older scripts came before anything was published."""

TABLE = (
    "SELECT table_id AS id FROM information_schema.innodb_sys_tables WHERE name = concat(database(), '/mirepoix_task')"
)
"""A table that is rebuilt gets another id."""


def table_id(connection: OwnConnection) -> int | None:
    with connection.reading() as tx:
        found = tx.query(TABLE)
    return found[0].id if found else None


@pytest.mark.parametrize("empty_url", ["mariadb"], indirect=True)
def test_the_page_names_the_migrations_that_rebuild_the_table(empty_url: str):
    source = source_for(empty_url)
    connection = source.open()
    with connection.reading() as tx:
        if "MariaDB" not in tx.query("SELECT version() AS version")[0].version:
            pytest.skip("MySQL adds a column at once")
    rebuilt: list[str] = []
    for name, script in migrations("mysql"):
        before = table_id(connection)
        with connection.transaction() as tx:
            tx.script(script)
        if name >= FIRST and table_id(connection) != before:
            rebuilt.append(name)
    connection.close()
    source.close()
    assert rebuilt == ["0020_limits"]
    assert all(f"`{name}` rebuilds" in PAGE.read_text("utf-8") for name in rebuilt)
