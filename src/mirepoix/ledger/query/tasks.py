"""Find tasks by id, by the beginning of an id, or by filters, the newest first.

Each group of states is read through its partial index. "since" is the time by which a group is ordered: a finished task
counts from when it finished, a held task from when it was taken, a waiting task from when it was sent. So the cost of a
search does not grow with the history, with one exception. If a filter without an index (a name or queue, a finished
task's worker) matches almost nothing, all finished tasks are read, for a worker those since it began. `Filters.among`
limits that.

Tasks that are ready are ordered by ``seq``, in which they were sent, because no index has the time. Of each lane (see
`lanes`) the newest are read, so the cost does not grow with the waiting tasks either, unless a filter matches almost
none of them. Two tasks that were sent at the same moment may stand in any order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from mirepoix.ledger.query.globs import is_glob, matches
from mirepoix.ledger.query.holders import Holders, holders
from mirepoix.ledger.query.lanes import lanes
from mirepoix.ledger.query.planning import at_once
from mirepoix.ledger.query.values import arguments, bound_moment, due, known_moment, seconds
from mirepoix.ledger.tx import Tx
from mirepoix.sql.columns import Row
from mirepoix.states import State


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of a search. Names are globs (``*`` and ``?``). A timedelta counts back by the ledger's clock."""

    states: frozenset[State] = frozenset(State)
    name: str | None = None
    queue: str | None = None
    worker: str | None = None
    since: datetime | timedelta | None = None
    until: datetime | timedelta | None = None
    failure_group: str | None = None
    """The id of a failure group, or its beginning."""
    only_scheduled: bool = False
    """Leave out pending tasks that are not due later."""
    because: str | None = None
    """A glob of the reason."""
    min_tries: int | None = None
    max_tries: int | None = None
    arguments: tuple[tuple[str | None, str], ...] = ()
    """Keywords with JSON values that the body contains at any depth. The keyword None means the value anywhere."""
    members_of: tuple[str, ...] = ()
    """The ids of groups or chords. No index has them, so it is for tasks that have not ended."""
    among: int | None = None
    """The most succeeded, cancelled and expired tasks that are read, the newest first. It limits the time."""


@dataclass(frozen=True, slots=True)
class TaskLine:
    """One task in a list. ``since`` is when it was sent, taken or finished, depending on its state.

    ``age_s`` counts from then, or from the start of a task that runs.
    """

    id: str
    name: str
    queue: str
    state: State
    reason: str | None
    attempts: int
    since: datetime
    age_s: float
    created_at: datetime
    due_at: datetime | None
    held_by: str | None
    """What is paused and holds it, such as ``task shop.pay``; None if nothing does."""
    run_time_s: float | None
    worker_id: str | None
    worker: str | None
    version: int
    parked_for: str | None
    group_id: str | None
    arguments: tuple[list[Any], dict[str, Any]] | None
    seq: int | None = None
    """Its place among tasks with the same ``since``; only in a `chunk`."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A part of the tasks, and the condition of its index, written so that SQLite uses the index too."""

    states: frozenset[State]
    index: str
    since: str
    order: tuple[str, ...]
    """The columns that order it. The last one is ``seq``, which is unique."""
    is_in_lanes: bool = False
    """Whether the index is that of the lanes."""
    began: str = ""
    """From when a task's age counts, if not from ``since``."""


Position = tuple[Any, int]
"""The position after a chunk of a branch: the time that orders the branch, as the database has it, and ``seq``."""

_ATTENTION = "t.state IN ('failed', 'quarantined', 'parked')"
_READY = "t.state = 'pending' AND t.due_at IS NULL"
_BY_END = ("t.finished_at", "t.seq")
_HELD = frozenset({State.LEASED, State.RUNNING})
_FINISHED = frozenset({State.SUCCEEDED, State.CANCELLED, State.EXPIRED})
_BRANCHES = (
    Branch(frozenset({State.PENDING}), _READY, "t.created_at", ("t.seq",), is_in_lanes=True),
    Branch(
        frozenset({State.PENDING}),
        "t.state = 'pending' AND t.due_at IS NOT NULL",
        "t.created_at",
        ("t.created_at", "t.seq"),
    ),
    Branch(
        _HELD,
        "t.state IN ('leased', 'running')",
        "t.leased_at",
        ("t.leased_at", "t.seq"),
        began="coalesce(t.started_at, t.leased_at)",
    ),
    *(
        Branch(frozenset({state}), f"{_ATTENTION} AND t.state = '{state.value}'", "t.finished_at", _BY_END)
        for state in (State.FAILED, State.QUARANTINED, State.PARKED)
    ),
    Branch(_FINISHED, "t.state IN ('succeeded', 'cancelled', 'expired')", "t.finished_at", _BY_END),
)
_MYSQL_BRANCHES = (
    *(branch for branch in _BRANCHES if branch.states != _FINISHED),
    *(
        Branch(frozenset({state}), f"t.state = '{state.value}'", "t.finished_at", _BY_END)
        for state in sorted(_FINISHED)
    ),
)
"""MySQL's branches. Its index on state and time is ordered by time within one state only."""

