"""The example shop: its own tests, and a run whose worker is killed, on a file and on PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHOP = Path(__file__).parent.parent / "examples" / "shop"

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("empty_url", ["sqlite", "postgresql"], indirect=True)]


@pytest.fixture
def environment(empty_url: str, tmp_path: Path) -> dict[str, str]:
    """A database of the shop's own, with nothing in it."""
    database = "" if empty_url.startswith("sqlite") else empty_url
    return os.environ | {"SHOP_DATA": str(tmp_path), "SHOP_DATABASE": database}


def said_by(environment: dict[str, str], *words: str) -> str:
    """What a command of the shop's says, all of it, when it has succeeded."""
    done = subprocess.run(
        [sys.executable, *words], cwd=SHOP, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_its_own_tests_pass(environment: dict[str, str]):
    assert "OK" in said_by(environment, "manage.py", "test")


def test_its_migrations_are_those_of_its_models(environment: dict[str, str]):
    said_by(environment, "manage.py", "makemigrations", "--check", "--dry-run")


def test_a_killed_worker_loses_no_order_and_charges_none_twice(environment: dict[str, str]):
    said = said_by(environment, "run.py", "--orders", "20")
    assert "orders: 20 sent; paid 2560 cents, charged 2560" in said
    assert "Every order is accounted for." in said


def test_it_has_what_the_checks_ask_for(environment: dict[str, str]):
    said = said_by(environment, "manage.py", "check", "--deploy", "--tag", "mirepoix")
    assert "no issues" in said
