"""``INSTALLED_APPS += ["mirepoix.django"]``: ``manage.py migrate`` and ``mirepoix migrate`` come to the same."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

import fork_server
from django_site import database
from driver import Ledger
from mirepoix.connect.source import Source
from mirepoix.connect.url import source_for
from mirepoix.ledger import drop, migrate
from mirepoix.sql import DIALECTS, is_post, migrations
from pace import DEADLINE_S

SETTINGS = """
import pymysql

pymysql.install_as_MySQLdb()
SECRET_KEY = "for tests"
INSTALLED_APPS = ["mirepoix.django"]
USE_TZ = True
"""


class Project:
    """A Django project in a folder, driven as people do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, **settings: Any) -> None:
        lines = [f"{name} = {value!r}" for name, value in settings.items()]
        (self.folder / "shop_settings.py").write_text(SETTINGS + "\n".join(lines))

    def manage(self, *arguments: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "django", *arguments]
        done = fork_server.run(command, self.folder, {"DJANGO_SETTINGS_MODULE": "shop_settings"}, timeout_s=DEADLINE_S)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr if code else done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def empty(empty_url: str) -> Iterator[Source]:
    source = source_for(empty_url)
    yield source
    source.close()


def tables(source: Source) -> Any:
    """Everything of ours in the database: tables, columns, indexes and views, as the server describes them."""
    with Ledger(source) as ledger:
        if source.dialect == "sqlite":
            found = "SELECT name, sql FROM sqlite_schema WHERE tbl_name LIKE 'mirepoix%' ORDER BY name"
            return ledger.query(found)
        if source.dialect == "mysql":
            names = ledger.query(
                "SELECT table_name FROM information_schema.tables"
                " WHERE table_schema = DATABASE() AND table_name LIKE 'mirepoix%' ORDER BY 1"
            )
            made = [ledger.query(f"SHOW CREATE TABLE {name}")[0] for (name,) in names]
            # A view's row ends with the character set of the session that made it: Django 4.2's is utf8mb3.
            return [[re.sub(r"AUTO_INCREMENT=\d+|`\w+`\.", "", str(word)) for word in row[:2]] for row in made]
        return [
            ledger.query(
                "SELECT table_name, column_name, data_type, column_default, is_nullable, is_identity "
                "FROM information_schema.columns WHERE table_name LIKE 'mirepoix%' ORDER BY 1, ordinal_position"
            ),
            ledger.query("SELECT indexdef FROM pg_indexes WHERE tablename LIKE 'mirepoix%' ORDER BY 1"),
            ledger.query("SELECT viewname, definition FROM pg_views WHERE viewname LIKE 'mirepoix%' ORDER BY 1"),
            ledger.query(
                "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint "
                "WHERE conrelid::regclass::text LIKE 'mirepoix%' ORDER BY 1, 2"
            ),
        ]


def applied(source: Source) -> list[str]:
    with Ledger(source) as ledger:
        return [row[0] for row in ledger.query("SELECT name FROM mirepoix_migration ORDER BY name")]


def migrate_ourselves(source: Source) -> list[str]:
    connection = source.open()
    try:
        return migrate.migrate(connection)
    finally:
        connection.close()


def test_both_ways_make_the_same_tables(
    project: Project, empty: Source, empty_url: str, request: pytest.FixtureRequest
):
    project.write(DATABASES={"default": database(empty_url)})
    project.manage("migrate")
    kind = {"mysql": "mariadb"}.get(empty.dialect, empty.dialect)
    ours = source_for(request.getfixturevalue(f"{kind}_url"))
    assert tables(empty) == tables(ours)
    assert applied(empty) == applied(ours) == [name for name, _ in migrations(empty.dialect)]


def test_after_django_there_is_nothing_left_to_do(project: Project, empty: Source, empty_url: str):
    project.write(DATABASES={"default": database(empty_url)})
    project.manage("migrate")
    assert migrate_ourselves(empty) == []


def test_migrating_to_zero_deletes_the_ledger_unless_it_is_in_use(project: Project, empty: Source, empty_url: str):
    project.write(DATABASES={"default": database(empty_url)})
    project.manage("migrate")
    before = tables(empty)
    project.manage("migrate", "mirepoix", "0005")  # an older release works on the newer tables: nothing is to be done
    assert tables(empty) == before
    with Ledger(empty) as ledger:
        ledger.send("a")
        said = project.manage("migrate", "mirepoix", "zero", code=1)
        assert "CommandError: The ledger in Django's database 'default' is in use: 1 task(s) not finished" in said
        assert ledger.states() == {"a": "pending"}
        ledger.cancel("a")
    project.manage("migrate", "mirepoix", "zero")
    with Ledger(empty) as ledger:
        assert drop.drop(ledger.connection) == drop.Contents()
    project.manage("migrate")
    assert tables(empty) == before
    with Ledger(empty) as ledger:
        drop.drop(ledger.connection)
    project.manage("migrate")
    assert tables(empty) == before


def test_after_our_own_command_django_finds_the_tables_made(project: Project, source: Source, ledger_url: str):
    before = tables(source)
    project.write(DATABASES={"default": database(ledger_url)})
    project.manage("migrate")
    assert tables(source) == before
    assert "[X] 0001_initial" in project.manage("showmigrations", "mirepoix")


def test_only_the_ledgers_alias_is_migrated(project: Project, empty: Source, empty_url: str, tmp_path: Path):
    other = f"sqlite:///{tmp_path / 'other.db'}"
    project.write(
        DATABASES={"default": database(other), "ledger": database(empty_url)}, CELERY_MIREPOIX_DJANGO_ALIAS="ledger"
    )
    project.manage("migrate")
    assert tables(source_for(other)) == []
    project.manage("migrate", "--database", "ledger")
    assert "0001_initial" in applied(empty)


def test_a_router_that_forbids_it_is_obeyed(project: Project, tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    (tmp_path / "routers.py").write_text(
        "class Never:\n    def allow_migrate(self, db, app_label, **hints):\n        return app_label != 'mirepoix'\n"
    )
    project.write(DATABASES={"default": database(url)}, DATABASE_ROUTERS=["routers.Never"])
    project.manage("migrate")
    assert tables(source_for(url)) == []


def test_sqlmigrate_shows_the_script(project: Project, empty_url: str):
    project.write(DATABASES={"default": database(empty_url)})
    assert re.search("CREATE TABLE (IF NOT EXISTS )?mirepoix_task", project.manage("sqlmigrate", "mirepoix", "0001"))


def test_makemigrations_finds_nothing_to_add(project: Project, tmp_path: Path):
    project.write(DATABASES={"default": database(f"sqlite:///{tmp_path / 'shop.db'}")})
    project.manage("makemigrations", "--check", "--dry-run")
    project.manage("check")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_script_has_a_django_migration_of_its_name(dialect: str):
    folder = files("mirepoix.django") / "migrations"
    made = {entry.name.removesuffix(".py") for entry in folder.iterdir() if entry.name.endswith(".py")}
    scripts = {name for name, _ in migrations(dialect) if not is_post(name)}
    assert made - {"__init__"} == scripts - {"0000_migrations"}
