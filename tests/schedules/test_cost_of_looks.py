"""A look at schedules costs as much as what is open, however many fire times there were."""

from __future__ import annotations

import pytest
from clocks import Scheduled

from driver import Ledger
from mirepoix.connect.url import source_for
from mirepoix.ledger import schedules
from mirepoix.sql import spell, statement


def test_only_what_can_be_sent_now_is_read_of_a_long_buffer(scheduled: Scheduled, ledger: Ledger):
    scheduled.add("report", cron="* * * * *", overlap="buffer_all")
    for _ in range(4):
        scheduled.clock.passes(minutes=1)
        scheduled.fire_all()
    assert scheduled.states("report") == ["sent", "buffered", "buffered", "buffered"]
    assert ledger.do(schedules.buffered) == []
    ledger.worker("w")
    assert ledger.succeed(ledger.lease("w"))
    assert [waiting.fire_at.minute for waiting in ledger.do(schedules.buffered)] == [2]


@pytest.mark.parametrize("name", ["ended_fires", "buffered_fires", "open_fires", "buffered_of_schedule"])
def test_a_look_reads_no_fire_time_that_is_over(sqlite_url: str, name: str):
    sql = spell(statement(name, "sqlite", "named"), "sqlite")
    params = {key: 1 for key in ("name", "batch") if f":{key}" in sql}
    connection = source_for(sqlite_url).open()
    with connection.transaction() as tx:
        plan = "\n".join(row[3] for row in tx.query(f"EXPLAIN QUERY PLAN {sql}", **params))
    connection.close()
    assert "mirepoix_fire_open" in plan
    assert "mirepoix_fire_1" not in plan
    assert "SCAN mirepoix_fire" not in plan
