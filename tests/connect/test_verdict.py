"""Which errors of a database pass by themselves: real ones, and the page that lists them."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pymysql
import pytest

from driver import Ledger
from mirepoix.connect import mysql_codes
from mirepoix.connect.url import source_for
from mirepoix.connect.verdict import SQLITE, SQLSTATES, Verdict, first_line, verdict

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "database-errors.md").read_text()
WORDS = {Verdict.PASSES: "passes", Verdict.CONTENT: "content", Verdict.ELSE: "else"}


def postgresql(sqlstate: str) -> Exception:
    return psycopg.errors.lookup(sqlstate)("no")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (postgresql("25006"), Verdict.PASSES),
        (postgresql("53100"), Verdict.PASSES),
        (postgresql("40001"), Verdict.PASSES),
        (postgresql("40002"), Verdict.CONTENT),
        (postgresql("22003"), Verdict.CONTENT),
        (postgresql("42501"), Verdict.ELSE),
        (postgresql("25P02"), Verdict.ELSE),
        (postgresql("XX001"), Verdict.ELSE),
        (psycopg.OperationalError("server closed the connection unexpectedly"), Verdict.PASSES),
        (psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"), Verdict.CONTENT),
        (psycopg.ProgrammingError("no"), Verdict.ELSE),
        (pymysql.OperationalError(1021, "disk full"), Verdict.PASSES),
        (pymysql.OperationalError(1153, "packet"), Verdict.CONTENT),
        (pymysql.DataError(1406, "too long"), Verdict.CONTENT),
        (pymysql.OperationalError(1142, "denied"), Verdict.ELSE),
        (sqlite3.InterfaceError("no"), Verdict.ELSE),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"), Verdict.CONTENT),
        (KeyError("a bug"), Verdict.CONTENT),
        (TimeoutError("timed out"), Verdict.PASSES),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_a_driver_raises_is_judged_by_its_code(error: Exception, expected: Verdict):
    passing = (psycopg.OperationalError, pymysql.OperationalError)
    assert verdict(error, passing) is expected
    wrapped = RuntimeError("of a framework")
    wrapped.__cause__ = error
    assert verdict(wrapped, passing) is expected


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT value FROM json_each('{')", Verdict.CONTENT),
        ("SELECT json_array(x'00')", Verdict.CONTENT),
        ("SELECT abs(-9223372036854775808)", Verdict.CONTENT),
        ("SELECT json_extract('{}', 'no path')", Verdict.ELSE),
        ("SELECT * FROM missing", Verdict.ELSE),
    ],
)
def test_sqlite_says_in_words_what_it_has_no_code_for(statement: str, expected: Verdict):
    with closing(sqlite3.connect(":memory:")) as connection, pytest.raises(sqlite3.OperationalError) as raised:
        connection.execute(statement).fetchall()
    assert raised.value.sqlite_errorcode == sqlite3.SQLITE_ERROR
    assert verdict(raised.value, (sqlite3.OperationalError,)) is expected


@pytest.mark.parametrize("text", ["{", '["a]', "[" * 50 + "]" * 50])
def test_mariadb_says_that_json_cannot_be_read_by_several_codes(mariadb_url: str, text: str):
    with Ledger(source_for(mariadb_url)) as ledger, pytest.raises(pymysql.OperationalError) as raised:
        ledger.query(f"SELECT id FROM JSON_TABLE('{text}', '$[*]' COLUMNS (id varchar(9) PATH '$.a')) AS found")
    assert verdict(raised.value, (pymysql.OperationalError,)) is Verdict.CONTENT


def test_an_error_is_told_without_the_row_that_was_refused():
    assert first_line(psycopg.IntegrityError("violates x\nDETAIL: Failing row contains (secret).")) == (
        "IntegrityError: violates x"
    )


def test_the_page_lists_every_code():
    page = {}
    for row in re.findall(r"^\| (`[^|]+) \| [^|]+ \| (\w+) \|$", PAGE, re.MULTILINE):
        codes = (getattr(sqlite3, code, code) for code in re.findall(r"`([^`]+)`", row[0]))
        page |= dict.fromkeys(codes, row[1])
    code = {
        **{state: WORDS[judged] for state, judged in SQLSTATES.items()},
        **{str(number): "passes" for number in mysql_codes.PASSING},
        **{str(number): "content" for number in mysql_codes.CONTENT},
        **{number: WORDS[judged] for number, judged in SQLITE.items()},
    }
    assert page == code
