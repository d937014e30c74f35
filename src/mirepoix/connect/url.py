"""From the URL that `mirepoix.install` was given to the database it means."""

from __future__ import annotations

from importlib import import_module
from typing import Any
from urllib.parse import unquote, urlsplit

from mirepoix.connect.source import Source
from mirepoix.errors import ConfigurationError, MissingLibrary, UnsupportedDatabase

_SQLITE = ("sqlite",)
_MYSQL = ("mysql", "mariadb")
_POSTGRESQL = ("postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2", "postgresql+asyncpg")


def source_for(url: str) -> Source:
    """The database behind *url*.

    ``sqlite:///relative.db``, ``sqlite:////absolute/path.db``, ``postgresql://user:password@host:port/database`` or
    ``mysql://user:password@host:port/database`` (``mariadb://`` is the same). Driver suffixes as SQLAlchemy writes them
    are accepted. Raises UnsupportedDatabase or ConfigurationError.
    """
    scheme, separator, rest = url.partition("://")
    if scheme in _SQLITE or scheme.startswith("sqlite+"):
        path = unquote(rest.partition("?")[0].removeprefix("/"))
        if not path or path == ":memory:":
            raise ConfigurationError(
                "The ledger cannot live in memory: workers are other processes. Use sqlite:///tasks.db."
            )
        source: Source = import_module("mirepoix.connect.sqlite3").SqliteSource(path)
        return source
    if scheme in _POSTGRESQL:
        if not urlsplit(url).path.strip("/"):
            raise ConfigurationError("The PostgreSQL URL names no database: postgresql://user:password@host/DATABASE.")
        source = optional("psycopg", "postgres").PostgresSource(f"postgresql://{rest}")
        return source  # noqa: RET504  (typed by its name)
    if scheme.partition("+")[0] in _MYSQL:
        connector = optional("pymysql", "mysql")
        source = connector.MysqlSource(connector.params_of(f"//{rest}"))
        return source  # noqa: RET504  (typed by its name)
    raise UnsupportedDatabase(f"{scheme}://" if separator else f"{url!r} (no URL)")


def optional(module: str, extra: str) -> Any:
    """The connector module of that name. Raises MissingLibrary, with the install line, if its library is missing."""
    try:
        return import_module(f"mirepoix.connect.{module}")
    except ModuleNotFoundError as error:
        raise MissingLibrary(error.name or module, extra) from error
    except ImportError as error:  # psycopg without libpq, say
        raise MissingLibrary(module, extra, f"cannot be imported ({' '.join(str(error).split())})") from error
