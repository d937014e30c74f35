"""What only older releases use is taken away in a step of its own: tried with scripts of a release that is made up."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from upgrade_harness import SOURCE, Software, UpgradeHarness

from driver import Ledger
from mirepoix.connect.url import source_for
from mirepoix.sql import DIALECTS

pytestmark = pytest.mark.slow

SCRIPTS = {
    "9000_jar": "CREATE TABLE mirepoix_jar (id integer PRIMARY KEY, old integer);",
    "9000_jar.post": "ALTER TABLE mirepoix_jar DROP COLUMN old;",
    "9001_lid": "ALTER TABLE mirepoix_jar ADD COLUMN lid integer;",
}
COMING, POST = ["9000_jar", "9001_lid"], ["9000_jar.post"]
DJANGO = """
import django, os
from django.conf import settings
settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["FILE"]}})
django.setup()
from django.db import connection
from mirepoix.django.operation import MigrateLedger

for post in (False, True):
    with connection.schema_editor() as editor:
        MigrateLedger(post=post).database_forwards("mirepoix", editor, None, None)
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM mirepoix_migration WHERE name >= '9' ORDER BY name")
        print(*[row[0] for row in cursor.fetchall()])
"""


@pytest.fixture(scope="module")
def tomorrow(tmp_path_factory: pytest.TempPathFactory) -> Software:
    """A release with a table more, of which it gives up a column."""
    source = tmp_path_factory.mktemp("tomorrow") / "src"
    shutil.copytree(SOURCE, source)  # compiled
    for dialect in DIALECTS:
        for name, script in SCRIPTS.items():
            (source / "mirepoix" / "sql" / "migrations" / dialect / f"{name}.sql").write_text(script)
    return Software(source=source)


def command(harness: UpgradeHarness, software: Software, *words: str) -> dict[str, Any]:
    """What ``mirepoix`` prints as JSON."""
    done = harness.run(software, "-m", "mirepoix.cli", "--ledger", harness.url, *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def jar(url: str) -> list[str]:
    """The columns of the made-up table."""
    with Ledger(source_for(url)) as ledger:
        return ledger.columns("mirepoix_jar")


def test_what_older_releases_use_stays_until_they_are_gone(tomorrow: Software, ledger_url: str, tmp_path: Path):
    with UpgradeHarness(tmp_path / "harness", ledger_url) as harness:
        for applied in (COMING, []):
            told = command(harness, tomorrow, "migrate")
            assert (told["applied"], told["left"]) == (applied, POST)
        assert jar(ledger_url) == ["id", "old", "lid"]
        command(harness, tomorrow, "status")  # the new code does without
        for applied in (POST, []):
            told = command(harness, tomorrow, "migrate", "--post")
            assert (told["applied"], told["left"]) == (applied, [])
        assert jar(ledger_url) == ["id", "lid"]


def test_one_command_is_enough_where_no_older_release_runs(tomorrow: Software, ledger_url: str, tmp_path: Path):
    with UpgradeHarness(tmp_path / "harness", ledger_url) as harness:
        told = command(harness, tomorrow, "migrate", "--post")
        assert (told["applied"], told["left"]) == (sorted(SCRIPTS), [])


def test_a_new_ledger_has_nothing_to_take_away(tomorrow: Software, empty_url: str, tmp_path: Path):
    with UpgradeHarness(tmp_path / "harness", empty_url) as harness:
        told = command(harness, tomorrow, "migrate")
        assert (told["applied"][-3:], told["left"]) == (sorted(SCRIPTS), [])
        assert jar(empty_url) == ["id", "lid"]


def test_people_are_told_what_is_left_to_do(tomorrow: Software, sqlite_url: str, tmp_path: Path):
    with UpgradeHarness(tmp_path / "harness", sqlite_url) as harness:
        said = harness.run(tomorrow, "-m", "mirepoix.cli", "--ledger", sqlite_url, "migrate").stdout
    assert "applied 9001_lid" in said
    assert "9000_jar.post: run mirepoix migrate --post" in said


def test_an_sqlite_ledger_that_migrates_itself_takes_nothing_away(tomorrow: Software, sqlite_url: str, tmp_path: Path):
    with UpgradeHarness(tmp_path / "harness", sqlite_url) as harness:
        harness.send_all(tomorrow)
        assert jar(sqlite_url) == ["id", "old", "lid"]


def test_django_takes_away_what_a_migration_of_its_own_says(tomorrow: Software, sqlite_url: str, tmp_path: Path):
    file = sqlite_url.removeprefix("sqlite:///")
    with UpgradeHarness(tmp_path / "harness", sqlite_url, {"FILE": file}) as harness:
        done = harness.run(tomorrow, "-c", DJANGO)
    assert done.stdout.splitlines() == [" ".join(COMING), " ".join(sorted(SCRIPTS))], done.stderr
