"""The example shop: its own tests on each Django and database, and a run whose worker is killed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import django
import pytest

from virtual_environments import DJANGO_RUNS_ON, ROOT, python_with

SHOP = ROOT / "examples" / "shop"
DJANGOS = [version for version, (oldest, newest) in DJANGO_RUNS_ON.items() if oldest <= sys.version_info[:2] <= newest]

pytestmark = [pytest.mark.slow, pytest.mark.in_turn]

on_each_database = pytest.mark.parametrize("empty_url", ["sqlite", "postgresql", "mariadb"], indirect=True)
on_a_file = pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)


@pytest.fixture
def environment(empty_url: str, tmp_path: Path) -> dict[str, str]:
    """A database of the shop's own, with nothing in it."""
    database = "" if empty_url.startswith("sqlite") else empty_url
    return os.environ | {"SHOP_DATA": str(tmp_path), "SHOP_DATABASE": database}


@pytest.fixture(scope="session", params=DJANGOS)
def python(request: pytest.FixtureRequest) -> str:
    """A Python with that Django: this one, or one whose environment is kept beside it."""
    if django.__version__.startswith(f"{request.param}."):
        return sys.executable
    told = ("--editable", f"{ROOT}[postgres,mysql]", f"django=={request.param}.*")
    return python_with(f"django-{request.param}", Path(sys.prefix), *told)


def said_by(environment: dict[str, str], *words: str, python: str = sys.executable) -> str:
    """What a command of the shop's says, all of it, when it has succeeded."""
    done = subprocess.run([python, *words], cwd=SHOP, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.timeout(300)  # the first makes an environment
@on_each_database
def test_its_own_tests_pass(environment: dict[str, str], python: str):
    said = said_by(environment, "manage.py", "test", "--noinput", python=python)
    assert re.search(r"Ran \d\d tests in .*\n\nOK\n", said), said


@on_a_file
def test_its_migrations_are_those_of_its_models(environment: dict[str, str], python: str):
    said_by(environment, "manage.py", "makemigrations", "--check", "--dry-run", python=python)


@on_each_database
def test_a_killed_worker_loses_no_order_and_charges_none_twice(environment: dict[str, str]):
    said = said_by(environment, "run.py", "--orders", "20")
    assert "orders: 20 sent; paid 2560 cents, charged 2560" in said
    assert "Every order is accounted for." in said


@on_each_database
def test_it_has_what_the_checks_ask_for(environment: dict[str, str]):
    said = said_by(environment, "manage.py", "check", "--deploy", "--tag", "mirepoix")
    assert "no issues" in said
