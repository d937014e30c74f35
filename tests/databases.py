"""Make a database for a test, and drop it after the test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from servers import MariadbServer, PostgresServer, end_sessions, run_mariadb

DATABASES = ("sqlite", "postgresql", "mariadb")
TEMPLATE = "mirepoix_template"
"""The database of each server that has the ledger's tables, to copy."""

_numbers = itertools.count(1)


def postgresql_database(server: PostgresServer, template: str | None = None) -> Iterator[str]:
    """A database of that server: an empty database, or a copy of *template*."""
    server.start()
    name = f"ledger_{next(_numbers)}"
    server.run(f"CREATE DATABASE {name}{'' if template is None else server.copy_of(template)}")
    yield server.url(name)
    server.start()
    server.run(f"DROP DATABASE {name} WITH (FORCE)")


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
