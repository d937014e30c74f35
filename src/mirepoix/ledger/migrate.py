"""Bring the ledger's tables to the version that this code needs, by numbered scripts for each database.

``NNNN_name.sql`` is applied before its release is deployed. The previous release still runs then and must be able to
work on the new tables. ``NNNN_name.post.sql`` removes what only older releases used. It is applied when their last
process is gone, or never. No code and no other script needs it (docs/design/upgrades.md).
"""

from __future__ import annotations

from collections.abc import Callable

from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.errors import SchemaError
from mirepoix.ledger.tx import Connection, Tx
from mirepoix.sql import is_post, migrations


def pending(tx: Tx) -> list[str]:
    """Return the names of the migrations that this code needs and that are not applied, in order."""
    return [name for name in _not_applied(tx) if not is_post(name)]


def pending_post(tx: Tx) -> list[str]:
    """Return the names of the post scripts that are not applied, in order."""
    return [name for name in _not_applied(tx) if is_post(name)]


def migrate(connection: Connection, *, post: bool = False) -> list[str]:
    """Apply the missing scripts, each in its own transaction; return the names of those that were applied.

    Post scripts are applied only if *post* says that no process of an older release runs, and in a database without a
    ledger, where no such process can exist.

    It can be run again after a crash, and by several processes at once: the second waits and then finds nothing to do.
    MySQL commits each new table at once. There an interrupted script is run again, and each of its statements works
    if its table exists already.
    """
    applied: list[str] = []
    with connection.transaction() as tx:
        scripts = migrations(tx.dialect)
        tx.script(_LOCK[tx.dialect])
        tx.script(scripts[0][1])
        is_new = not tx.fetch("applied_migrations")
    _unlock(connection)
    for name, script in scripts:
        if is_post(name) and not post and not is_new:
            continue
        with connection.transaction() as tx:
            tx.script(_LOCK[tx.dialect])
            is_missing = name in _not_applied(tx)
            if is_missing:
                if name != scripts[0][0]:
                    tx.script(script)
                tx.run("note_migration", name=name)
                reached(Crashpoint.MIGRATE_BEFORE_COMMIT)
        _unlock(connection)
        if is_missing:
            applied.append(name)
    reached(Crashpoint.MIGRATE_AFTER_COMMIT)
    return applied


def _unlock(connection: Connection) -> None:
    """Release the lock after the commit, so that other processes can migrate."""
    with connection.transaction() as tx:
        tx.script(_UNLOCK[tx.dialect])


def require_current(connection: Connection, where: str, is_missing: Callable[[Exception], bool]) -> None:
    """Raise SchemaError, which names the fix, unless every migration that this code needs is applied."""
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


def _not_applied(tx: Tx) -> list[str]:
    applied = {row.name for row in tx.fetch("applied_migrations")}
    return [name for name, _ in migrations(tx.dialect) if name not in applied]


# Two processes that migrate at once must not both create the tables. SQLite's BEGIN IMMEDIATE does that already.
# MySQL's lock belongs to the session: it ends with RELEASE_LOCK, or when the process dies.
_MYSQL_NAME = "CONCAT('mirepoix.migrate.', LEFT(SHA2(DATABASE(), 256), 16))"
_LOCK = {
    "postgresql": "SELECT pg_advisory_xact_lock(1296651877, 0)",
    "sqlite": "SELECT 1",
    "mysql": f"SELECT GET_LOCK({_MYSQL_NAME}, 600)",
}
_UNLOCK = {
    "postgresql": "SELECT 1",
    "sqlite": "SELECT 1",
    "mysql": f"SELECT RELEASE_LOCK({_MYSQL_NAME})",
}
