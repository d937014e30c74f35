"""The SQL statements of the ledger, one in each file. A file outside ``common/`` means that its database differs.

Placeholders are written ``:name``, and `statement` renders them for a driver. Some expressions differ between the
databases. They are written in braces and replaced from a fixed table, never from data: ``{now}``, ``{later :seconds}``,
``{earlier :seconds}``, ``{seconds_until expression}``, ``{as_text expression}``, ``{by index}`` (an index hint for
MySQL; the others choose the index themselves), ``{waited_s table}`` (how long the task in that row, which is still
pending, has been ready), ``{lease table}`` (what changes in that row when a worker takes it), ``{bucket expression}``
(the bucket of a duration, see `mirepoix.sql.buckets`), ``{microseconds expression}`` (a duration in seconds as an
integer), ``{held_until}`` (the due time of a task that is held) and ``{hold table}`` (what ``held_by`` says of a hold
in that row). Files in ``sql/mysql/`` also have:

* ``{json :parameter}``, ``{text}`` and ``{id}``: a text that JSON_TABLE reads, and the types of its columns
* ``{moment expression}``: a datetime from an ISO 8601 text
* ``{of table}`` after ``FOR UPDATE``. MySQL needs it, because it tries to lock the rows of a JSON_TABLE and cannot.
  MariaDB neither has it nor needs it.
* ``{found}``: see below

`mirepoix.sql.envelope` describes ``{envelope …}``.

**Statements that return changed rows** end with ``RETURNING``. MySQL and MariaDB have no ``RETURNING`` after an
``UPDATE``. There a statement is a few steps in one transaction (`Step`), and the last ``SELECT`` is the answer:

1. A ``SELECT … FOR UPDATE`` with the guard finds and locks the rows. If it finds none, the rest is left out.
2. The ``UPDATE`` (or ``DELETE``) with the same guard changes them. It must change as many rows as were found.

`_without_returning` makes these steps from a plain ``UPDATE table SET … WHERE … RETURNING …`` or ``DELETE FROM …`` in
``common/``. The statement must not change the columns that it returns, and its first returned column must be the
table's key. If the guard has ``key = :parameter``, the ``SELECT`` waits for a locked row. Otherwise it is a sweep. A
sweep skips locked rows, so sweeps never wait for each other, and the next sweep finds these rows. It changes only the
rows that it found, so a row that begins to match the guard between the two steps is not changed unseen.

Anything else is a file in ``sql/mysql/``, with the steps divided by a line that only has a semicolon. Each ``SELECT``
passes the first column of its rows, as a JSON array, to the following steps in ``:found``; ``{found}`` is the same as a
table (``found.id``, and ``found.nth`` counts from 1). A step under ``-- for each :item in :items`` runs for every
element of that JSON array. An
``INSERT`` after a ``SELECT`` of missing rows is repeated, with a locking ``SELECT``, if another transaction inserted
first: a duplicate key undoes only that one statement. ``-- at first taken to be every "id" of :rows`` skips the
``SELECT`` if normally no row exists. It then runs only after the first duplicate key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from mirepoix.sql import buckets
from mirepoix.sql.columns import Row, columns, row_class
from mirepoix.sql.envelope import expand

DIALECTS = ("postgresql", "sqlite", "mysql")

_BUCKET = buckets.case(r"\1")
_RETURNED_AT = (
    r"CASE WHEN \1.fence > 0 THEN (SELECT ended.finished_at FROM mirepoix_attempt AS ended"
    r" WHERE ended.task_id = \1.id AND ended.fence = \1.fence) END"
)
_BINARY = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
_SPELLING: dict[str, dict[str, str]] = {
    "postgresql": {
        "now": "statement_timestamp()",
        "later": r"(statement_timestamp() + \1 * interval '1 second')",
        "earlier": r"(statement_timestamp() - \1 * interval '1 second')",
        "seconds_until": r"extract(epoch FROM \1 - statement_timestamp())",
        "as_text": r"CAST(\1 AS text)",
        "by": r"/* by \1 */",
        "waited_s": (
            r"greatest(0, extract(epoch FROM statement_timestamp() - greatest(\1.created_at, \1.requeued_at,"
            rf" CASE WHEN \1.requeued_at IS NULL OR \1.eta <= statement_timestamp() THEN \1.eta END, {_RETURNED_AT})))"
        ),
        "bucket": _BUCKET,
        "microseconds": r"CAST(round(\1 * 1000000.0) AS bigint)",
        "held_until": "timestamptz '9999-12-31 00:00:00+00'",
        "hold": r"(\1.kind || ' ' || \1.value)",
    },
    "sqlite": {
        "now": "strftime('%Y-%m-%d %H:%M:%f', 'now')",
        "later": r"strftime('%Y-%m-%d %H:%M:%f', 'now', \1 || ' seconds')",
        "earlier": r"strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || \1 || ' seconds')",
        "seconds_until": r"((julianday(\1) - julianday('now')) * 86400.0)",
        "as_text": r"CAST(\1 AS text)",
        "by": r"/* by \1 */",
        "waited_s": (
            r"round(max(0.0, (julianday('now') - julianday(max(\1.created_at, coalesce(\1.requeued_at, \1.created_at),"
            r" CASE WHEN \1.requeued_at IS NULL OR \1.eta <= strftime('%Y-%m-%d %H:%M:%f', 'now')"
            rf" THEN coalesce(\1.eta, \1.created_at) ELSE \1.created_at END,"
            rf" coalesce({_RETURNED_AT}, \1.created_at)))) * 86400.0), 3)"
        ),
        "bucket": _BUCKET,
        "microseconds": r"CAST(round(\1 * 1000000.0) AS integer)",
        "held_until": "'9999-12-31 00:00:00.000'",
        "hold": r"(\1.kind || ' ' || \1.value)",
    },
    "mysql": {
        "now": "UTC_TIMESTAMP(6)",
        "later": r"(UTC_TIMESTAMP(6) + INTERVAL \1 SECOND)",
        "earlier": r"(UTC_TIMESTAMP(6) - INTERVAL \1 SECOND)",
        "seconds_until": r"(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), \1) * 0.000001)",
        "as_text": r"\1",
        "by": r"FORCE INDEX (\1)",
        "waited_s": (
            r"greatest(0, TIMESTAMPDIFF(MICROSECOND, greatest(\1.created_at, coalesce(\1.requeued_at, \1.created_at),"
            r" CASE WHEN \1.requeued_at IS NULL OR \1.eta <= UTC_TIMESTAMP(6) THEN coalesce(\1.eta, \1.created_at)"
            rf" ELSE \1.created_at END, coalesce({_RETURNED_AT}, \1.created_at)), UTC_TIMESTAMP(6)) * 0.000001)"
        ),
        "bucket": _BUCKET,
        "microseconds": r"CAST(round(\1 * 1000000.0) AS SIGNED)",
        "held_until": "CAST('9999-12-31 00:00:00' AS DATETIME(6))",
        "hold": r"concat(\1.kind, ' ', \1.value)",
        # In a database with another character set JSON_TABLE would lose letters, and joins would use no index.
        "text": f"longtext {_BINARY}",
        "id": f"varchar(255) {_BINARY}",
        # On a caller's connection with another character set the parameter has that character set. Letters that it
        # lacks would be lost, although they are written as \\u escapes.
        "json": r"CONVERT(\1 USING utf8mb4)",
        "found": (
            f"JSON_TABLE(CONVERT(:found USING utf8mb4), '$[*]' COLUMNS (id varchar(255) {_BINARY} PATH '$',"
            " nth FOR ORDINALITY)) AS found"
        ),
        "of": r"/*!80000 OF \1 */",
        # MariaDB cannot parse offsets, and CONVERT_TZ ends with the year 2038.
        "moment": (
            r"CASE WHEN \1 REGEXP '[+-][0-9][0-9]:[0-9][0-9]$'"
            r" THEN CAST(LEFT(\1, CHAR_LENGTH(\1) - 6) AS DATETIME(6)) - INTERVAL RIGHT(\1, 6) HOUR_MINUTE"
            r" ELSE CAST(TRIM(TRAILING 'Z' FROM \1) AS DATETIME(6)) END"
        ),
    },
}
_LEASE = {
    "postgresql": (
        r"state = 'leased', waited_s = {waited_s \1}, fence = \1.fence + 1, worker_id = :worker_id, pid = NULL,"
        r" leased_at = statement_timestamp(), started_at = NULL, finished_at = NULL, run_time_s = NULL,"
        r" peak_memory_kb = NULL"
    ),
    "sqlite": (
        r"state = 'leased', waited_s = {waited_s \1}, fence = fence + 1, worker_id = :worker_id, pid = NULL,"
        r" leased_at = strftime('%Y-%m-%d %H:%M:%f', 'now'), started_at = NULL, finished_at = NULL,"
        r" run_time_s = NULL, peak_memory_kb = NULL"
    ),
    # Each assignment sees those before it: the state comes last, because waited_s is that of a pending task.
    "mysql": (
        r"\1.waited_s = {waited_s \1}, \1.fence = \1.fence + 1, \1.worker_id = :worker_id, \1.pid = NULL,"
        r" \1.leased_at = {now}, \1.started_at = NULL, \1.finished_at = NULL, \1.run_time_s = NULL,"
        r" \1.peak_memory_kb = NULL, \1.state = 'leased'"
    ),
}
"""What ``{lease table}`` means."""
_KEYS = {"mirepoix_task": "mirepoix_task_id"}
"""MySQL's index on the key of a table, if that is not the primary key."""

