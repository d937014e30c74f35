"""Find the database of the URL that `mirepoix.install` gets."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any
from urllib.parse import unquote, urlsplit

from mirepoix.connect.source import Source
from mirepoix.errors import ConfigurationError, MissingLibrary, UnsupportedDatabase

_SQLITE = ("sqlite",)
_MYSQL = ("mysql", "mariadb")
_HOST = r"(?:\[[^\[\]@]*\]|[^:,@\[\]]*)(?::\d*)?"
_LIBPQ = re.compile(rf"(?:[^@]*@)?{_HOST}(?:,{_HOST})*")
"""libpq ends a password at the first @, and there may be several hosts."""
_PYMYSQL = re.compile(rf"(?:.*@)?{_HOST}")
_POSTGRESQL = ("postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2", "postgresql+asyncpg")


def source_for(url: str) -> Source:
    """Return the database of *url*.

    The forms are ``sqlite:///relative.db``, ``sqlite:////absolute/path.db``,
    ``postgresql://user:password@host:port/database`` and ``mysql://user:password@host:port/database`` (``mariadb://``
    is the same). Driver suffixes as SQLAlchemy writes them are accepted. Raises UnsupportedDatabase or
    ConfigurationError.
    """
    scheme, _, rest = url.partition("://")
    if scheme in _SQLITE or scheme.startswith("sqlite+"):
        path = unquote(rest.partition("?")[0].removeprefix("/"))
        if not path or path == ":memory:":
            raise ConfigurationError(
                "The ledger cannot live in memory: workers are other processes. Use sqlite:///tasks.db."
            )
        source: Source = import_module("mirepoix.connect.sqlite3").SqliteSource(path)
        return source
    if scheme in _POSTGRESQL:
        _require_readable(url, _LIBPQ, scheme)
        if not urlsplit(url).path.strip("/"):
            raise ConfigurationError("The PostgreSQL URL names no database: postgresql://user:password@host/DATABASE.")
        source = optional("psycopg", "postgres").PostgresSource(f"postgresql://{rest}")
        return source  # noqa: RET504  (typed by its name)
    if scheme.partition("+")[0] in _MYSQL:
        _require_readable(url, _PYMYSQL, scheme)
        connector = optional("pymysql", "mysql")
        source = connector.MysqlSource(connector.params_of(f"//{rest}"))
        return source  # noqa: RET504  (typed by its name)
    raise UnsupportedDatabase(_redacted(url))


def _require_readable(url: str, where: re.Pattern[str], scheme: str) -> None:
    """Refuse a URL that a driver would misread, and would then quote in an error with half a password."""
    try:
        parts = urlsplit(url)
        is_readable = bool(where.fullmatch(parts.netloc)) and "@" not in parts.path
    except ValueError:  # a bracket
        is_readable = False
    if not (is_readable and all("=" in option for option in parts.query.split("&") if option)):
        raise ConfigurationError(
            f"The ledger's URL cannot be read: it must be {scheme}://user:password@host:port/database, and in the "
            "password / must be written %2F, @ %40, : %3A, # %23, ? %3F, [ %5B and % %25."
        )


def _redacted(url: str) -> str:
    """Return a part of the text that identifies it. It may contain a password."""
    scheme, separator, _ = url.partition("://")
    if not re.fullmatch(r"[\w+./~-]*", scheme):
        return "The text that was given as the ledger's URL"
    return f"{scheme}://" if separator else f"{scheme!r} (no URL)"


def optional(module: str, extra: str) -> Any:
    """Import a connector module. Raises MissingLibrary, with the install command, if its library is missing."""
    try:
        return import_module(f"mirepoix.connect.{module}")
    except ModuleNotFoundError as error:
        raise MissingLibrary(error.name or module, extra) from error
    except ImportError as error:  # for example psycopg without libpq
        raise MissingLibrary(module, extra, f"cannot be imported ({' '.join(str(error).split())})") from error
