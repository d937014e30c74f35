"""The page on the schema and the database say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from driver import Ledger

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "schema.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (mirepoix_\w+)\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL))
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)


def test_every_table_and_view_is_on_the_page_and_no_other(ledger: Ledger):
    if ledger.source.dialect == "sqlite":
        found = ledger.query("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name LIKE 'mirepoix%'")
    else:
        schema = "DATABASE()" if ledger.source.dialect == "mysql" else "'public'"
        found = ledger.query(f"SELECT table_name FROM information_schema.tables WHERE table_schema = {schema}")
    assert {row[0] for row in found} == set(SECTIONS)


def test_the_overview_links_every_table():
    overview = PAGE[: PAGE.index("\n## ")]
    assert set(re.findall(r"\(#(mirepoix_\w+)\)", overview)) == set(SECTIONS)


@pytest.mark.parametrize("table", SECTIONS)
def test_every_column_is_on_the_page_and_no_other(ledger: Ledger, table: str):
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| \S", SECTIONS[table], re.MULTILINE)
    described = [column for row in rows for column in re.findall(r"\w+", row)]
    assert sorted(described) == sorted(ledger.columns(table))


@pytest.mark.parametrize("number", range(len(QUERIES)))
def test_the_queries_on_the_page_run(ledger: Ledger, number: int):
    ledger.worker("w1")
    ledger.send("the-task-id", "waiting")
    lease = ledger.lease("w1")
    ledger.start(lease)
    if number == 2:
        ledger.fail(lease)
    elif number == 4:
        ledger.lose(lease)
    assert len(ledger.query(QUERIES[number].rstrip().removesuffix(";"))) >= 1


def test_all_databases_have_the_same_columns(sqlite_url: str, postgresql_url: str, mariadb_url: str):
    from mirepoix.connect.url import source_for

    columns = []
    for url in (sqlite_url, postgresql_url, mariadb_url):
        with Ledger(source_for(url)) as ledger:
            columns.append({table: set(ledger.columns(table)) for table in SECTIONS})
    assert columns[0] == columns[1] == columns[2]