_PLACEHOLDER = re.compile(r"(?<![:\w]):([a-z_]+)")
_ALIAS = re.compile(r"\bmirepoix_\w+ AS (\w+)")
_STEP = re.compile(r"^;\n", re.MULTILINE)
_EACH = re.compile(r"^-- for each :([a-z_]+) in :([a-z_]+)$", re.MULTILINE)
_ASSUMED = re.compile(r'^-- at first taken to be every "([a-z_]+)" of :([a-z_]+)$', re.MULTILINE)
_RETURNING = re.compile(
    r"(?P<verb>UPDATE|DELETE FROM)\s+(?P<table>\w+)\s+(?:SET\s+(?P<set>.*?)\s+)?WHERE\s+(?P<guard>.*)"
    r"\s+RETURNING\s+(?P<columns>(?P<key>\w+)\b.*)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Step:
    """A statement of a file, the *names* of its parameters, and the class of its *rows*.

    *each* names the parameter that takes every value of a list in turn: ``(name, name of the list)``. *assumed* says
    where the answer is, unless that proves wrong: ``(key of each row, name of the list of rows)``.
    """

    sql: str
    names: frozenset[str]
    rows: type[Row] = Row
    each: tuple[str, str] | None = None
    assumed: tuple[str, str] | None = None

    @property
    def is_insert(self) -> bool:
        """Whether another transaction's row may conflict with it."""
        return self.sql.lstrip().startswith("INSERT")

    @property
    def is_locking(self) -> bool:
        """Whether it is a SELECT that locks its rows."""
        return "FOR UPDATE" in self.sql

    @property
    def sharing(self) -> str:
        """The step as a SELECT that sees what is committed now, at any isolation level, and locks it shared."""
        table = _ALIAS.search(self.sql)
        of = "" if table is None else f" OF {table[1]}"
        return f"{self.sql}\n/*M! LOCK IN SHARE MODE *//*!80000 FOR SHARE{of} */"


@cache
def steps(name: str, dialect: str, paramstyle: str) -> tuple[Step, ...]:
    """Return the statements of the file *name* for *dialect*: one, or several for MySQL.

    ``named`` keeps ``:name`` (sqlite3, SQLAlchemy's ``text``); ``pyformat`` writes ``%(name)s`` and doubles every
    other percent sign (psycopg, PyMySQL, Django). Raises FileNotFoundError for a statement that does not exist.
    """
    text = _read(name, dialect)
    found = []
    for part in _STEP.split(text):
        each, assumed = _words(_EACH, part), _words(_ASSUMED, part)
        spelled = spell(part, dialect)
        parts = _without_returning(spelled) if dialect == "mysql" else (spelled,)
        found += [
            Step(
                sql=placeholders(sql, paramstyle),
                names=frozenset(_PLACEHOLDER.findall(sql)),
                rows=row_class(columns(sql)),
                each=each,
                assumed=assumed,
            )
            for sql in parts
        ]
    return tuple(found)


def statement(name: str, dialect: str, paramstyle: str) -> str:
    """Return the SQL of *name*, which must be a single statement. Raises as `steps`."""
    (only,) = steps(name, dialect, paramstyle)
    return only.sql


def placeholders(sql: str, paramstyle: str) -> str:
    """Write the ``:name`` placeholders of *sql* in *paramstyle*."""
    if paramstyle == "named":
        return sql
    if paramstyle == "pyformat":
        return _PLACEHOLDER.sub(r"%(\1)s", sql.replace("%", "%%"))
    raise ValueError(f"unknown paramstyle {paramstyle!r}")


def spell(sql: str, dialect: str) -> str:
    """Replace the expressions in braces by the dialect's own, and drop the comment lines."""
    sql = "\n".join(line for line in sql.splitlines() if not line.lstrip().startswith("--"))
    sql = expand_lease(expand(sql, dialect), dialect)
    for verb, own in _SPELLING[dialect].items():
        argument = r" ([^{}]+)" if r"\1" in own else ""
        sql = re.sub(r"\{" + verb + argument + r"\}", own, sql)
    return sql


def expand_lease(sql: str, dialect: str) -> str:
    """Replace ``{lease table}`` by the assignments of the dialect."""
    return re.sub(r"\{lease ([^{}]+)\}", _LEASE[dialect], sql)


def migrations(dialect: str) -> list[tuple[str, str]]:
    """Return every migration of *dialect* as ``(name, script)``, in the order of their numbers.

    ``NNNN_name`` is applied before the code that needs it, and the previous release must be able to work with it.
    ``NNNN_name.post`` removes what only older releases need; see `is_post`.
    """
    return [(name, migration(dialect, name)) for name in migration_names(dialect)]


def migration(dialect: str, name: str) -> str:
    """Return the script of that migration."""
    return (_migrations_folder(dialect) / f"{name}.sql").read_text("utf-8")


@cache
def migration_names(dialect: str) -> tuple[str, ...]:
    """Return the names of these migrations."""
    found = [entry.name for entry in _migrations_folder(dialect).iterdir() if entry.name.endswith(".sql")]
    return tuple(sorted(name.removesuffix(".sql") for name in found))


def _migrations_folder(dialect: str) -> Traversable:
    return files(__package__) / "migrations" / dialect


def is_post(migration: str) -> bool:
    """Whether the migration may only be applied when no process of an older release runs. It is optional."""
    return migration.endswith(".post")


def _words(pattern: re.Pattern[str], part: str) -> tuple[str, str] | None:
    found = pattern.search(part)
    return None if found is None else (found[1], found[2])


def _without_returning(sql: str) -> tuple[str, ...]:
    """Split a statement that ends with RETURNING into two steps. Return any other statement unchanged."""
    part = _RETURNING.fullmatch(sql.strip())
    if part is None:
        return (sql,)
    table, key = part["table"], part["key"]
    rows, wait = table, ""
    if re.search(rf"\b{key} = :", part["guard"]) is None:
        # Without the index hint MySQL would read, and lock, a small table completely. The column of the other table has
        # a name of its own, because the ledger's columns stand without a table's name.
        answer = _SPELLING["mysql"]["found"].replace("(id ", "(found_key ")
        index = _KEYS.get(table, "PRIMARY")
        rows = f"{answer} STRAIGHT_JOIN {table} FORCE INDEX ({index}) ON {table}.{key} = found.found_key"
        wait = " SKIP LOCKED"
    find = "SELECT {columns} FROM {table} WHERE {guard} FOR UPDATE" + wait  # noqa: S608 (no value is in it)
    change = "DELETE {table} FROM {rows} WHERE {guard}"
    if part["verb"] == "UPDATE":
        change = "UPDATE {rows} SET {set} WHERE {guard}"
    words = {**part.groupdict(), "rows": rows}
    return find.format(**words), change.format(**words)


def _read(name: str, dialect: str) -> str:
    root = files(__package__)
    for folder in (dialect, "common"):
        file = root / folder / f"{name}.sql"
        if file.is_file():
            return file.read_text("utf-8")
    raise FileNotFoundError(f"no statement {name!r} for {dialect}")
