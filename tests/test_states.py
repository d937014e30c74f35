"""The SQL, the table of transitions and the drawing say the same."""

from __future__ import annotations

import re
from itertools import chain

import pytest

from drawing import PAGE, drawing
from mirepoix.states import ATTENTION, FINAL, HELD, TRANSITIONS, WAITING, State
from statements import Statement, statements

STATEMENTS = statements()
WRITING = [one for one in STATEMENTS if one.transition is not None]

ANOTHER_STATEMENT_OF = {
    "quarantine_of_dead_workers": "quarantine",
    "lose_of_dead_workers": "lose",
}
"""Verbs that need a second statement."""

ONLY_IN = {
    "hold_liveness": ("postgresql", "SQLite's liveness lock is a file, not a row or a session"),
    "note_server": ("postgresql", "an SQLite file has no server whose restart would free the locks"),
    "unheld_workers": ("postgresql", "SQLite's lock files are tried one by one, by the source"),
}
"""Statements that one database does not need, and why."""


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
    set_to = set(re.findall(r"SET state = '(\w+)'", one.sql))
    if None in sources:
        assert "INSERT INTO mirepoix_task" in one.sql
        assert "state" not in one.sql.replace("statement_timestamp", "")  # the column's default is pending
        return
    assert set_to == {target} or (not set_to and sources == {target})
    guarded = {frozenset(State(word) for word in re.findall(r"\w+", guard)) for guard in _guards(one.sql)}
    assert sources in guarded, guarded


@pytest.mark.parametrize("one", [one for one in WRITING if one.transition[0] <= HELD], ids=lambda one: one.where)
def test_whoever_writes_a_held_task_proves_that_it_may(one: Statement):
    where = one.sql.split(" WHERE ", 1)[1]
    if one.name in ANOTHER_STATEMENT_OF:
        assert "worker_id IN (SELECT w.id FROM mirepoix_worker AS w WHERE w.state <> 'alive')" in where
        return
    assert re.search(r"\bworker_id = :worker_id", where)
    if one.name == "give_back":
        assert ":rows" in where  # all that the holder itself has, or the named attempts
        assert re.search(r"r\.fence = t\.fence|'\$\.fence'\) = t\.fence", where)
        return
    assert re.search(r"\bfence = (:fence|r\.fence)", where)


def test_nothing_but_take_raises_the_fence_and_nothing_lowers_it():
    written = {
        (one.name, value) for one in STATEMENTS for value in re.findall(r"\bfence = ((?:t\.)?fence [^,]*),", one.sql)
    }
    assert written == {("take", "fence + 1"), ("take", "t.fence + 1")}
    others = {value for one in STATEMENTS for value in re.findall(r"\bfence = ([:\w.]+)", one.sql)}
    assert others <= {":fence", "r.fence", "fence", "t.fence"}


def test_both_databases_have_every_statement():
    by_folder = {
        folder: {one.name for one in STATEMENTS if one.folder == folder}
        for folder in ("common", "postgresql", "sqlite")
    }
    differing = by_folder["postgresql"] ^ by_folder["sqlite"]
    only_in = {name for name in differing if name not in by_folder["common"]}
    assert only_in == set(ONLY_IN)
    for name, (folder, reason) in ONLY_IN.items():
        assert name in by_folder[folder], reason


def test_a_statement_is_not_written_twice_where_the_databases_do_not_differ():
    by_where = {(one.folder, one.name): one.sql for one in STATEMENTS}
    same = {
        name
        for folder, name in by_where
        if folder == "sqlite" and by_where["sqlite", name] == by_where.get(("postgresql", name))
    }
    assert same == set()


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
    without_writes = re.sub(r"SET state = '\w+'", "", sql)
    return [
        one or several
        for one, several in re.findall(r"\bstate (?:= '(\w+)'|IN \(([^)]*)\))", without_writes)
        if one != "alive"
    ]
