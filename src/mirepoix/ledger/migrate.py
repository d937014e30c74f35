"""Bring the ledger's tables to the version this code needs: one numbered set of scripts a database."""

from __future__ import annotations

from collections.abc import Callable

from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.errors import SchemaError
from mirepoix.ledger.tx import Connection, Tx
from mirepoix.sql import migrations


def pending(tx: Tx) -> list[str]:
    """The names of the migrations that have not been applied, in order."""
    applied = {row[0] for row in tx.fetch("applied_migrations")}
    return [name for name, _ in migrations(tx.dialect) if name not in applied]


def migrate(connection: Connection) -> list[str]:
    """Apply what is missing, each script in a transaction of its own; return the names applied.

    Safe to run again after a crash and from several processes at once: the second waits, then finds nothing to do.
    """
    applied: list[str] = []
    with connection.transaction() as tx:
        scripts = migrations(tx.dialect)
        tx.script(_LOCK[tx.dialect])
        tx.script(scripts[0][1])
    for name, script in scripts:
        with connection.transaction() as tx:
            tx.script(_LOCK[tx.dialect])
            if name not in pending(tx):
                continue
            if name != scripts[0][0]:
                tx.script(script)
            tx.run("note_migration", name=name)
            reached(Crashpoint.MIGRATE_BEFORE_COMMIT)
        applied.append(name)
    reached(Crashpoint.MIGRATE_AFTER_COMMIT)
    return applied


def require_current(connection: Connection, where: str, is_missing: Callable[[Exception], bool]) -> None:
    """Raise SchemaError, naming the remedy, unless every migration this code knows has been applied."""
    try:
        with connection.transaction() as tx:
            missing = pending(tx)
    except Exception as error:
        if not is_missing(error):
            raise
        raise SchemaError(
            f"The ledger in {where} has no tables (or cannot be read): {str(error).splitlines()[0]}. "
            "Run: mirepoix --app YOUR_APP migrate"
        ) from error
    if missing:
        raise SchemaError(
            f"The ledger in {where} lacks the migrations {', '.join(missing)}. Run: mirepoix --app YOUR_APP migrate"
        )


# Two processes that migrate at once must not both create the tables. SQLite's BEGIN IMMEDIATE does that already.
_LOCK = {"postgresql": "SELECT pg_advisory_xact_lock(1296651877, 0)", "sqlite": "SELECT 1"}
