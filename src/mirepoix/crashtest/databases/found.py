"""Databases that nobody has to name: the libraries' own connections say where they are."""

from __future__ import annotations

import sys
from importlib import import_module

from mirepoix.crashtest.databases.database import Database

_STATES = {"redis": "RedisKeys", "psycopg": "PsycopgTables", "sqlite3": "SqliteFiles"}


def found_states() -> dict[str, Database]:
    """One for each library that was imported, by its name; a task that imports it only when it runs is not seen to."""
    return {
        name: getattr(import_module(f"mirepoix.crashtest.databases.{name}"), made)()
        for name, made in _STATES.items()
        if name in sys.modules
    }
