"""The state of Django's databases.

===================  ==========================================================================================
inside a TestCase    a savepoint, restored by ROLLBACK TO SAVEPOINT. PostgreSQL does not roll back sequences, so
                     they are moved to a range that makes new ids recognisable
transaction=True     SQLite: a copy of the database. Others: the rows of the tables that were written to
===================  ==========================================================================================
"""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, transaction

from mirepoix.crashtest.hooks.django import statement
from mirepoix.crashtest.normalise import Rows, Table, keyed
from mirepoix.crashtest.points import Delivery

TAGGED_FROM, TAGGED_EACH = 1_900_000_000, 1_000_000
"""Sequences are moved to this range: within a 32-bit integer, a million ids for each of a hundred tables."""


class DjangoDatabase:
    """A Django database, through this thread's connection."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self._connection = connections[alias]
        self._connection.ensure_connection()
        self.is_in_test_transaction = self._connection.in_atomic_block
        self._savepoint: Any = None
        self._copy: sqlite3.Connection | None = None
        self._kept: dict[str, list[tuple[Any, ...]]] = {}
        self._schema: dict[str, Table] = {}
        self._hooks = len(self._connection.run_on_commit)

    @property
    def name(self) -> str:
        how = "savepoints in the test's transaction" if self.is_in_test_transaction else "real commits"
        return f"{self._connection.vendor}, {how}"

    @property
    def takes_two(self) -> bool:
        """Two deliveries cannot share a test's transaction, which has one connection, nor write to SQLite at once."""
        return not self.is_in_test_transaction and self._connection.vendor != "sqlite"

    @property
    def unkillable(self) -> str:
        """A test's transaction commits nothing, and a database in memory dies with its process."""
        if self.is_in_test_transaction:
            return (
                f"Django's database {self.alias!r} is inside the test's transaction: mark the test "
                "@pytest.mark.django_db(transaction=True), or make it a TransactionTestCase."
            )
        if self._connection.vendor == "sqlite" and self._connection.is_in_memory_db():
            return (
                f"Django's database {self.alias!r} is an SQLite database in memory: give it a file, "
                f'DATABASES["{self.alias}"]["TEST"] = {{"NAME": "test.sqlite3"}}.'
            )
        return ""

    def save(self) -> None:
        if self.is_in_test_transaction:
            self._savepoint = self._connection.savepoint()
        elif self._connection.vendor == "sqlite":
            self._copy = sqlite3.connect(":memory:", check_same_thread=False)  # collected in any thread
            weakref.finalize(self, self._copy.close)
            self._connection.connection.backup(self._copy)
        else:
            self._keep(self._all_tables())

    def restore(self) -> None:
        connection = self._connection
        if self.is_in_test_transaction:
            connection.needs_rollback = False
            self._connection.savepoint_rollback(self._savepoint)
            del connection.run_on_commit[self._hooks :]
            self._tag_sequences()
        elif self._copy is not None:
            connection.ensure_connection()
            if connection.connection.in_transaction:
                connection.connection.rollback()
            self._copy.backup(connection.connection)
        else:
            self._put_back()

    def begin(self, delivery: Delivery) -> None:
        if self.is_in_test_transaction:
            delivery.base_depth[self.alias] = len(self._connection.atomic_blocks)
            delivery.base_hooks[self.alias] = self._hooks

    def crashed(self) -> None:
        if not self.is_in_test_transaction:
            self._connection.close()

    def disconnect(self) -> None:
        self._connection.close()

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Use another connection in the delivery's thread."""
        own = connections[self.alias]
        try:
            with own.execute_wrapper(statement):
                yield
        finally:
            own.close()

    def tables(self, written: set[str]) -> dict[str, Table]:
        own = {name.partition(".")[2] for name in written if name.startswith(f"{self.alias}.")}
        missing = own - self._schema.keys()
        if missing:
            with self._connection.cursor() as cursor:
                there = set(self._connection.introspection.table_names(cursor))
                for name in sorted(missing & there):
                    self._schema[name] = self._table(cursor, name)
        return {f"{self.alias}.{name}": self._schema[name] for name in sorted(own & self._schema.keys())}

    def read(self, tables: dict[str, Table]) -> dict[str, Rows]:
        found: dict[str, Rows] = {}
        if self.is_in_test_transaction:
            self._connection.needs_rollback = False  # an error outside the task's own blocks breaks nothing
        quote = self._connection.ops.quote_name
        with self._connection.cursor() as cursor:
            for full, table in tables.items():
                if not full.startswith(f"{self.alias}."):
                    continue
                columns = ", ".join(quote(column) for column in table.columns)
                order = ", ".join(quote(column) for column in table.key or table.columns)
                cursor.execute(f"SELECT {columns} FROM {quote(full.partition('.')[2])} ORDER BY {order}")  # noqa: S608
                found[full] = keyed((dict(zip(table.columns, row, strict=True)) for row in cursor.fetchall()), table)
        return found

    def _table(self, cursor: Any, name: str) -> Table:
        look = self._connection.introspection
        columns = tuple(column.name for column in look.get_table_description(cursor, name))
        key = tuple(look.get_primary_key_columns(cursor, name) or ())
        relations = look.get_relations(cursor, name)
        return Table(columns, key, {column: f"{self.alias}.{to[1]}" for column, to in relations.items()})

    def _tag_sequences(self) -> None:
        if self._connection.vendor != "postgresql":
            return
        with self._connection.cursor() as cursor:
            for number, (name, table) in enumerate(self._schema.items()):
                if len(table.key) == 1:
                    cursor.execute("SELECT pg_get_serial_sequence(%s, %s)", [f'"{name}"', table.key[0]])
                    (sequence,) = cursor.fetchone()
                    if sequence:
                        cursor.execute("SELECT setval(%s, %s)", [sequence, TAGGED_FROM + number % 99 * TAGGED_EACH])

    def _all_tables(self) -> list[str]:
        with self._connection.cursor() as cursor:
            return sorted(self._connection.introspection.table_names(cursor))

    def _keep(self, names: list[str]) -> None:
        quote = self._connection.ops.quote_name
        with self._connection.cursor() as cursor:
            for name in names:
                cursor.execute(f"SELECT * FROM {quote(name)}")  # noqa: S608
                self._kept[name] = cursor.fetchall()

    def _put_back(self) -> None:
        quote = self._connection.ops.quote_name
        with transaction.atomic(using=self.alias), self._connection.cursor() as cursor:
            is_postgresql = self._connection.vendor == "postgresql"
            cursor.execute(
                "SET LOCAL session_replication_role = replica" if is_postgresql else "SET foreign_key_checks = 0"
            )
            for name in self._schema:
                rows = self._kept.get(name, [])
                cursor.execute(f"DELETE FROM {quote(name)}")  # noqa: S608
                if rows:
                    marks = ", ".join(["%s"] * len(rows[0]))
                    cursor.executemany(f"INSERT INTO {quote(name)} VALUES ({marks})", rows)  # noqa: S608
            if not is_postgresql:
                cursor.execute("SET foreign_key_checks = 1")
        self._tag_sequences()


def aliases() -> list[str]:
    """Return the databases that this thread may use: those that a test has opened, or the only one."""
    opened = [connection.alias for connection in connections.all(initialized_only=True) if connection.connection]
    return opened or [alias for alias in connections if len(connections.settings) == 1 or alias == "default"]
