"""The SQL, the table of transitions and the drawing say the same."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import pytest

from drawing import PAGE, drawing
from mirepoix.sql import DIALECTS, steps
from mirepoix.states import ATTENTION, FINAL, HELD, TRANSITIONS, WAITING, AttemptOutcome, State
from statements import Statement, assignments, statements

STATEMENTS = statements()
RETURNING = [
    one
    for one in STATEMENTS
    if one.folder == "common"
    and " RETURNING " in one.sql
    and not any(other.folder == "mysql" and other.name == one.name for other in STATEMENTS)
]
"""Of these MySQL's steps are made."""

SAME = {"wake", "wake_listeners"}
"""Nothing to do is the same everywhere but in PostgreSQL."""

WRITING = [one for one in STATEMENTS if one.transition is not None]

ANOTHER_STATEMENT_OF = {
    "quarantine_of_dead_workers": "quarantine",
    "lose_of_dead_workers": "lose",
    "take_by_id": "take",
    "take_returned": "take",
    "take_limited": "take",
}
"""Verbs that need a second statement."""

ONLY_IN = {
    "hold_liveness": ({"postgresql", "mysql"}, "SQLite's liveness lock is a file, not a row or a session"),
    "end_liveness": ({"postgresql"}, "the same; MySQL's KILL takes no value that a SELECT finds"),
    "holds_liveness": ({"mysql"}, "the same"),
    "note_server": ({"postgresql", "mysql"}, "an SQLite file has no server whose restart would free the locks"),
    "unheld_workers": ({"postgresql", "mysql"}, "SQLite's lock files are tried one by one, by the source"),
    "news": ({"mysql"}, "PostgreSQL notifies, and SQLite's file is watched"),
    "news_of_messages": ({"mysql"}, "the same"),
}
"""Statements that some databases do not need, and why."""


def test_every_statement_that_writes_a_state_names_its_transition():
    silent = [one.where for one in STATEMENTS if one.writes_task_state and one.transition is None]
    assert silent == []
    assert [one.where for one in WRITING if not one.writes_task_state] == []


def test_the_statements_and_the_table_of_transitions_agree():
    said = {(ANOTHER_STATEMENT_OF.get(one.name, one.name), *one.transition) for one in WRITING}
    assert said == {(t.verb, t.sources, t.target) for t in TRANSITIONS}


@pytest.mark.parametrize("one", WRITING, ids=lambda one: one.where)
def test_the_statement_does_what_its_first_line_says(one: Statement):
    sources, target = one.transition
    set_to = set(re.findall(r"^'(\w+)'$", one.task_assignments.get("state", "")))
    if None in sources:
        assert "INSERT INTO mirepoix_task" in one.sql
        assert "state" not in one.sql.replace("statement_timestamp", "")  # the column's default is pending
        return
    assert set_to == {target} or (not set_to and sources == {target})
    for step in one.steps:
        guarded = {frozenset(State(word) for word in re.findall(r"\w+", guard)) for guard in _guards(step)}
        # What was found and locked by the step before may be looked at once more, but the writing step has its guard.
        assert sources in guarded or not step.startswith("UPDATE"), (step, guarded)


@pytest.mark.parametrize("one", [one for one in WRITING if one.transition[0] <= HELD], ids=lambda one: one.where)
def test_whoever_writes_a_held_task_proves_that_it_may(one: Statement):
    for step in one.steps:
        where = step.split(" WHERE ", 1)[1]
        if one.name in ANOTHER_STATEMENT_OF:
            assert "worker_id IN (SELECT w.id FROM mirepoix_worker AS w WHERE w.state <> 'alive')" in where
            continue
        assert re.search(r"\bworker_id = :worker_id", where)
        if one.name != "give_back":
            assert re.search(r"\bfence = (:fence|r\.fence)", where)
        elif step is one.steps[0]:
            assert ":rows" in where  # all that the holder itself has, or the named attempts
            named = r"r\.fence = t\.fence|'\$\.fence'\) = t\.fence|\(t\.id, t\.fence\) IN \( SELECT r\.id, r\.fence"
            assert re.search(named, where)


