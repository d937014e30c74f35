"""The state of PostgreSQL behind psycopg: the tables that a task wrote to, as they were before.

The test does not name the server, because the task's own connection leads to it. The tester copies a table with COPY,
through its own connection, just before the first write to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier

from mirepoix.crashtest.databases.database import Found
from mirepoix.crashtest.normalise import Rows, Table, keyed
from mirepoix.crashtest.places import user_line
from mirepoix.crashtest.points import Delivery, outside

_WAITS = "-c lock_timeout=10s"
"""If the test itself holds a lock on a table, this turns the wait into an error."""


@dataclass(frozen=True, slots=True)
class _Kept:
    server: str
    name: Identifier
    shape: Table
    rows: bytes


class PsycopgTables(Found):
    """Every table that is known to have been written to, on all servers."""

    def __init__(self) -> None:
        self._own: dict[str, psycopg.Connection[Any]] = {}
        self._dsn: dict[str, dict[str, str]] = {}
        self._kept: dict[str, _Kept] = {}
        self._unknown: set[tuple[str, tuple[str, str]]] = set()
        self._seen: WeakSet[Any] = WeakSet()

    @property
    def name(self) -> str:
        """The name of the state, for people. Empty if no task wrote to it."""
        return "psycopg, real commits" if self._kept else ""

    @property
    def takes_two(self) -> bool:
        return True

    def keep(self, connection: Any, name: tuple[str, str] | None, delivery: Delivery) -> None:
        """Save the table *name* before its first write. If *name* is None, the statement changes the schema."""
        self._seen.add(connection)
        if name is None:
            delivery.unmodelled.add(f"a change of the schema by psycopg at {user_line(delivery.home)}")
            return
        server = self._server(connection)
        alias = f"{server}.{'.'.join(part for part in name if part not in {'', 'public'})}"
        if alias not in self._kept and (server, name) not in self._unknown:
            with outside():
                kept = self._look(server, name)
            if kept is None:  # it is temporary, or was created in the same transaction
                self._unknown.add((server, name))
            else:
                self._kept[alias] = kept
        delivery.tables.add(alias)

    def restore(self) -> None:
        """Delete the rows of each table, and write the saved rows."""
        for server in {kept.server for kept in self._kept.values()}:
            own = self._connection(server)
            with own.transaction(), own.cursor() as cursor:
                self._let_be(cursor)
                tables = list(self._in_order(server))
                for kept in reversed(tables):
                    cursor.execute(SQL("DELETE FROM {}").format(kept.name))
                for kept in tables:
                    with cursor.copy(SQL("COPY {} FROM STDIN").format(kept.name)) as copy:
                        copy.write(kept.rows)

    def crashed(self) -> None:
        """Do nothing: the server rolls back the transactions of the dead process."""
        for connection in self._seen:
            if connection.closed:
                continue
            if connection.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
                connection.pgconn.exec_(b"ROLLBACK")
            elif connection.info.transaction_status is TransactionStatus.ACTIVE:
                connection.pgconn.finish()

    def disconnect(self) -> None:
        for own in self._own.values():
            own.close()
        self._own.clear()

    def tables(self, written: set[str]) -> dict[str, Table]:
        return {alias: kept.shape for alias, kept in self._kept.items() if alias in written}

    def read(self, tables: dict[str, Table]) -> dict[str, Rows]:
        found: dict[str, Rows] = {}
        for alias, shape in tables.items():
            if (kept := self._kept.get(alias)) is None:
                continue
            columns = SQL(", ").join(map(Identifier, shape.columns))
            order = SQL(", ").join(SQL("{}::text").format(Identifier(c)) for c in shape.key or shape.columns)
            query = SQL("SELECT {} FROM {} ORDER BY {}").format(columns, kept.name, order)
            rows = self._connection(kept.server).execute(query)
            found[alias] = keyed((dict(zip(shape.columns, row, strict=True)) for row in rows), shape)
        return found

    def _server(self, connection: Any) -> str:
        given = {**connection.info.get_parameters(), "password": connection.info.password}
        for server, dsn in self._dsn.items():
            if dsn == given:
                return server
        server = f"psycopg{len(self._dsn) or ''}"
        self._dsn[server] = given
        return server

    def _connection(self, server: str) -> psycopg.Connection[Any]:
        if server not in self._own or self._own[server].closed:
            given = dict(self._dsn[server])
            options = f"{given.pop('options', '')} {_WAITS}".strip()
            self._own[server] = psycopg.connect(**given, options=options, autocommit=True)  # type: ignore[arg-type]
        return self._own[server]

    def _look(self, server: str, name: tuple[str, str]) -> _Kept | None:
        own = self._connection(server)
        table = Identifier(*filter(None, name))
        found = own.execute("SELECT to_regclass(%s)::oid", [table.as_string(own)]).fetchone()
        if found is None or found[0] is None:
            return None
        columns, key = self._columns(own, found[0]), self._key(own, found[0])
        rows = bytearray()
        with own.cursor().copy(SQL("COPY {} TO STDOUT").format(table)) as copy:
            for part in copy:
                rows += part
        return _Kept(server, table, Table(columns, key, self._references(own, server, found[0])), bytes(rows))

    @staticmethod
    def _columns(own: psycopg.Connection[Any], oid: int) -> tuple[str, ...]:
        query = (
            "SELECT attname FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        )
        return tuple(name for (name,) in own.execute(query, [oid]))

    @staticmethod
    def _key(own: psycopg.Connection[Any], oid: int) -> tuple[str, ...]:
        query = (
            "SELECT a.attname FROM pg_index i "
            "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey) "
            "WHERE i.indrelid = %s AND i.indisprimary ORDER BY array_position(i.indkey::int[], a.attnum::int)"
        )
        return tuple(name for (name,) in own.execute(query, [oid]))

    @staticmethod
    def _references(own: psycopg.Connection[Any], server: str, oid: int) -> dict[str, str]:
        query = (
            "SELECT a.attname, c.confrelid::regclass::text FROM pg_constraint c "
            "JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] "
            "WHERE c.conrelid = %s AND c.contype = 'f' AND array_length(c.conkey, 1) = 1"
        )
        return {column: f"{server}.{to.replace(chr(34), '')}" for column, to in own.execute(query, [oid])}

    @staticmethod
    def _let_be(cursor: psycopg.Cursor[Any]) -> None:
        """Disable triggers and checks of foreign keys, if the task's own user has the right to."""
        with suppress(psycopg.errors.InsufficientPrivilege), cursor.connection.transaction():
            cursor.execute("SET LOCAL session_replication_role = replica")

    def _in_order(self, server: str) -> Iterator[_Kept]:
        """Return the tables, referenced tables first."""
        waiting = {alias: kept for alias, kept in self._kept.items() if kept.server == server}
        while waiting:
            free = [
                a for a, kept in waiting.items() if not (set(kept.shape.references.values()) - {a}) & waiting.keys()
            ]
            for alias in free or list(waiting):
                yield waiting.pop(alias)