# A subquery for the worker's name, because a join would be made for all rows before they are sorted and cut.
_COLUMNS = """t.id, t.name, t.queue, t.state, t.reason, t.fence, {since} AS since,
       -({{seconds_until {age}}}) AS age_s, t.created_at, t.due_at, t.run_time_s, t.worker_id,
       (SELECT own.name FROM mirepoix_worker AS own WHERE own.id = t.worker_id) AS worker, t.version, t.parked_for,
       t.group_id, t.held_by"""
_BODY = ", t.content_type, t.body_encoding, t.body"


def search(
    tx: Tx, filters: Filters, limit: int | None = None, *, oldest_first: bool = False, with_arguments: bool = False
) -> list[TaskLine]:
    """Return the tasks that match *filters*, the newest first (by ``since``), at most *limit*."""
    columns = _COLUMNS + (_BODY if with_arguments else "")
    found = [_line(row) for row in _rows(tx, filters, columns, limit, oldest_first=oldest_first)]
    found.sort(key=lambda line: line.since, reverse=not oldest_first)
    return found[:limit]


def matching(tx: Tx, filters: Filters, limit: int | None = None) -> list[tuple[str, str, State]]:
    """Return ``(id, name, state)`` of the tasks that match *filters*, state by state, the oldest first."""
    rows = _rows(tx, filters, "t.id, t.name, t.state", limit, oldest_first=True)
    return [(row.id, row.name, State(row.state)) for row in rows][:limit]


def states_of(tx: Tx, task_ids: Sequence[str]) -> dict[str, tuple[State, bool]]:
    """Return for each id that exists its state, and whether the task has a due time."""
    rows = _of_ids(tx, "id, state, due_at", task_ids)
    return {row.id: (State(row.state), due(row.due_at) is not None) for row in rows}


@dataclass(frozen=True, slots=True)
class Version:
    """What of a task changes with everything that becomes of it."""

    state: State
    has_due: bool
    fence: int
    generation: int


def versions_of(tx: Tx, task_ids: Sequence[str], *, is_locking: bool = False) -> dict[str, Version]:
    """Return for each id that exists its version. With *is_locking* it cannot change until the transaction ends."""
    # A transaction that writes to SQLite has the file for itself.
    locking = "ORDER BY id FOR UPDATE" if is_locking and tx.dialect != "sqlite" else ""
    rows = _of_ids(tx, "id, state, due_at, fence, generation", task_ids, locking)
    return {row.id: Version(State(row.state), due(row.due_at) is not None, row.fence, row.generation) for row in rows}


def names_of(tx: Tx, task_ids: Sequence[str]) -> dict[str, str]:
    """Return the name of each id that exists."""
    return {row.id: row.name for row in _of_ids(tx, "id, name", task_ids)}


def _of_ids(tx: Tx, columns: str, task_ids: Sequence[str], ending: str = "") -> list[Row]:
    named = {f"id_{_letters(n)}": task_id for n, task_id in enumerate(task_ids)}
    if not named:
        return []
    wanted = ", ".join(f":{name}" for name in named)
    return tx.query(f"SELECT {columns} FROM mirepoix_task WHERE id IN ({wanted}) {ending}", **named)  # noqa: S608


def beginning_with(tx: Tx, prefix: str, most: int = 5) -> list[tuple[str, str, State]]:
    """Return ``(id, name, state)`` of up to *most* tasks with ids that begin with *prefix*. An exact match is alone."""
    columns = "SELECT id, name, state FROM mirepoix_task"
    rows = tx.query(f"{columns} WHERE id = :id", id=prefix)
    if not rows:
        clause, params = _prefix_clause(prefix, tx.dialect)
        rows = tx.query(f"{columns} WHERE {clause} ORDER BY id LIMIT :most", most=most, **params)
    return [(row.id, row.name, State(row.state)) for row in rows]


def _prefix_clause(prefix: str, dialect: str) -> tuple[str, dict[str, Any]]:
    exact = "substr(id, 1, length(CAST(:prefix AS text))) = CAST(:prefix AS text)"
    if dialect == "mysql":
        exact = "left(id, char_length(:prefix)) = :prefix"
    # A range over the primary key, as far as its order is the same in every collation: up to the last digit of a prefix
    # of small letters and digits. Letters may contract with the next letter (Danish "aa"), digits never do.
    head = re.match(r"[0-9a-z]*[0-9]", prefix)
    if head is None:
        return exact, {"prefix": prefix}
    first = head.group()
    after = first[:-1] + ("a" if first[-1] == "9" else str(int(first[-1]) + 1))
    return f"id >= :first AND id < :after AND {exact}", {"prefix": prefix, "first": first, "after": after}


