"""A migration that has to wait for somebody's open transaction does not hold up everybody else."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver import Ledger, envelope
from mirepoix.connect.url import source_for
from mirepoix.ledger import enqueue
from pace import DEADLINE_S, until

MISSING = "0021_steering"


@pytest.fixture(params=["postgresql", "mariadb"])
def url(request: pytest.FixtureRequest) -> str:
    """Where the ledger is. SQLite has one writer at a time."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def older(url: str) -> Iterator[Ledger]:
    """A ledger of the release before a migration that adds a column to the table of tasks."""
    with Ledger(source_for(url)) as ledger:
        ledger.write(f"DELETE FROM mirepoix_migration WHERE name = '{MISSING}'")
        ledger.write("ALTER TABLE mirepoix_task DROP COLUMN held_by")
        ledger.write("DROP TABLE mirepoix_hold")
        ledger.write("DROP TABLE mirepoix_steering")
        yield ledger
        ledger.source.close()


def test_others_send_while_a_migration_waits_for_an_open_transaction(url: str, older: Ledger, tmp_path: Path):
    said = tmp_path / "said"
    sending = threading.Thread(target=lambda: older.do(enqueue.add, [envelope("beside")]), daemon=True)
    slow = older.source.begin()  # a task's transaction may last for hours
    try:
        enqueue.add(slow.tx, [envelope("slow")])
        command = [sys.executable, "-m", "mirepoix.cli", "--ledger", url, "migrate"]
        with said.open("w") as file:
            migrating = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        until(lambda: "Waiting for their end" in said.read_text(), "the migration lets others pass, and says so")
        sending.start()
        sending.join(DEADLINE_S)
        assert not sending.is_alive(), "a sender waits for the migration, which waits for a transaction"
        assert migrating.poll() is None
        slow.commit()
    finally:
        slow.roll_back()
        migrating.wait(DEADLINE_S)
    assert f"applied {MISSING}" in said.read_text()
    assert said.read_text().count("Waiting for their end") == 1
    assert set(older.states()) == {"slow", "beside"}
