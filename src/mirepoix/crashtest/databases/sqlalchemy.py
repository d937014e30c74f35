"""The state of the database behind an SQLAlchemy engine. It is restored by deleting and rewriting its rows."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from sqlalchemy import Engine, MetaData, inspect

from mirepoix.crashtest.normalise import Rows, Table, keyed
from mirepoix.crashtest.points import Delivery


class SqlalchemyDatabase:
    """The database of *engine*, through the tester's own connections from the same pool."""

    alias = "sqlalchemy"

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._metadata = MetaData()
        self._kept: dict[str, list[dict[str, Any]]] = {}

    @property
    def name(self) -> str:
        return f"SQLAlchemy on {self._engine.dialect.name}, real commits"

    @property
    def takes_two(self) -> bool:
        """Two deliveries at once on SQLite would wait for each other."""
        return self._engine.dialect.name != "sqlite"

    @property
    def unkillable(self) -> str:
        """A database in memory dies with its process."""
        if self._is_in_memory:
            return 'The engine in state= is an SQLite database in memory: give it a file, "sqlite:///test.db".'
        return ""

    @property
    def _is_in_memory(self) -> bool:
        name = str(self._engine.url.database)
        return self._engine.dialect.name == "sqlite" and (name in {"None", "", ":memory:"} or "mode=memory" in name)

    def save(self) -> None:
        """Save every row."""
        self._metadata.reflect(self._engine)
        with self._engine.connect() as connection:
            for table in self._metadata.sorted_tables:
                self._kept[table.name] = [dict(row._mapping) for row in connection.execute(table.select())]

    def restore(self) -> None:
        """Delete every row, and write the saved rows."""
        with self._engine.begin() as connection:
            for table in reversed(self._metadata.sorted_tables):
                connection.execute(table.delete())
            for table in self._metadata.sorted_tables:
                if self._kept[table.name]:
                    connection.execute(table.insert(), self._kept[table.name])

    def begin(self, delivery: Delivery) -> None:
        """Do nothing."""

    def crashed(self) -> None:
        """Close the connections of a dead process. The connection of a database in memory has to stay."""
        if not self._is_in_memory:
            self._engine.dispose()

    def disconnect(self) -> None:
        self._engine.dispose()

    def beside(self) -> AbstractContextManager[None]:
        """Do nothing: the pool gives the thread another connection."""
        return nullcontext()

    def tables(self, written: set[str]) -> dict[str, Table]:
        found = {}
        look = inspect(self._engine)
        for full in sorted(written):
            alias, _, name = full.partition(".")
            if alias != self.alias or name not in self._metadata.tables:
                continue
            table = self._metadata.tables[name]
            references = {
                key["constrained_columns"][0]: f"{alias}.{key['referred_table']}"
                for key in look.get_foreign_keys(name)
                if len(key["constrained_columns"]) == 1
            }
            found[full] = Table(tuple(table.columns.keys()), tuple(c.name for c in table.primary_key), references)
        return found

    def read(self, tables: dict[str, Table]) -> dict[str, Rows]:
        found: dict[str, Rows] = {}
        with self._engine.connect() as connection:
            for full, shape in tables.items():
                alias, _, name = full.partition(".")
                if alias != self.alias:
                    continue
                table = self._metadata.tables[name]
                rows = connection.execute(table.select().order_by(*table.primary_key))
                found[full] = keyed((dict(row._mapping) for row in rows), shape)
        return found
