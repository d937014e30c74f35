"""Databases that a test does not have to name, because the libraries' own connections lead to them."""

from __future__ import annotations

import sys
from importlib import import_module

from mirepoix.crashtest.databases.database import Database

_STATES = {"redis": "RedisKeys", "psycopg": "PsycopgTables", "sqlite3": "SqliteFiles"}


def found_states() -> dict[str, Database]:
    """Return a state for each imported library, by its name. A library that the task imports when it runs is missed."""
    return {
        name: getattr(import_module(f"mirepoix.crashtest.databases.{name}"), made)()
        for name, made in _STATES.items()
        if name in sys.modules
    }
