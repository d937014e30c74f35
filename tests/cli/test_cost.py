"""What people look at stays cheap: no read of a screen walks through the tasks that are finished."""

from __future__ import annotations

import pytest

from mirepoix.ledger import sending
from mirepoix.ledger.query.tasks import Filters, search
from mirepoix.operations import health
from mirepoix.sql import spell, statement


class Explained:
    """A `Tx` that remembers SQLite's plan of every statement."""

    dialect = "sqlite"

    def __init__(self, tx):
        self.tx = tx
        self.plans = []

    def query(self, sql, /, **params):
        self.plans += [row[3] for row in self.tx.query(f"EXPLAIN QUERY PLAN {spell(sql, 'sqlite')}", **params)]
        return self.tx.query(sql, **params)

    def fetch(self, name, /, **params):
        return self.query(statement(name, "sqlite", "named"), **params)


@pytest.fixture
def ledger_url(sqlite_url):
    return sqlite_url


@pytest.mark.parametrize("oldest_first", [True, False])
def test_no_screen_reads_the_tasks_without_an_index(ledger, ended, oldest_first):
    for state in ("leased", "running", "succeeded", "failed", "quarantined", "parked"):
        ended(state, state)
    ledger.send("pending")
    with ledger.connection.transaction() as tx:
        explained = Explained(tx)
        search(explained, Filters(), 50, oldest_first=oldest_first)
        search(explained, Filters(worker="ender*", name="*x*", among=10), 50, oldest_first=oldest_first)
        sending.count_unsent(explained)
        health.overview(explained, late_after_s=60.0)
    assert len(explained.plans) > 20
    walks = [step for step in explained.plans if step.startswith("SCAN") and "INDEX" not in step]
    assert set(walks) <= {
        "SCAN w",
        "SCAN lately",
        "SCAN (subquery-1)",
        "SCAN of_this_queue",
        "SCAN of_the_next_queue",
        "SCAN mirepoix_hold",  # what is paused: a few rows
    }, walks
