"""Export the metrics of one ledger: as text, as a WSGI or ASGI application, or from a small HTTP server.

An exporter opens a connection of its own when it is first asked, and a new one after an error. It answers one request
at a time. If the ledger gives no answer, the answer is 503 with the reason, without the database's password.
"""

from __future__ import annotations

import asyncio
import hmac
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from mirepoix.config import Settings
from mirepoix.connect.source import BOUND_S, OwnConnection, Source
from mirepoix.connect.url import source_for
from mirepoix.errors import ConfigurationError
from mirepoix.metrics import celery_exporter
from mirepoix.metrics.counters import Counters
from mirepoix.metrics.families import families, read
from mirepoix.metrics.text import CONTENT_TYPE, Family, written

PLAIN = "text/plain; charset=utf-8"
NAMES = ("mirepoix", "celery-exporter", "both")
"""The values of *names*: which names the metrics have."""


class Exporter:
    """The metrics of the ledger in *source*.

    *names* is one of `NAMES`. With *token*, HTTP requests need the header ``Authorization: Bearer TOKEN``.
    """

    def __init__(
        self,
        source: Source,
        settings: Settings | None = None,
        *,
        names: str = "mirepoix",
        token: str | None = None,
        bound_s: float = BOUND_S,
    ) -> None:
        if names not in NAMES:
            raise ConfigurationError(f"The names of metrics must be one of {', '.join(NAMES)}, not {names!r}.")
        if token is not None and not token.strip():
            raise ConfigurationError("The token of the metrics is empty. Give one, or leave it out.")
        self.source = source
        self._settings = settings or Settings()
        self._names = names
        self._token = token
        self._bound_s = bound_s
        self._counters = Counters()
        self._connection: OwnConnection | None = None
        self._lock = threading.Lock()

    def text(self) -> str:
        """Read the ledger and return the metrics. Raises the driver's errors."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self.source.open(self._bound_s)
                with self._connection.reading() as tx:
                    reading = read(tx, self._counters)
            except BaseException:
                self._close()
                raise
        found: list[Family] = []
        if self._names != "celery-exporter":
            found += families(reading, self._settings)
        if self._names != "mirepoix":
            found += celery_exporter.families(reading)
        return written(found)

    def close(self) -> None:
        """Close the connection. The next request opens a new one."""
        with self._lock:
            self._close()

    def answer(self, method: str, authorization: str | None) -> tuple[str, Mapping[str, str], bytes]:
        """Answer an HTTP request: its status line, headers and body."""
        if self._token is not None:
            scheme, _, given = (authorization or "").partition(" ")
            is_right = hmac.compare_digest(given.encode("utf-8", "replace"), self._token.encode())
            if scheme.lower() != "bearer" or not is_right:  # RFC 9110, 11.1: the case of a scheme does not matter
                return _plain("401 Unauthorized", "A bearer token is needed.", {"WWW-Authenticate": "Bearer"})
        if method not in {"GET", "HEAD"}:
            return _plain("405 Method Not Allowed", "Use GET.", {"Allow": "GET, HEAD"})
        try:
            body = self.text()
        except self.source.errors as error:
            words = f"The ledger in {self.source.label} gave no answer ({type(error).__name__})."
            return _plain("503 Service Unavailable", words)
        return "200 OK", {"Content-Type": CONTENT_TYPE}, body.encode()

    def wsgi(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer as a WSGI application. Mount it at ``/metrics``."""
        status, headers, body = self.answer(environ["REQUEST_METHOD"], environ.get("HTTP_AUTHORIZATION"))
        start_response(status, [*headers.items(), ("Content-Length", str(len(body)))])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    async def asgi(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Mapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer as an ASGI application. Mount it at ``/metrics``. The ledger is read in a thread."""
        if scope["type"] != "http":
            raise ValueError(f"The metrics answer HTTP requests only, not {scope['type']!r}.")
        given = dict(scope["headers"]).get(b"authorization")
        authorization = None if given is None else given.decode("latin-1")
        status, headers, body = await asyncio.to_thread(self.answer, scope["method"], authorization)
        listed = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        listed.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": int(status[:3]), "headers": listed})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def exporter_of(ledger: Any, *, names: str = "mirepoix", token: str | None = None) -> Exporter:
    """Return the exporter of *ledger*: a Celery app after ``mirepoix.install(app, …)``, or a ledger's URL."""
    if isinstance(ledger, str):
        return Exporter(source_for(ledger), names=names, token=token)
    installation = getattr(ledger, "mirepoix", None)
    if installation is None:
        raise ConfigurationError(f"{ledger!r} is neither the URL of a ledger nor an app after mirepoix.install(app).")
    return Exporter(installation.source, installation.settings, names=names, token=token)


def _plain(status: str, words: str, more: Mapping[str, str] | None = None) -> tuple[str, Mapping[str, str], bytes]:
    return status, {"Content-Type": PLAIN, **(more or {})}, f"{words}\n".encode()