def test_nothing_but_take_raises_the_fence_and_nothing_lowers_it():
    written = {
        (one.name, value) for one in STATEMENTS for value in re.findall(r"\bfence = ((?:t\.)?fence [^,]*),", one.sql)
    }
    assert written == {
        (take, fence)
        for take in ("take", "take_by_id", "take_returned", "take_limited", "resume_parked")
        for fence in ("fence + 1", "t.fence + 1")
    }
    others = {value for one in STATEMENTS for value in re.findall(r"\bfence = ([:\w.]+)", one.sql)}
    assert others <= {":fence", "r.fence", "fence", "t.fence"}


def test_all_databases_have_every_statement():
    common = {one.name for one in STATEMENTS if one.folder == "common"}
    having = {
        name: {one.folder for one in STATEMENTS if one.name == name}
        for name in {one.name for one in STATEMENTS} - common
    }
    assert {name: folders for name, folders in having.items() if folders != set(DIALECTS)} == {
        name: folders for name, (folders, _) in ONLY_IN.items()
    }


def test_a_statement_is_not_written_twice_where_the_databases_do_not_differ():
    by_where = {(one.folder, one.name): one.sql for one in STATEMENTS}
    same = {
        (folder, other, name)
        for folder, name in by_where
        for other in ("common", *DIALECTS)
        if folder < other and by_where[folder, name] == by_where.get((other, name))
    }
    assert {name for _, _, name in same} == SAME


@pytest.mark.parametrize("one", RETURNING, ids=lambda one: one.where)
def test_what_mysql_answers_before_it_writes_is_not_changed_by_it(one: Statement):
    shape = r"(?:UPDATE \w+ SET (.*)|DELETE .*) WHERE .* RETURNING (.*)"
    set_, returned = re.fullmatch(shape, one.sql.strip()).groups()
    assert not set(assignments(set_ or "a = b")) & set(re.findall(r"\w+", returned))
    find, change = (step.sql for step in steps(one.name, "mysql", "named"))
    (guard,) = re.findall(r" WHERE (.*) FOR UPDATE(?: SKIP LOCKED)?$", find, re.DOTALL)
    assert change.endswith(f" WHERE {guard}")


@pytest.mark.parametrize("name", sorted({one.name for one in STATEMENTS if one.folder in ("common", "mysql")}))
def test_mysql_sets_nothing_that_a_later_assignment_of_the_statement_reads(name: str):
    """It assigns from left to right, and what is read is what was just written."""
    for step in steps(name, "mysql", "named"):
        update = re.search(r"\bUPDATE\s.*?(?<!CHARACTER)\sSET\s+(.*)", step.sql, re.DOTALL)
        written: set[str] = set()
        for column, expression in assignments(update[1]).items() if update else ():
            own = re.sub(r"'[^']*'|\b(?!t\b)\w+\.\w+", "", expression)  # no texts, and no columns of other tables
            read = set(re.findall(r"(?<![:.\w])(?:t\.)?([a-z_]+)\b", own))
            assert not read & written, (name, column)
            written.add(column)


def test_every_state_is_in_one_group_and_can_be_reached_and_left():
    assert set(State) == WAITING | HELD | FINAL | ATTENTION
    assert set(State) == {t.target for t in TRANSITIONS}
    assert set(State) | {None} == set(chain.from_iterable(t.sources for t in TRANSITIONS))


def test_nothing_but_success_and_failure_of_the_lease_holder_ends_a_held_task_for_good():
    final_from_held = {t.verb for t in TRANSITIONS if t.sources & HELD and t.target in FINAL}
    assert final_from_held == {"succeed", "fail", "revoke", "expire_held"}
    assert all("lease holder" in t.who for t in TRANSITIONS if t.verb in final_from_held)


def test_the_drawing_in_the_docs_is_made_from_the_table():
    assert drawing() in PAGE.read_text("utf-8"), "run: python tests/drawing.py"


def _guards(sql: str) -> list[str]:
    without_writes = re.sub(r"(SET|,) (t\.)?state = '\w+'", "", sql)
    return [
        one or several
        for one, several in re.findall(r"\bstate (?:= '(\w+)'|IN \(([^)]*)\))", without_writes)
        if one != "alive"
    ]


def test_the_page_of_the_schema_names_every_outcome_of_an_attempt():
    page = (Path(__file__).parents[1] / "docs" / "reference" / "schema.md").read_text("utf-8")
    (row,) = re.findall(r"^\| `outcome` \| how the attempt ended: (.*) \|$", page, re.MULTILINE)
    assert set(re.findall(r"`([^`]+)`", row)) == set(AttemptOutcome)
