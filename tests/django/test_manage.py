"""``manage.py mirepoix …``: the command line with the project's app and its ledger."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from shop import Shop

import django_site
import fork_server
from pace import DEADLINE_S

SETTINGS = """
SECRET_KEY = "for tests"
INSTALLED_APPS = ["mirepoix.django"]
USE_TZ = True
DATABASES = {{"default": {database!r}}}
"""
CELERY = """
import mirepoix
from celery import Celery

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
mirepoix.install(app)
"""


class Site:
    """A project in a package, driven from the shell."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.package = folder / "mysite"
        self.package.mkdir()
        (self.package / "__init__.py").touch()
        (self.package / "settings.py").write_text(SETTINGS.format(database=django_site.database(url)))

    def manage(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "django", *words]
        environment = {"DJANGO_SETTINGS_MODULE": "mysite.settings"}
        return fork_server.run(command, self.folder, environment, timeout_s=DEADLINE_S)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a module to its end in a Python of its own, which warns, and imports what is in the folder."""
        folders = filter(None, (str(self.folder), os.environ.get("PYTHONPATH")))
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(folders),
            "DJANGO_SETTINGS_MODULE": "mysite.settings",
        }
        command = [sys.executable, "-m", *words]
        return subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, text=True, check=False)


@pytest.fixture
def site(tmp_path: Path, sqlite_url: str) -> Site:
    site = Site(tmp_path, sqlite_url)
    (site.package / "celery.py").write_text(CELERY)
    return site


def test_it_finds_the_celery_module_of_the_project(site: Site):
    shown = site.manage("mirepoix", "status", "--json")
    assert shown.returncode == 0, shown.stderr
    assert "verdict" in json.loads(shown.stdout)


def test_the_project_needs_two_lines_only(site: Site):
    assert site.manage("check").stdout == "System check identified no issues (0 silenced).\n"


def test_options_are_its_own_and_djangos_stay_djangos(site: Site):
    shown = site.manage("mirepoix", "--settings", "mysite.settings", "tasks", "--state", "failed", "--ids")
    assert (shown.returncode, shown.stdout) == (0, "")
    helped = site.manage("mirepoix", "--pythonpath=.", "retry", "--help")
    assert "Run failed tasks again" in helped.stdout


def test_its_exit_codes_are_those_of_the_command_line(site: Site):
    assert site.manage("mirepoix", "show", "nothing").returncode == 2


def test_without_an_app_it_says_where_one_is_looked_for(tmp_path: Path, sqlite_url: str):
    site = Site(tmp_path, sqlite_url)
    failed = site.manage("mirepoix", "status")
    assert failed.returncode == 2
    assert "CELERY_MIREPOIX_DJANGO_APP" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert site.manage("mirepoix", "--ledger", sqlite_url, "status").returncode == 0
    assert site.manage("mirepoix", "--help").returncode == 0


def test_it_can_be_called_from_python(shop: Shop):
    shop.fail("a")
    out = io.StringIO()
    call_command("mirepoix", "tasks", "--ids", stdout=out)
    assert out.getvalue() == "a\n"
    call_command("mirepoix", "retry", "a", stdout=out)
    assert shop.books.states() == {"a": "pending"}
    with pytest.raises(CommandError) as raised:
        call_command("mirepoix", "retry", "a", stdout=out)
    assert raised.value.returncode == 1


def test_an_app_that_is_not_found_is_an_error_of_the_command():
    with (
        override_settings(CELERY_MIREPOIX_DJANGO_APP="no_such_module"),
        pytest.raises(CommandError, match="no_such_module"),
    ):
        call_command("mirepoix", "status")


def test_with_psycopg2_alone_check_and_worker_say_what_to_install(tmp_path: Path, postgresql_url: str):
    site = Site(tmp_path, postgresql_url)
    (site.package / "celery.py").write_text(CELERY)
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['psycopg'] = None\n")
    checked = site.run("django", "check")
    assert (checked.returncode, "mirepoix.E004" in checked.stderr) == (1, True), checked.stderr
    worker = site.run("celery", "-A", "mysite", "worker", "-P", "solo")
    assert worker.returncode == 1
    assert "mirepoix: The library 'psycopg' is not installed. Run: pip install 'mirepoix[postgres]'" in worker.stderr
    assert "Traceback" not in worker.stderr


WITHOUT_APPS = (("status",), ("inspect", "ping"), ("purge", "-f"), ("call", "orders.pay"), ("control", "heartbeat"))
"""Commands of Celery that use the ledger and never load Django's apps."""


def test_commands_of_celery_do_not_make_django_warn(site: Site):
    with ThreadPoolExecutor() as together:
        done = list(together.map(lambda words: site.run("celery", "-A", "mysite", *words), WITHOUT_APPS))
    assert "No nodes replied" in done[0].stderr
    for words, one in zip(WITHOUT_APPS, done, strict=True):
        assert "Warning" not in one.stderr, words
        assert "Traceback" not in one.stderr, words
    (sent,) = json.loads(site.manage("mirepoix", "tasks", "--json").stdout)["tasks"]
    assert sent["name"] == "orders.pay"
