"""The newest waiting tasks are read from each queue and priority, so the cost does not grow with those that wait."""

from __future__ import annotations

import pytest

from driver import Ledger, envelope
from mirepoix.connect.url import source_for
from mirepoix.ledger import enqueue
from mirepoix.ledger.query import lanes, pages
from mirepoix.ledger.query.lanes import Lane
from mirepoix.ledger.query.tasks import Filters, search
from mirepoix.sql import statement

PLACES = [("b", 0), ("a", 0), ("a", 32_767), ("c", -3), ("a", 5), ("", -32_768)]


def send(ledger, number):
    """Send tasks t0, t1, …, in turn to each queue and priority."""
    given = [PLACES[n % len(PLACES)] for n in range(number)]
    rows = [envelope(f"t{n}", queue=queue, priority=priority) for n, (queue, priority) in enumerate(given)]
    ledger.do(enqueue.add, rows)


def test_every_queue_and_priority_is_a_lane(ledger):
    assert ledger.do(lanes.lanes) == []
    send(ledger, 2 * len(PLACES))
    ledger.send("later", queue="z", eta="2999-01-01T00:00:00+00:00")
    of_a = [Lane("a", 32_767), Lane("a", 5), Lane("a", 0)]
    assert ledger.do(lanes.lanes) == [Lane("", -32_768), *of_a, Lane("b", 0), Lane("c", -3)]
    assert ledger.do(lanes.lanes, "a") == of_a
    assert ledger.do(lanes.lanes, "aa") == []


@pytest.mark.parametrize("most", [40, 2])
@pytest.mark.parametrize("oldest_first", [False, True])
def test_the_pages_of_waiting_tasks_follow_each_other_in_the_order_of_sending(ledger, monkeypatch, most, oldest_first):
    monkeypatch.setattr(lanes, "MOST", most)
    send(ledger, 40)
    seen, after = [], None
    for _ in range(9):
        page = ledger.do(pages.page, Filters(), 7, after, oldest_first=oldest_first)
        seen += [line.id for line in page.lines]
        after = page.following and pages.from_text(pages.as_text(page.following))
        if after is None:
            break
    expected = [f"t{n}" for n in range(40)]
    assert seen == (expected if oldest_first else expected[::-1])
    assert [line.id for line in ledger.do(search, Filters(queue="b"), 2)] == ["t36", "t30"]
    assert [line.id for line in ledger.do(search, Filters(queue="*b*"), 2)] == ["t36", "t30"]


class Counting:
    """A `Tx` that adds up the rows which PostgreSQL read for each query."""

    dialect = "postgresql"

    def __init__(self, tx):
        self.tx = tx
        self.rows = 0

    def query(self, sql, /, **params):
        ((plan,),) = self.tx.query(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", **params)
        self._add(plan[0]["Plan"])
        return self.tx.query(sql, **params)

    def fetch(self, name, /, **params):
        return self.query(statement(name, "postgresql", "named"), **params)

    def _add(self, node):
        self.rows += (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for part in node.get("Plans", ()):
            self._add(part)


def test_a_page_of_waiting_tasks_reads_few_of_them(postgresql_url):

    with Ledger(source_for(postgresql_url)) as ledger:
        send(ledger, 6_000)
        ledger.write("ANALYZE mirepoix_task")
        with ledger.connection.transaction() as tx:
            counting = Counting(tx)
            first = pages.page(counting, Filters(), 10)
            assert [line.id for line in first.lines][:2] == ["t5999", "t5998"]
            pages.page(counting, Filters(name="shop.*"), 10, first.following)
            assert 20 < counting.rows < 1_000
