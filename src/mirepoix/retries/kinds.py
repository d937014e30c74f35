"""Distinguish errors that may pass (transient) from those that a retry cannot fix (permanent). No library is imported.

A policy without its own classes treats these errors as transient:

* a connection that failed or was lost, a timeout, an unreachable network or host, a failed name lookup
* the equivalents in requests, urllib3, httpx and aiohttp
* an HTTP answer of 408, 425, 429 or 5xx, except 501 and 505
* an ``OperationalError`` of a database driver, SQLAlchemy or Django. In SQLite and MySQL that class also means mistakes
  in SQL, so the code decides
* a transaction that is read only, as on a server that is no longer, or not yet, the primary

All other errors are permanent: a mistake in code does not pass.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any

Kind = type[BaseException] | str
"""A class of exceptions, or its dotted name: ``"httpx.TransportError"``."""

_CLASSES: tuple[type[BaseException], ...] = (ConnectionError, TimeoutError, socket.gaierror)
_NETWORK = frozenset(
    {errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ETIMEDOUT}
)
_CLIENTS = frozenset(
    {
        "http.client.IncompleteRead",
        "requests.exceptions.ConnectionError",
        "requests.exceptions.Timeout",
        "requests.exceptions.ChunkedEncodingError",
        "urllib3.exceptions.TimeoutError",
        "urllib3.exceptions.ProtocolError",
        "urllib3.exceptions.NewConnectionError",
        "httpx.TimeoutException",
        "httpx.NetworkError",
        "httpx.RemoteProtocolError",
        "aiohttp.client_exceptions.ClientConnectionError",
        "aiohttp.client_exceptions.ClientPayloadError",
    }
)
_CANNOT_PASS = frozenset({"requests.exceptions.SSLError", "aiohttp.client_exceptions.ClientConnectorCertificateError"})
_DATABASES = frozenset(
    {
        "psycopg.OperationalError",
        "psycopg2.OperationalError",
        "asyncpg.exceptions.PostgresConnectionError",
        "sqlalchemy.exc.OperationalError",
        "django.db.utils.OperationalError",
    }
)
_WRAPPERS = _DATABASES | {"sqlalchemy.exc.InternalError", "django.db.utils.InternalError"}
_MYSQL = frozenset({"pymysql.err.OperationalError", "MySQLdb.OperationalError", "MySQLdb._exceptions.OperationalError"})
_MYSQL_CODES = frozenset(
    {1040, 1053, 1158, 1159, 1160, 1161, 1203, 1205, 1213, 2002, 2003, 2006, 2013, 2055}
    | {1290, 1792, 1836}  # read only
)
_SQLITE_CODES = frozenset({5, 6})  # busy, locked
_READ_ONLY = "25006"  # PostgreSQL's code
_STATUSES = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_SERVER_FOR_GOOD = frozenset({HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED})


def is_transient(error: BaseException, transient: Sequence[Kind] | None, permanent: Sequence[Kind]) -> bool:
    """Whether *error* may pass.

    Of the named classes, the nearest in the error's ancestry decides. A class that is named on both sides is permanent.
    If *transient* is None and no class of *permanent* decides, the rules above decide.
    """
    for cls in type(error).__mro__:
        if _is_named(cls, permanent):
            return False
        if transient is not None and _is_named(cls, transient):
            return True
    return transient is None and passes_by_itself(error)


def passes_by_itself(error: BaseException) -> bool:
    """Whether *error* is transient by the rules above."""
    names = {_name(cls) for cls in type(error).__mro__}
    status = status_of(error)
    if status is not None:
        is_server_error = status // 100 == 5 and status not in _SERVER_FOR_GOOD  # noqa: PLR2004 (5xx)
        return status in _STATUSES or is_server_error
    codes = _codes(error)
    if codes is not None:
        return codes
    if names & _CANNOT_PASS:
        return False
    if isinstance(error, _CLASSES) or names & (_CLIENTS | _DATABASES):
        return True
    if isinstance(error, OSError):
        reason = getattr(error, "reason", None)  # of urllib's URLError
        return error.errno in _NETWORK or (isinstance(reason, OSError) and passes_by_itself(reason))
    return False


def status_of(error: BaseException) -> int | None:
    """Return the status of the HTTP answer that *error* carries, as requests, httpx, aiohttp and urllib attach it."""
    response = getattr(error, "response", None)
    for holder, name in ((response, "status_code"), (response, "status"), (error, "status"), (error, "code")):
        status = getattr(holder, name, None)
        # Other libraries use "status" and "code" for other things. Beside headers they are HTTP's.
        if isinstance(status, int) and 100 <= status < 600 and hasattr(holder, "headers"):  # noqa: PLR2004 (HTTP's)
            return status
    return None


def _codes(error: BaseException) -> bool | None:
    """Decide by the database's code of *error*, or of an error that it wraps. Return None if there is none."""
    for wrapped in _wrapped(error):
        if _READ_ONLY in (getattr(wrapped, "sqlstate", None), getattr(wrapped, "pgcode", None)):
            return True
        code: Any = getattr(wrapped, "sqlite_errorcode", None)
        if isinstance(code, int):
            return code & 0xFF in _SQLITE_CODES
        names = {_name(cls) for cls in type(wrapped).__mro__}
        if names & _MYSQL:
            return bool(wrapped.args) and wrapped.args[0] in _MYSQL_CODES
    return None


def _wrapped(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    found: Any = error
    while isinstance(found, BaseException) and id(found) not in seen:
        seen.add(id(found))
        yield found
        # Only follow causes that wrap a driver's error. Any other cause is a different failure.
        if not {_name(cls) for cls in type(found).__mro__} & _WRAPPERS:
            return
        found = getattr(found, "orig", None) or found.__cause__


def _is_named(cls: type, kinds: Sequence[Kind]) -> bool:
    return any(cls is kind or (isinstance(kind, str) and kind == _name(cls)) for kind in kinds)


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}".removeprefix("builtins.")
