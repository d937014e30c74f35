"""Make a database for a test, and drop it after the test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from servers import MariadbServer, PostgresServer, end_sessions, run_mariadb

DATABASES = ("sqlite", "postgresql", "mariadb")
TEMPLATE = "mirepoix_template"
"""The database of each server that has the ledger's tables, to copy."""

_numbers = itertools.count(1)


def postgresql_database(server: PostgresServer, options: str) -> Iterator[str]:
    """A database of that server, made with these options."""
    server.start()
    name = f"ledger_{next(_numbers)}"
    with server.connected() as connection:
        connection.execute(f"CREATE DATABASE {name}{options}")
    yield server.url(name)
    server.start()
    with server.connected() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def empty_mariadb(server: MariadbServer, name: str) -> str:
    """A database without a table; its URL."""
    run_mariadb(server, f"CREATE DATABASE {name}")
    return server.url(name)


def mariadb_database(server: MariadbServer, make: Callable[[str], str]) -> Iterator[str]:
    """A database of that server. *make* makes it, and returns its URL."""
    server.start()
    name = f"ledger_{next(_numbers)}"
    yield make(name)
    server.start()
    end_sessions(server, name)  # who begins anew in it just then would wait for its end, and its end for them
    run_mariadb(server, f"DROP DATABASE {name}")
