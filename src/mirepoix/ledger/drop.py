"""Delete the ledger: its tables and views, with the record of every task.

The tables are locked before the tasks are counted, so that nobody can send a task between the count and the end.
MySQL commits each DROP at once, and ``mirepoix_migration`` is dropped first there. If the process dies after that,
``migrate`` makes what is missing, and another `drop` deletes what is left.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.ledger.tx import Connection, Tx
from mirepoix.states import FINAL, State

VIEWS = ("mirepoix_attempt_history", "mirepoix_task_readable")
TABLES = (
    "mirepoix_migration",
    *("mirepoix_replayed", "mirepoix_replay", "mirepoix_alert_telling", "mirepoix_alert", "mirepoix_failure_group"),
    "mirepoix_failure",
    *("mirepoix_chord_part", "mirepoix_chord", "mirepoix_group", "mirepoix_result", "mirepoix_step", "mirepoix_edit"),
    *("mirepoix_decision", "mirepoix_key"),
    *("mirepoix_binding", "mirepoix_message", "mirepoix_budget", "mirepoix_queue", "mirepoix_attempt"),
    *("mirepoix_task", "mirepoix_worker"),
)
_FUNCTIONS = ("mirepoix_argument(text, integer)",)
"""Of PostgreSQL."""

_DJANGOS = "django_migrations"
_UNLOCK = "UNLOCK TABLES"


@dataclass(frozen=True, slots=True)
class Contents:
    """What a ledger holds."""

    relations: tuple[str, ...] = ()
    """Its tables and views that are there."""
    tasks: dict[State, int] = field(default_factory=dict)
    workers: tuple[str, ...] = ()
    """The names of those that are alive."""

    @property
    def unfinished(self) -> int:
        """How many tasks wait, run, or wait for somebody's decision, but for those that failed."""
        return sum(number for state, number in self.tasks.items() if state not in FINAL)

    def __str__(self) -> str:
        parts = []
        if self.unfinished:
            states = ", ".join(f"{n:,} {state}" for state, n in self.tasks.items() if state not in FINAL)
            parts.append(f"{self.unfinished:,} task(s) not finished ({states})")
        if self.workers:
            parts.append(f"{len(self.workers):,} worker(s) alive ({', '.join(self.workers)})")
        return " and ".join(parts) or "not in use"

    @property
    def is_in_use(self) -> bool:
        """Whether something would be lost that is not yet done, or a worker would lose its ledger."""
        return bool(self.unfinished or self.workers)


def contents(tx: Tx) -> Contents:
    """What is there. Reads every task."""
    there = _there(tx)
    own = tuple(name for name in (*VIEWS, *TABLES) if name in there)
    tasks = {State(row.state): int(row.tasks) for row in tx.fetch("tasks_by_state")} if "mirepoix_task" in there else {}
    workers = tuple(row.name for row in tx.fetch("living_workers")) if "mirepoix_worker" in there else ()
    return Contents(own, tasks, workers)


def drop(connection: Connection, *, is_forced: bool = False) -> Contents:
    """Delete the ledger, unless it is in use and this is not forced; return what it held a moment before.

    Nothing was deleted if that ``is_in_use`` and it was not forced. What Django has noted of our migrations in the same
    database is deleted too: its next ``migrate`` makes the tables again.
    """
    with connection.transaction() as tx:
        seen = drop_in(tx, is_forced=is_forced, is_djangos_too=True)
    reached(Crashpoint.DROP_AFTER_COMMIT)
    return seen


def drop_in(tx: Tx, *, is_forced: bool, is_djangos_too: bool) -> Contents:
    """The same in somebody's transaction."""
    there = _there(tx)
    try:
        _lock(tx, there)
        seen = contents(tx)
        if seen.is_in_use and not is_forced:
            return seen
        if is_djangos_too and _DJANGOS in there:
            tx.run("forget_djangos_migrations")
        for statement in statements(tx.dialect, there):
            tx.script(statement)
            reached(Crashpoint.DROP_BEFORE_COMMIT)
        return seen
    finally:
        if tx.dialect == "mysql":
            tx.script(_UNLOCK)


def statements(dialect: str, there: frozenset[str] = frozenset((*VIEWS, *TABLES))) -> list[str]:
    """The SQL that deletes those of *there* that are the ledger's."""
    tables = [name for name in TABLES if name in there]
    views = [f"DROP VIEW {name}" for name in VIEWS if name in there]
    if dialect == "postgresql":  # the tables in one statement, as they refer to each other
        functions = [f"DROP FUNCTION IF EXISTS {function}" for function in _FUNCTIONS]
        return [*views, *functions, *([f"DROP TABLE {', '.join(tables)}"] if tables else [])]
    drops = [f"DROP TABLE {name}" for name in tables]
    # On MySQL no view can go while tables are locked.
    return [*drops, _UNLOCK, *views] if dialect == "mysql" else [*views, *drops]


def _there(tx: Tx) -> frozenset[str]:
    return frozenset(row.name for row in tx.fetch("relations"))


def _lock(tx: Tx, there: frozenset[str]) -> None:
    """Keep everybody else out of the tables until the transaction ends. An SQLite file has one writer anyway."""
    tables = [name for name in TABLES if name in there]
    if tx.dialect == "postgresql" and tables:
        tx.script("SET LOCAL lock_timeout = '10s'")
        tx.script(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
    elif tx.dialect == "mysql" and tables:
        noted = [_DJANGOS] if _DJANGOS in there else []
        tx.script("LOCK TABLES " + ", ".join(f"{name} WRITE" for name in (*tables, *noted)))
