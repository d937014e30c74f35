"""Bring the ledger's tables to the version this code needs: one numbered set of scripts a database.

``NNNN_name.sql`` is applied before the code of its release is deployed, while the release before still runs, which
must be able to work on it. ``NNNN_name.post.sql`` takes away what only older releases used: it may be applied when
their last process is gone, or never. No code needs it, and no script needs another's post script
(docs/design/upgrades.md).
"""

from __future__ import annotations

from collections.abc import Callable

from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.errors import SchemaError
from mirepoix.ledger.tx import Connection, Tx
from mirepoix.sql import is_post, migrations


def pending(tx: Tx) -> list[str]:
    """The names of the migrations that this code needs and that have not been applied, in order."""
    return [name for name in _not_applied(tx) if not is_post(name)]


def pending_post(tx: Tx) -> list[str]:
    """The names of those that remain until no process of an older release runs, in order."""
    return [name for name in _not_applied(tx) if is_post(name)]


def migrate(connection: Connection, *, post: bool = False) -> list[str]:
    """Apply what is missing, each script in a transaction of its own; return the names applied.

    The post scripts are among them if *post* says that no process of an older release runs, and in a database without
    a ledger, where there can be none.

    Safe to run again after a crash and from several processes at once: the second waits, then finds nothing to do.
    On MySQL, where a table that is made is committed at once, a script that was cut short is run again, and every
    statement of it stands the presence of what it makes.
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
    """Let others migrate, now that what was done is committed."""
    with connection.transaction() as tx:
        tx.script(_UNLOCK[tx.dialect])


def require_current(connection: Connection, where: str, is_missing: Callable[[Exception], bool]) -> None:
    """Raise SchemaError, naming the remedy, unless every migration this code needs has been applied."""
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
# MySQL's lock belongs to the session: it is given up by a word, or with the process that dies.
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
