"""No statement on MariaDB reads the history to find what waits, runs or is looked for by its id."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from driver import Ledger, migrate_ledger
from mirepoix.connect.url import source_for
from mirepoix.ledger.query.tasks import Filters, search
from mirepoix.ledger.tx import Tx
from mirepoix.sql import spell, steps
from mirepoix.states import State
from servers import run_mariadb
from statements import statements

STATEMENTS = sorted(
    {
        one.name
        for one in statements()
        if one.folder in ("common", "mysql") and re.search(r"(UPDATE|FROM|JOIN) mirepoix_task\b", one.sql)
    }
    - {"prune", "finished_since"}
)
HISTORY = 20_000
FEW = 600
"""More than what waits and is held in this ledger, and far less than its history."""

ROW = '[{"id": "t1", "fence": 1, "task_id": "t1", "guard_id": "t1"}]'
PARAMS = {
    "rows": ROW,
    "ids": '["t1"]',
    "found": '["t1"]',
    "group_ids": '["g1"]',
    "queues": '["celery"]',
    "queue": "celery",
    "priority": 1,
    "task_id": "t1",
    "worker_id": "w1",
    "state": "failed",
    "fence": 1,
    "gate": "wcelery\nlimit",
    "keys": '["limit"]',
    "key": "limit",
}


@pytest.fixture(scope="module")
def old_ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    """A ledger in which much has happened and little is going on."""
    server = request.getfixturevalue("mariadb_server")
    server.start()
    run_mariadb(server, "CREATE DATABASE old_ledger")
    migrate_ledger(server.url("old_ledger"))
    with Ledger(source_for(server.url("old_ledger"))) as ledger:
        ledger.worker("w1")
        ledger.worker("gone")
        ledger.send(*(f"t{n}" for n in range(100)))
        ledger.send(*(f"later{n}" for n in range(100)), eta="2099-01-01T00:00:00+00:00")
        ledger.take("w1", 50)
        for state in ("succeeded", "succeeded", "failed"):
            ledger.write(
                "INSERT INTO mirepoix_task (id, name, queue, state, worker_id, finished_at, leased_at, fence, root_id,"
                " content_type, content_encoding, body_encoding, body, headers, properties)"
                f" SELECT UUID(), 'n', 'celery', '{state}', 'w1', UTC_TIMESTAMP(6) - INTERVAL seq MINUTE,"
                f" UTC_TIMESTAMP(6), 1, 'r', 'application/json', 'utf-8', 'utf-8', '[]', '{{}}', '{{}}'"
                f" FROM JSON_TABLE('{_numbers(HISTORY if state == 'succeeded' else 20)}',"
                " '$[*]' COLUMNS (seq int PATH '$')) AS numbers"
            )
        for table in ("task", "worker", "attempt", "result"):
            ledger.write(f"ANALYZE TABLE mirepoix_{table}")
        yield ledger
    run_mariadb(server, "DROP DATABASE old_ledger")


FEWER_THAN_ESTIMATED = {
    ("prune_failure_groups", "ref", "mirepoix_task_failure"),
    ("news", "ref", "mirepoix_task_open"),  # MySQL estimates it without its LIMIT,
    ("held_of_keys", "ref", "mirepoix_task_limited"),
    ("ready_of_keys", "ref", "mirepoix_task_limited"),
    ("failure_groups", "ref", "mirepoix_task_failure"),  # and takes every NULL for the value that is looked for
}


READS_EVERYTHING = frozenset({"tasks_by_state", "tally_all"})
"""The first is asked once, before the tables are dropped; the second when an exporter of metrics starts, and every six
hours."""


def _numbers(count: int) -> str:
    return json.dumps(list(range(1, count + 1)))


@pytest.mark.parametrize("name", [name for name in STATEMENTS if name not in READS_EVERYTHING])
def test_nothing_reads_the_history(old_ledger: Ledger, name: str):
    for step in steps(name, "mysql", "named"):
        for table, access, index, rows in _plan(old_ledger, step.sql, PARAMS):
            assert access != "ALL", (table, step.sql)
            is_fewer = (name, access, index) in FEWER_THAN_ESTIMATED
            is_bounded = index == "mirepoix_task_finished" or is_fewer
            assert int(rows) <= FEW or is_bounded, (table, access, index, rows, step.sql)


def test_what_is_deleted_and_counted_begins_at_one_end_of_the_finished(old_ledger: Ledger):
    for name in ("prunable", "finished_since"):
        plan = _plan(old_ledger, steps(name, "mysql", "named")[0].sql, {**PARAMS, "older_than_s": 1e9, "since_s": 60})
        assert [(access, index) for _, access, index, _ in plan] == [("range", "mirepoix_task_finished")] * 3
        assert max(int(rows) for *_, rows in plan) <= FEW


def test_the_newest_finished_are_found_without_reading_the_others(old_ledger: Ledger):
    sql = (
        "SELECT id FROM mirepoix_task AS t WHERE t.state = 'succeeded' ORDER BY t.finished_at DESC, t.seq DESC LIMIT 5"
    )
    with old_ledger.connection.transaction() as tx:
        (row,) = _explain(tx, sql)
    assert row[5] == "mirepoix_task_finished"
    assert "filesort" not in (row[9] or "")


def test_a_bounded_search_reads_the_newest_finished_only(old_ledger: Ledger):
    plans: list[list[tuple[Any, ...]]] = []

    class Explained:
        dialect = "mysql"

        def __init__(self, tx: Tx) -> None:
            self.tx = tx

        def query(self, sql: str, /, **params: Any) -> list[tuple[Any, ...]]:
            plans.append(_explain(self.tx, sql, **params))
            return self.tx.query(sql, **params)

    succeeded = frozenset({State.SUCCEEDED})
    with old_ledger.connection.transaction() as tx:
        search(Explained(tx), Filters(states=succeeded, name="*nothing*", among=100), 50)  # type: ignore[arg-type]
    assert [(plan[0][5], plan[0][3] != "ALL") for plan in plans] == [("mirepoix_task_finished", True)] * 2
    assert int(plans[1][0][8]) <= FEW


def _plan(ledger: Ledger, sql: str, params: dict[str, Any]) -> list[tuple[str, str, str, Any]]:
    """``(table, type of access, index, rows)`` of every table of ours that the statement reads."""
    known = defaultdict(lambda: 1, params)
    names = re.findall(r"(?<![:\w]):([a-z_]+)", sql)
    with ledger.connection.transaction() as tx:
        plan = _explain(tx, spell(sql, "mysql"), **{name: known[name] for name in names})
    ours = ("mirepoix_task", "t", "ready")
    return [(row[2], row[3], row[5], row[8]) for row in plan if row[2] in ours and row[8] is not None]


def _explain(tx: Tx, sql: str, **params: Any) -> list[tuple[Any, ...]]:
    """MariaDB's plan, or MySQL's in its columns: without partitions and what is filtered."""
    plan = tx.query(f"EXPLAIN /*!80000 FORMAT=TRADITIONAL */ {sql}", **params)
    return [row if len(row) == 10 else (*row[:3], *row[4:10], row[11]) for row in plan]