def _rows(tx: Tx, filters: Filters, columns: str, limit: int | None, *, oldest_first: bool) -> list[Row]:
    """Return the rows of every branch that the filters need. Each branch is ordered by its own index."""
    at_once(tx)
    held_by = holders(tx, filters.worker)
    return [
        row
        for branch in branches(tx.dialect, filters)
        for row in _rows_of(tx, filters, branch, columns, limit, held_by, oldest_first=oldest_first)
    ]


def branches(dialect: str, filters: Filters) -> list[Branch]:
    """Return the branches that the filters need."""
    return [
        replace(branch, index=f"{branch.index} AND t.due_at < {{held_until}}") if filters.only_scheduled else branch
        for branch in (_MYSQL_BRANCHES if dialect == "mysql" else _BRANCHES)
        if branch.states & filters.states and not (filters.only_scheduled and branch.index == _READY)
    ]


def chunk(
    tx: Tx,
    filters: Filters,
    branch: Branch,
    after: Position | None,
    limit: int,
    *,
    oldest_first: bool = False,
    with_arguments: bool = False,
) -> tuple[list[TaskLine], Position | None]:
    """Return up to *limit* tasks of a branch after *after*, in order, and the position of the next chunk, or None."""
    columns = f"t.seq, {_COLUMNS}{_BODY if with_arguments else ''}"
    at_once(tx)
    held_by = holders(tx, filters.worker)
    rows = _rows_of(tx, filters, branch, columns, limit, held_by, oldest_first=oldest_first, after=after)
    return [_line(row) for row in rows], (rows[-1].since, rows[-1].seq) if len(rows) == limit else None


def _rows_of(
    tx: Tx,
    filters: Filters,
    branch: Branch,
    columns: str,
    limit: int | None,
    held_by: Holders | None,
    *,
    oldest_first: bool,
    after: Position | None = None,
) -> list[Row]:
    if held_by is not None and not held_by.ids:
        return []
    clauses, params = _clauses(filters, branch, tx.dialect, held_by)
    wanted = branch.states & filters.states
    if wanted != branch.states:
        states = ", ".join(f"'{state.value}'" for state in sorted(wanted))
        clauses.append(f"t.state IN ({states})")
    hint = ""
    if filters.among is not None and branch.states <= _FINISHED:
        oldest = tx.query(
            f"SELECT {branch.since} AS since FROM mirepoix_task AS t WHERE {branch.index}"  # noqa: S608 (no value is in it)
            f" ORDER BY {branch.since} DESC LIMIT 1 OFFSET :among",
            among=filters.among,
        )
        if oldest:
            clauses.append(f"{branch.since} > :among_after")
            params["among_after"] = oldest[0].since
            if tx.dialect == "mysql" and filters.failure_group is None:
                hint = " FORCE INDEX (mirepoix_task_finished)"  # it would read the whole table otherwise
    if after is not None:
        clauses.append(_beyond(branch, ">" if oldest_first else "<"))
        params["after_at"], params["after_seq"] = after
    if limit is not None:
        params["most"] = limit
    found = (
        lanes(tx, None if is_glob(filters.queue or "*") else filters.queue) if branch.is_in_lanes and limit else None
    )
    if found is None:
        sql = _select(branch, columns, clauses, hint, limit, oldest_first=oldest_first)
        return tx.query(sql, **params)
    hint = " FORCE INDEX (mirepoix_task_waiting)" if tx.dialect == "mysql" else ""
    of_lane = [*clauses, "t.queue = :lane_queue", "t.priority = :lane_priority"]
    sql = _select(branch, f"{columns}, t.seq AS place", of_lane, hint, limit, oldest_first=oldest_first)
    rows = [
        row for lane in found for row in tx.query(sql, **params, lane_queue=lane.queue, lane_priority=lane.priority)
    ]
    return sorted(rows, key=lambda row: row.place, reverse=not oldest_first)[:limit]


def _beyond(branch: Branch, sign: str) -> str:
    """Return the condition that a task comes after the position."""
    if len(branch.order) == 1:
        return f"t.seq {sign} :after_seq"
    return f"{branch.since} {sign}= :after_at AND ({branch.since} {sign} :after_at OR t.seq {sign} :after_seq)"


