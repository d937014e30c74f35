"""Delete the ledger: its tables and views, with every task.

The tables are locked before the tasks are counted, so that nobody can send a task between the count and the end.
MySQL commits each DROP at once, and ``mirepoix_migration`` is dropped first there. If the process dies after that,
``migrate`` creates what is missing, and another `drop` deletes what is left.
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
    *("mirepoix_decision", "mirepoix_key", "mirepoix_total", "mirepoix_probe"),
    *(
        "mirepoix_fire",
        "mirepoix_schedule",
        "mirepoix_limit_key",
        "mirepoix_limit",
        "mirepoix_hold",
        "mirepoix_steering",
    ),
    *("mirepoix_binding", "mirepoix_message", "mirepoix_budget", "mirepoix_queue", "mirepoix_attempt"),
    *("mirepoix_task", "mirepoix_worker"),
)
_FUNCTIONS = ("mirepoix_argument(text, integer)",)
"""Functions that exist on PostgreSQL only."""

_DJANGOS = "django_migrations"
_UNLOCK = "UNLOCK TABLES"


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of a ledger."""

    relations: tuple[str, ...] = ()
    """The tables and views that exist."""
    tasks: dict[State, int] = field(default_factory=dict)
    workers: tuple[str, ...] = ()
    """The names of the live workers."""

    @property
    def unfinished(self) -> int:
        """The number of tasks that wait, run, or wait for a decision, except failed tasks."""
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
        """Whether an unfinished task would be lost, or a live worker would lose its ledger."""
        return bool(self.unfinished or self.workers)


def contents(tx: Tx) -> Contents:
    """Return the contents of the ledger. It reads every task."""
    there = _there(tx)
    own = tuple(name for name in (*VIEWS, *TABLES) if name in there)
    tasks = {State(row.state): int(row.tasks) for row in tx.fetch("tasks_by_state")} if "mirepoix_task" in there else {}
    workers = tuple(row.name for row in tx.fetch("living_workers")) if "mirepoix_worker" in there else ()
    return Contents(own, tasks, workers)


def drop(connection: Connection, *, is_forced: bool = False) -> Contents:
    """Delete the ledger, unless it is in use and *is_forced* is false; return its contents before that.

    Nothing was deleted if the contents ``is_in_use`` and *is_forced* is false. Django's record of these migrations in
    the same database is deleted too, so that its next ``migrate`` creates the tables again.
    """
    with connection.transaction() as tx:
        seen = drop_in(tx, is_forced=is_forced, is_djangos_too=True)
    reached(Crashpoint.DROP_AFTER_COMMIT)
    return seen


def drop_in(tx: Tx, *, is_forced: bool, is_djangos_too: bool) -> Contents:
    """Delete the ledger in the caller's transaction: see `drop`."""
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
    """Return the SQL that deletes the ledger's tables and views among *there*."""
    tables = [name for name in TABLES if name in there]
    views = [f"DROP VIEW {name}" for name in VIEWS if name in there]
    if dialect == "postgresql":  # the tables in one statement, as they refer to each other
        functions = [f"DROP FUNCTION IF EXISTS {function}" for function in _FUNCTIONS]
        return [*views, *functions, *([f"DROP TABLE {', '.join(tables)}"] if tables else [])]
    drops = [f"DROP TABLE {name}" for name in tables]
    # MySQL cannot drop a view while tables are locked.
    return [*drops, _UNLOCK, *views] if dialect == "mysql" else [*views, *drops]


def _there(tx: Tx) -> frozenset[str]:
    return frozenset(row.name for row in tx.fetch("relations"))


def _lock(tx: Tx, there: frozenset[str]) -> None:
    """Lock the tables until the transaction ends. SQLite needs no lock, because it has one writer."""
    tables = [name for name in TABLES if name in there]
    if tx.dialect == "postgresql" and tables:
        tx.script("SET LOCAL lock_timeout = '10s'")
        tx.script(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
    elif tx.dialect == "mysql" and tables:
        noted = [_DJANGOS] if _DJANGOS in there else []
        tx.script("LOCK TABLES " + ", ".join(f"{name} WRITE" for name in (*tables, *noted)))
