"""The state of the database behind an SQLAlchemy engine: the rows of its tables, deleted and written again."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from sqlalchemy import Engine, MetaData, inspect

from mirepoix.crashtest.normalise import Rows, Table, keyed
from mirepoix.crashtest.points import Delivery


class SqlalchemyDatabase:
    """The database of *engine*, through connections of the tester's own from the same pool."""

    alias = "sqlalchemy"

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._metadata = MetaData()
        self._kept: dict[str, list[dict[str, Any]]] = {}

    @property
    def name(self) -> str:
        """For people."""
        return f"SQLAlchemy on {self._engine.dialect.name}, real commits"

    @property
    def takes_two(self) -> bool:
        """Not on SQLite, where one waits for the other."""
        return self._engine.dialect.name != "sqlite"

    @property
    def unkillable(self) -> str:
        """What is in memory dies with its process."""
        if self._is_in_memory:
            return 'The engine in state= is an SQLite database in memory: give it a file, "sqlite:///test.db".'
        return ""

    @property
    def _is_in_memory(self) -> bool:
        name = str(self._engine.url.database)
        return self._engine.dialect.name == "sqlite" and (name in {"None", "", ":memory:"} or "mode=memory" in name)

    def save(self) -> None:
        """Keep every row."""
        self._metadata.reflect(self._engine)
        with self._engine.connect() as connection:
            for table in self._metadata.sorted_tables:
                self._kept[table.name] = [dict(row._mapping) for row in connection.execute(table.select())]  # noqa: SLF001

    def restore(self) -> None:
        """Delete every row, and write those that were kept."""
        with self._engine.begin() as connection:
            for table in reversed(self._metadata.sorted_tables):
                connection.execute(table.delete())
            for table in self._metadata.sorted_tables:
                if self._kept[table.name]:
                    connection.execute(table.insert(), self._kept[table.name])

    def begin(self, delivery: Delivery) -> None:
        """A delivery begins."""

    def crashed(self) -> None:
        """The connections of a dead process are gone. One that is in memory has to stay."""
        if not self._is_in_memory:
            self._engine.dispose()

    def disconnect(self) -> None:
        """Close the pool's connections, whose sockets or files a child process would share."""
        self._engine.dispose()

    def beside(self) -> AbstractContextManager[None]:
        """Around a delivery in a thread of its own: the pool gives it another connection."""
        return nullcontext()

    def tables(self, written: set[str]) -> dict[str, Table]:
        """How the tables among *written* are built."""
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
        """Their rows."""
        found: dict[str, Rows] = {}
        with self._engine.connect() as connection:
            for full, shape in tables.items():
                alias, _, name = full.partition(".")
                if alias != self.alias:
                    continue
                table = self._metadata.tables[name]
                rows = connection.execute(table.select().order_by(*table.primary_key))
                found[full] = keyed((dict(row._mapping) for row in rows), shape)  # noqa: SLF001
        return found