def _select(
    branch: Branch, columns: str, clauses: list[str], hint: str, limit: int | None, *, oldest_first: bool
) -> str:
    direction = "ASC" if oldest_first else "DESC"
    tables = f"mirepoix_task AS t{hint}"
    if any("w.name" in clause for clause in clauses):
        tables += " LEFT JOIN mirepoix_worker AS w ON w.id = t.worker_id"
    return (
        f"SELECT {columns.format(since=branch.since, age=branch.began or branch.since)} FROM {tables}"  # noqa: S608 (no value is in it)
        f" WHERE {' AND '.join([branch.index, *clauses])}"
        f" ORDER BY {', '.join(f'{column} {direction}' for column in branch.order)}"
        f"{'' if limit is None else ' LIMIT :most'}"
    )


def _clauses_of_details(filters: Filters, dialect: str) -> tuple[list[str], dict[str, Any]]:
    """Return the conditions on reason, tries, groups and arguments, which have no index."""
    clauses: list[str] = []
    params: dict[str, Any] = {}
    if filters.because is not None:
        clause, params["because"] = matches("t.reason", "because", filters.because, dialect)
        clauses.append(clause)
    for sign, name, tries in ((">=", "min_tries", filters.min_tries), ("<=", "max_tries", filters.max_tries)):
        if tries is not None:
            clauses.append(f"t.fence {sign} :{name}")
            params[name] = tries
    if filters.members_of:
        names = {f"member_{_letters(n)}": group_id for n, group_id in enumerate(filters.members_of)}
        clauses.append(f"t.group_id IN ({', '.join(f':{name}' for name in names)})")
        params |= names
    for keyword, value in filters.arguments:
        texts = [f'"{keyword}": {value}{end}' for end in ",}"]
        if keyword is None:
            texts = [f"{begin}{value}{end}" for begin in "[ " for end in ",]}"]
        names = {f"argument_{_letters(len(params) + n)}": text for n, text in enumerate(texts)}
        find = "strpos" if dialect == "postgresql" else "instr"
        clauses.append(f"({' OR '.join(f'{find}(t.body, :{name}) > 0' for name in names)})")
        params |= names
    return clauses, params


def _clauses(
    filters: Filters, branch: Branch, dialect: str, held_by: Holders | None
) -> tuple[list[str], dict[str, Any]]:
    clauses: list[str] = []
    params: dict[str, Any] = {}
    for column, glob in (("t.name", filters.name), ("t.queue", filters.queue)):
        if glob is not None:
            name = column.removeprefix("t.") + "_glob"
            clause, params[name] = matches(column, name, glob, dialect)
            clauses.append(clause)
    if held_by is not None:
        names = {f"worker_{_letters(n)}": id for n, id in enumerate(held_by.ids)}
        clauses.append(f"t.worker_id IN ({', '.join(f':{name}' for name in names)})")
        params |= names
        if held_by.since is not None and branch.since == "t.finished_at":
            clauses.append("t.finished_at >= :held_since")
            params["held_since"] = bound_moment(held_by.since, dialect)
    elif filters.worker is not None:
        clause, params["worker_glob"] = matches("w.name", "worker_glob", filters.worker, dialect)
        clauses.append(f"(t.worker_id = :worker OR {clause})")
        params["worker"] = filters.worker
    if filters.failure_group is not None:
        clauses.append("substr(t.failure_group, 1, :letters) = :failure_group")
        params |= {"failure_group": filters.failure_group, "letters": len(filters.failure_group)}
    more, found = _clauses_of_details(filters, dialect)
    clauses += more
    params |= found
    for sign, name, value in ((">=", "since", filters.since), ("<", "until", filters.until)):
        if isinstance(value, timedelta):
            clauses.append(f"{branch.since} {sign} {{earlier :{name}_s}}")
            params[f"{name}_s"] = value.total_seconds()
        elif value is not None:
            clauses.append(f"{branch.since} {sign} :{name}")
            params[name] = bound_moment(value, dialect)
    return clauses, params


def _letters(number: int) -> str:
    """Write a placeholder's number in letters, because placeholders have no digits."""
    letters = ""
    while True:
        number, rest = divmod(number, 26)
        letters += chr(ord("a") + rest)
        if number == 0:
            return letters


def _line(row: Row) -> TaskLine:
    return TaskLine(
        id=row.id,
        name=row.name,
        queue=row.queue,
        state=State(row.state),
        reason=row.reason,
        attempts=row.fence,
        since=known_moment(row.since),
        age_s=seconds(row.age_s) or 0.0,
        created_at=known_moment(row.created_at),
        due_at=due(row.due_at),
        held_by=row.held_by if row.due_at is not None and due(row.due_at) is None else None,
        run_time_s=row.run_time_s,
        worker_id=row.worker_id,
        worker=row.worker,
        version=row.version,
        parked_for=row.parked_for,
        group_id=row.group_id,
        arguments=arguments(row.content_type, row.body_encoding, row.body) if "body" in row.columns else None,
        seq=row.seq if "seq" in row.columns else None,
    )
