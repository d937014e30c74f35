"""Build the indexes of missing migrations on PostgreSQL before these run, while others write.

``CREATE INDEX`` reads the whole table, and writers wait meanwhile. ``CREATE INDEX CONCURRENTLY`` lets them write, but
cannot run in the transaction of a migration. So `build_ahead` runs it first, and the ``CREATE INDEX IF NOT EXISTS`` of
the migration finds the index. It adds the columns before, because an index may be on a new one. Without it (in Django,
which migrates in a transaction) the migration builds the index.
"""

from __future__ import annotations

import re
import time
from functools import partial

from mirepoix.connect.source import OwnConnection
from mirepoix.ledger import migrate
from mirepoix.ledger.tx import Tx
from mirepoix.sql import migrations

_COLUMN = re.compile(r"ALTER TABLE mirepoix_\w+ ADD COLUMN IF NOT EXISTS [^;]*")
_INDEX = re.compile(r"CREATE INDEX IF NOT EXISTS (?P<name>mirepoix_\w+) ON (?P<table>mirepoix_\w+) [^;]*")

LOOK_S = 0.2
"""How often to look whether another process has finished the index that it builds."""

MOST_TRIES = 3
"""How often to try to build an index."""


def build_ahead(connection: OwnConnection, patiently: migrate.Patiently) -> list[str]:
    """Build the indexes that missing migrations want; return their names. Does nothing without a ledger.

    It can be run again after a crash, and by several processes at once. It waits for the transactions that were open
    when it began. While it builds an index it is in nobody's way. It adds a column as `ledger.migrate.migrate` does.
    """
    with connection.transaction() as tx:
        if tx.dialect != "postgresql" or not tx.query("SELECT to_regclass('mirepoix_task') AS found")[0].found:
            return []
        missing = migrate.pending(tx)
    scripts = [script for name, script in migrations("postgresql") if name in missing]
    for script in scripts:
        for column in _COLUMN.finditer(script):  # an index may be on it
            patiently(partial(_add, connection, column[0]))
    wanted = [found for script in scripts for found in _INDEX.finditer(script)]
    for index in wanted:
        with connection.statements() as tx:
            _build(tx, index["name"], index["table"], index[0])
    return [index["name"] for index in wanted]


def _add(connection: OwnConnection, column: str) -> None:
    with connection.transaction() as tx:
        migrate.wait_briefly(tx)
        tx.script(column)


def _build(tx: Tx, name: str, table: str, create: str) -> None:
    tries = 0
    while not _is_valid(tx, name):
        if _is_being_built(tx, table):
            time.sleep(LOOK_S)
            continue
        tries += 1
        try:
            # A process that died while it built the index has left it there, invalid.
            tx.script(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            tx.script(create.replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY", 1))
        except Exception:  # the server ends one of two processes that build it at once and wait for each other
            if tries == MOST_TRIES:
                raise
            time.sleep(LOOK_S)


def _is_valid(tx: Tx, name: str) -> bool:
    sql = "SELECT 1 AS one FROM pg_index WHERE indexrelid = to_regclass(:name) AND indisvalid"
    return bool(tx.query(sql, name=name))


def _is_being_built(tx: Tx, table: str) -> bool:
    sql = "SELECT 1 AS one FROM pg_stat_progress_create_index WHERE relid = to_regclass(:name)"
    return bool(tx.query(sql, name=table))
