"""Rows are read by name: each statement names its columns, the same in every dialect, and only those are read."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

import mirepoix.sql
from mirepoix.sql import DIALECTS, steps
from mirepoix.sql.columns import Row, columns, row_class
from statements import statements

ROOT = Path(mirepoix.sql.__file__).parent.parent
NAMES = {statement.name for statement in statements()}

ROW = re.compile(r"\bRow\b")
MENTIONS = re.compile(r"\b(?:Row|rows?|run)\b|fetch|_end|_each")
FETCHING = ("fetch", "_end", "_each")
"""Functions that answer with the rows of the statement that they are given."""

READ_FOR_OTHERS = {"ledger/failures.py": "fail"}
"""Modules that read rows of a statement that another module runs."""


OF_ANOTHER_DATABASE = ("connect/perform.py", "demo/", "crashtest/")
"""What has rows of drivers: of the steps of a statement, of the demo's shop, of the user's own databases."""


def answer(name: str, dialect: str) -> tuple[str, ...]:
    """The columns of the answer to a statement."""
    return next((step.rows.columns for step in reversed(steps(name, dialect, "named")) if step.rows.columns), ())


@cache
def folders() -> dict[str, set[str]]:
    """Where the files of each statement are."""
    found: dict[str, set[str]] = defaultdict(set)
    for statement in statements():
        found[statement.name].add(statement.folder)
    return found


def dialects_of(name: str) -> list[str]:
    found = folders()[name]
    return list(DIALECTS) if "common" in found else [dialect for dialect in DIALECTS if dialect in found]


@cache
def trees() -> dict[str, ast.Module]:
    """What is parsed of each module that can read a row."""
    texts = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in sorted(ROOT.rglob("*.py"))}
    return {where: ast.parse(text) for where, text in texts.items() if MENTIONS.search(text)}


def asked(tree: ast.AST, *methods: str) -> set[str]:
    """The statements that are given to these functions by name."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and called(node) in methods]
    words = [word for call in calls for given in call.args[:2] for word in ast.walk(given)]
    return {word.value for word in words if isinstance(word, ast.Constant) and word.value in NAMES}


def called(node: ast.AST) -> str:
    """The name of the function or method that is called."""
    function = node.func if isinstance(node, ast.Call) else None
    return getattr(function, "attr", getattr(function, "id", ""))


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT id, t.queue, count(*) AS tasks FROM mirepoix_task AS t", ("id", "queue", "tasks")),
        ("SELECT count(*), 1, max(id) FROM mirepoix_task", ("", "", "")),
        ("SELECT DISTINCT queue FROM mirepoix_task", ("queue",)),
        ("SELECT 1 AS woken", ("woken",)),
        ("SELECT (SELECT max(id) FROM a) AS newest, 'a, b' AS text FROM b", ("newest", "text")),
        ("SELECT extract(epoch FROM now()) AS now_s", ("now_s",)),
        ("SELECT id /* FROM what */ , fence FOR UPDATE", ("id", "fence")),
        ("SELECT shape FROM a UNION ALL SELECT other FROM b", ("shape",)),
        ("WITH a AS (SELECT x FROM b) SELECT y FROM a", ("y",)),
        ("WITH a AS (SELECT x FROM b) UPDATE c SET d = 1 FROM a RETURNING c.id, c.n > 0 AS is_more", ("id", "is_more")),
        ("INSERT INTO a (b) SELECT c FROM d ON CONFLICT (b) DO NOTHING RETURNING b", ("b",)),
        ("INSERT INTO a (b) SELECT c FROM d", ()),
        ("DELETE FROM a", ()),
        ("SELECT * FROM a", ("",)),
    ],
)
def test_the_names_of_columns_are_read_from_the_statement(sql: str, found: tuple[str, ...]):
    assert columns(sql) == found


def test_a_row_is_a_tuple_whose_values_have_names():
    (row,) = row_class(("id", "fence")).all([("a", 1)])
    assert (row.id, row.fence) == row == ("a", 1)
    assert row.as_dict() == {"id": "a", "fence": 1}
    with pytest.raises(AttributeError, match="queue"):
        assert row.queue


def test_every_column_has_a_name_of_its_own() -> None:
    """And none that tuples have already."""
    taken = {"", *dir(Row)}
    wrong = [
        (name, dialect, step.rows.columns)
        for name in sorted(NAMES)
        for dialect in dialects_of(name)
        for step in steps(name, dialect, "named")
        if len(set(step.rows.columns)) != len(step.rows.columns) or taken & set(step.rows.columns)
    ]
    assert wrong == []


def test_the_dialects_answer_with_the_same_columns() -> None:
    """Unless the statement is only run, so that nobody reads its answer."""
    run = {name for tree in trees().values() for name in asked(tree, "run")}
    found = {name: {dialect: answer(name, dialect) for dialect in dialects_of(name)} for name in NAMES - run}
    assert {name: given for name, given in found.items() if len(set(given.values())) != 1} == {}


def test_what_is_read_of_a_row_is_a_column_of_a_statement_that_is_asked_there():
    unknown, read = [], 0
    for where, tree in trees().items():
        of_module = asked(tree, *FETCHING) | {name for name in (READ_FOR_OTHERS.get(where),) if name}
        for function in ast.walk(tree):
            if of_module and isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                names = asked(function, *FETCHING) or of_module
                known = {column for name in names for column in answer(name, dialects_of(name)[0])}
                found = attributes_of_rows(function)
                read += len(found)
                unknown += [f"{where}:{node.lineno}: {node.attr}" for node in found if node.attr not in known]
    assert unknown == []
    assert read > 150


def test_no_row_is_read_by_place():
    places = [
        f"{where}:{node.lineno}"
        for where, tree in trees().items()
        if not where.startswith(OF_ANOTHER_DATABASE)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "row"
        if isinstance(node.slice, ast.Slice) or isinstance(getattr(node.slice, "value", None), int)
    ]
    assert places == []


def attributes_of_rows(function: ast.AST) -> list[ast.Attribute]:
    """What is read by name of the answers of ``fetch``, and of parameters that are rows."""
    nodes = list(ast.walk(function))
    rows = {
        node.arg for node in nodes if isinstance(node, ast.arg) and ROW.search(ast.unparse(node.annotation or node))
    }
    before: set[str] = set()
    while before != rows:
        before = set(rows)
        given = [(node.targets[0], node.value) for node in nodes if isinstance(node, ast.Assign)]
        given += [(node.target, node.iter) for node in nodes if isinstance(node, ast.For | ast.comprehension)]
        for target, value in given:
            if is_row(value, rows):
                rows |= {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}
    methods = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    return [
        node
        for node in nodes
        if isinstance(node, ast.Attribute) and is_row(node.value, rows) and id(node) not in methods
        if node.attr != "columns"
    ]


def is_row(node: ast.AST, rows: set[str]) -> bool:
    """Whether it is an answer, or a part of one."""
    if isinstance(node, ast.IfExp | ast.Subscript):
        return is_row(node.body if isinstance(node, ast.IfExp) else node.value, rows)
    if called(node) == "sorted":
        return is_row(node.args[0], rows)
    return called(node) == "fetch" or getattr(node, "id", "") in rows
