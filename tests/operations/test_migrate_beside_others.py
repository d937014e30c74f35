"""A migration that has to wait for somebody's open transaction does not hold up everybody else."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from driver import Ledger, envelope
from mirepoix.connect.url import source_for
from mirepoix.ledger import enqueue
from mirepoix.operations.migrating import migrate
from pace import DEADLINE_S, until

MISSING = "0021_steering"


@pytest.fixture(params=["postgresql", "mariadb"])
def older(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    """A ledger of the release before a migration that adds a column to the table of tasks."""
    with Ledger(source_for(request.getfixturevalue(f"{request.param}_url"))) as ledger:
        ledger.write(f"DELETE FROM mirepoix_migration WHERE name = '{MISSING}'")
        ledger.write("ALTER TABLE mirepoix_task DROP COLUMN held_by")
        ledger.write("DROP TABLE mirepoix_hold")
        ledger.write("DROP TABLE mirepoix_steering")
        yield ledger


def test_others_send_while_a_migration_waits_for_an_open_transaction(older: Ledger):
    applied: list[str] = []
    waits = threading.Event()
    migrating = older.source.open()
    thread = threading.Thread(target=lambda: applied.extend(migrate(migrating, on_wait=waits.set)), daemon=True)
    sending = threading.Thread(target=lambda: older.do(enqueue.add, [envelope("beside")]), daemon=True)
    slow = older.source.begin()  # a task's transaction may last for hours
    try:
        enqueue.add(slow.tx, [envelope("slow")])
        thread.start()
        assert waits.wait(DEADLINE_S), "the migration does not let others pass"
        sending.start()
        sending.join(DEADLINE_S)
        assert not sending.is_alive(), "a sender waits for the migration, which waits for a transaction"
        assert applied == []
        slow.commit()
    finally:
        slow.roll_back()
    until(lambda: applied, "the transaction is over, and the migration is applied")
    thread.join(DEADLINE_S)
    migrating.close()
    assert applied == [MISSING]
    assert set(older.states()) == {"slow", "beside"}
