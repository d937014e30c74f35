"""Rows that other versions of Celery wrote are run by the installed one: the same calls, whoever wrote them.

The rows are in ``golden/``, as a ledger really held them (`record_golden.py`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from upgrade_harness import ENDS, HERE, TODAY, UpgradeHarness, differences

from driver import Ledger
from mirepoix.connect.url import source_for

pytestmark = pytest.mark.slow

FILES = sorted((HERE / "golden").glob("celery-*.json"))
RELATIVE = {"fussy": {"due_at": None}}
"""What has come since: the retry was due an hour after it was asked for."""


def put(url: str, file: Path, **changes: Any) -> None:
    """Let the ledger hold the rows of *file*, as they were written."""
    rows = json.loads(file.read_text("utf-8"))
    with Ledger(source_for(url)) as ledger, ledger.connection.transaction() as tx:
        for table, found in rows.items():
            for row in found:
                values = {**row, **(changes | RELATIVE.get(row.get("id"), {}) if table == "mirepoix_task" else {})}
                names = ", ".join(values)
                tx.query(
                    f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in values)})"
                    f" RETURNING {next(iter(values))}",
                    **values,
                )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_what_each_version_wrote_is_run_as_it_was_meant(
    database: str, file: Path, typed: str, tmp_path: Path, request: pytest.FixtureRequest
):
    url = request.getfixturevalue(f"{database}_url")
    put(url, file)
    with UpgradeHarness(tmp_path / "harness", url) as harness:
        harness.worker()
        harness.wait(ENDS)
        assert differences(harness.notes(), typed) == []


def test_a_broker_only_rings_for_what_another_version_wrote(redis, postgresql_url: str, typed: str, tmp_path: Path):
    put(postgresql_url, FILES[0], sent_fence=-1)
    redis.start()
    env = {"UPGRADE_APP_BROKER": redis.url, "UPGRADE_APP_SETTINGS": json.dumps({"delivery": "broker"})}
    with UpgradeHarness(tmp_path / "harness", postgresql_url, env) as harness:
        harness.worker()
        harness.wait(ENDS)
        assert differences(harness.notes(), typed) == []
    redis.flush()


def test_there_are_rows_of_every_version_that_is_promised():
    promised = (HERE.parents[1] / "pyproject.toml").read_text("utf-8")
    oldest = promised.partition('"celery>=')[2].partition(",")[0]
    assert FILES[0].stem == "celery-" + ".".join(oldest.split(".")[:2])


def test_the_app_sends_what_the_rows_hold(typed: str, sqlite_url: str, tmp_path: Path):
    """Otherwise the rows are to be written anew."""
    with UpgradeHarness(tmp_path / "harness", sqlite_url) as harness, Ledger(source_for(sqlite_url)) as ledger:
        harness.send_all(TODAY)
        sent = {row["id"] for row in ledger.rows("SELECT * FROM mirepoix_task")}
    for file in FILES:
        assert {row["id"] for row in json.loads(file.read_text("utf-8"))["mirepoix_task"]} == sent
