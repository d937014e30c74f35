"""Bring the ledger's tables to the version that this code needs, by numbered scripts for each database.

``NNNN_name.sql`` is applied before its release is deployed. The previous release still runs then and must be able to
work on the new tables. ``NNNN_name.post.sql`` removes what only older releases used. It is applied when their last
process is gone, or never. No code and no other script needs it (docs/design/upgrades.md).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar

from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.errors import SchemaError
from mirepoix.ledger.tx import Connection, Tx
from mirepoix.sql import is_post, migration, migration_names

T = TypeVar("T")

BRIEFLY_S = 3
"""How long a script waits for the open transactions of others, if it can be tried again."""


class Patiently(Protocol):
    """Calls a function, and again while open transactions of others are in its way; returns its answer."""

    def __call__(self, act: Callable[[], T], /) -> T: ...


def pending(tx: Tx) -> list[str]:
    """Return the names of the migrations that this code needs and that are not applied, in order."""
    return [name for name in _not_applied(tx) if not is_post(name)]


def pending_post(tx: Tx) -> list[str]:
    """Return the names of the post scripts that are not applied, in order."""
    return [name for name in _not_applied(tx) if is_post(name)]


def migrate(connection: Connection, *, post: bool = False, patiently: Patiently | None = None) -> list[str]:
    """Apply the missing scripts, each in its own transaction; return the names of those that were applied.

    Post scripts are applied only if *post* says that no process of an older release runs, and in a database without a
    ledger, where no such process can exist.

    It can be run again after a crash, and by several processes at once: the second waits and then finds nothing to do.
    MySQL commits each new table at once. There an interrupted script is run again, and each of its statements works
    if its table exists already.

    A script waits for open transactions that use its tables, and everybody who comes later waits behind it. With
    *patiently* it waits only `BRIEFLY_S` seconds and raises the driver's error, for *patiently* to try it again.
    """
    applied: list[str] = []
    with connection.transaction() as tx:
        first = migration_names(tx.dialect)[0]
        tx.script(_LOCK[tx.dialect])
        tx.script(migration(tx.dialect, first))
        is_new = not tx.fetch("applied_migrations")
        missing = [name for name in _not_applied(tx) if post or is_new or not is_post(name)]
        scripts = {name: "" if name == first else migration(tx.dialect, name) for name in missing}
    _unlock(connection)
    for name, script in scripts.items():
        apply = partial(_apply, connection, name, script, is_brief=patiently is not None)
        if apply() if patiently is None else patiently(apply):
            applied.append(name)
    reached(Crashpoint.MIGRATE_AFTER_COMMIT)
    return applied


def wait_briefly(tx: Tx) -> None:
    """Let the statements of this transaction that change a table wait for others for only `BRIEFLY_S` seconds."""
    if tx.dialect in _BRIEFLY:
        tx.script(_BRIEFLY[tx.dialect])


def _apply(connection: Connection, name: str, script: str, *, is_brief: bool = False) -> bool:
    """Apply one script in a transaction of its own, unless that was done; return whether it was missing."""
    try:
        with connection.transaction() as tx:
            tx.script(_LOCK[tx.dialect])
            is_missing = name in _not_applied(tx)
            if is_missing:
                if is_brief:
                    wait_briefly(tx)
                tx.script(script)
                tx.run("note_migration", name=name)
                reached(Crashpoint.MIGRATE_BEFORE_COMMIT)
    except Exception:
        with suppress(Exception):  # the connection may be lost
            _unlock(connection)
        raise
    _unlock(connection)
    return is_missing


def _unlock(connection: Connection) -> None:
    """Release the lock after the commit, so that other processes can migrate."""
    with connection.transaction() as tx:
        tx.script(_UNLOCK[tx.dialect])


_REMEDY = "Run: mirepoix --app YOUR_APP migrate (in Django: manage.py migrate)"


def require_current(connection: Connection, where: str, is_missing: Callable[[Exception], bool]) -> None:
    """Raise SchemaError, which names the fix, unless every migration that this code needs is applied."""
    try:
        with connection.transaction() as tx:
            missing = pending(tx)
    except Exception as error:
        if not is_missing(error):
            raise
        raise SchemaError(
            f"The ledger in {where} has no tables (or cannot be read): {str(error).splitlines()[0]}. {_REMEDY}"
        ) from error
    if missing:
        raise SchemaError(f"The ledger in {where} lacks the migrations {', '.join(missing)}. {_REMEDY}")


def _not_applied(tx: Tx) -> list[str]:
    applied = {row.name for row in tx.fetch("applied_migrations")}
    return [name for name in migration_names(tx.dialect) if name not in applied]


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
_BRIEFLY = {
    "postgresql": f"SET LOCAL lock_timeout = '{BRIEFLY_S}s'",
    "mysql": f"SET lock_wait_timeout = {BRIEFLY_S}",
}
"""SQLite has no locks on tables: a writer waits for the end of the writer before it."""
