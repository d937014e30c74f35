"""The state of SQLite behind the standard library's module: the files that a task opened, as they were before.

The test does not name the files, because the task's own call does. The tester copies a file just before it is first
opened.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from weakref import WeakSet

from mirepoix.crashtest.databases.database import Found
from mirepoix.crashtest.normalise import Rows, Table, keyed
from mirepoix.crashtest.points import outside


def file_of(database: Any, *, is_uri: bool = False) -> str | None:
    """Return the file that ``sqlite3.connect(database)`` opens, or None if it is in memory or read-only."""
    name = os.fsdecode(database)
    if is_uri and name.startswith("file:"):
        parts = urlsplit(name)
        if {"mode=memory", "mode=ro", "immutable=1"} & set(parts.query.split("&")):
            return None
        name = unquote(parts.path)
    if name in {"", ":memory:"}:
        return None
    return str(Path(name).resolve())


class SqliteFiles(Found):
    """Every file that a task opened."""

    def __init__(self) -> None:
        self._kept: dict[str, sqlite3.Connection | None] = {}
        self.seen: WeakSet[sqlite3.Connection] = WeakSet()
        """The connections that tasks opened."""

    @property
    def name(self) -> str:
        """The name of the state, for people. Empty if no task opened a file."""
        return "sqlite3, real commits" if self._kept else ""

    @property
    def takes_two(self) -> bool:
        """Two deliveries at once would wait for each other."""
        return not self._kept

    def keep(self, path: str) -> None:
        """Copy the file at *path* before its first write."""
        if path in self._kept:
            return
        if not Path(path).exists():
            self._kept[path] = None
            return
        with outside():
            copy = sqlite3.connect(":memory:", check_same_thread=False)
            with closing(sqlite3.connect(path)) as own:
                own.backup(copy)
        self._kept[path] = copy

    def alias(self, path: str) -> str:
        """Return the alias of that file's tables."""
        number = list(self._kept).index(path)
        return f"sqlite3-{number}" if number else "sqlite3"

    def forget(self) -> None:
        """Close the copies."""
        for copy in self._kept.values():
            if copy is not None:
                copy.close()

    def restore(self) -> None:
        """Restore the content of each file, or remove the file if it did not exist."""
        for path, copy in self._kept.items():
            if copy is not None:
                with closing(sqlite3.connect(path)) as own:
                    copy.backup(own)
            else:
                for end in ("", "-journal", "-wal", "-shm"):
                    Path(path + end).unlink(missing_ok=True)

    def crashed(self) -> None:
        """Roll back the transactions of the dead process."""
        for connection in list(self.seen):
            with suppress(sqlite3.Error):  # the connection is closed, or belongs to another thread
                connection.rollback()

    def disconnect(self) -> None:
        """Do nothing: the tester keeps no file open."""

    def tables(self, written: set[str]) -> dict[str, Table]:
        found: dict[str, Table] = {}
        for path in self._kept:
            alias = self.alias(path)
            own = sorted(name.partition(".")[2] for name in written if name.partition(".")[0] == alias)
            if not own or not Path(path).exists():
                continue
            with closing(sqlite3.connect(path)) as look:
                for name in own:
                    columns = look.execute("SELECT name, pk FROM pragma_table_xinfo(?)", [name]).fetchall()
                    if columns:
                        keys = look.execute('SELECT "from", "table" FROM pragma_foreign_key_list(?)', [name])
                        found[f"{alias}.{name}"] = Table(
                            tuple(column for column, _ in columns),
                            tuple(column for column, pk in sorted(columns, key=lambda column: column[1]) if pk),
                            {column: f"{alias}.{to}" for column, to in keys},
                        )
        return found

    def read(self, tables: dict[str, Table]) -> dict[str, Rows]:
        """Return the rows, or none if the file or the table does not exist."""
        found: dict[str, Rows] = {}
        for path in self._kept:
            alias = self.alias(path)
            own = {name: shape for name, shape in tables.items() if name.partition(".")[0] == alias}
            found.update({full: {} for full in own})
            if not own or not Path(path).exists():
                continue
            with closing(sqlite3.connect(path)) as look:
                for full, shape in own.items():
                    with suppress(sqlite3.OperationalError):  # the table does not exist
                        found[full] = _rows(look, full.partition(".")[2], shape)
        return found


def _rows(look: sqlite3.Connection, name: str, shape: Table) -> Rows:
    columns = ", ".join(map(_quoted, shape.columns))
    order = ", ".join(map(_quoted, shape.key or shape.columns))
    found = look.execute(f"SELECT {columns} FROM {_quoted(name)} ORDER BY {order}")  # noqa: S608 (names are quoted)
    return keyed((dict(zip(shape.columns, row, strict=True)) for row in found), shape)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
