"""The hook: it reads from a connection of Airflow which Celery app sends the tasks, or where its ledger is."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from airflow.sdk import BaseHook

from mirepoix.celery.clients import client_by_path, client_on
from mirepoix.celery.installation import installation_of
from mirepoix.errors import ConfigurationError

DEFAULT_CONN_ID = "mirepoix_default"

READ_AGAIN_S = 30.0
"""So long a triggerer uses what it has read of a connection, which may be for thousands of triggers."""


@dataclass(frozen=True, slots=True)
class Where:
    """What a connection says. Exactly one of *app* and *ledger_url* is given."""

    app: str | None
    ledger_url: str | None
    admin_url: str | None

    def client(self) -> Any:
        """Return the Celery app. Raises ConfigurationError if Mirepoix is not installed on it. It may block."""
        if self.app is not None:
            return client_by_path(self.app)
        assert self.ledger_url is not None
        return client_on(self.ledger_url, "mirepoix.airflow")


class MirepoixHook(BaseHook):  # type: ignore[misc]
    """Sends Celery tasks, and knows their states, with the connection *conn_id*.

    The connection has the type ``mirepoix``. Its password is the ledger's URL; or its extra has ``app``, the import
    path of the Celery app. Its extra may have ``admin_url``, which links to tasks begin with.
    """

    conn_name_attr = "conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = "mirepoix"
    hook_name = "Mirepoix"

    def __init__(self, conn_id: str = DEFAULT_CONN_ID, **more: Any) -> None:
        super().__init__(**more)
        self.conn_id = conn_id

    def get_conn(self) -> Any:
        """Return the Celery app, on which Mirepoix is installed. Raises ConfigurationError."""
        return self.where().client()

    def where(self) -> Where:
        """Return what the connection says. Raises ConfigurationError if that is not exactly one way to the ledger."""
        return _read(self.conn_id, self.get_connection(self.conn_id))

    def link_to(self, task_id: str) -> str:
        """Return the URL of a task's page in the admin, or an empty text if the connection names no admin."""
        admin_url = self.where().admin_url
        return f"{admin_url.rstrip('/')}/mirepoix/task/{task_id}/change/" if admin_url else ""

    def test_connection(self) -> tuple[bool, str]:
        """Tell whether the ledger can be reached and has the tables of this release."""
        try:
            installation_of(self.get_conn()).require_schema()
        except Exception as error:  # noqa: BLE001 (what it is, is the answer)
            return False, str(error)
        return True, "The ledger answers."


_read_before: dict[str, tuple[float, Any]] = {}
_reading = asyncio.Lock()


async def client_of(conn_id: str) -> Any:
    """Return the Celery app of a connection, without blocking the event loop of a triggerer."""
    async with _reading:
        read_at, app = _read_before.get(conn_id, (0.0, None))
        if app is None or time.monotonic() - read_at > READ_AGAIN_S:
            where = _read(conn_id, await BaseHook.aget_connection(conn_id))
            app = await asyncio.to_thread(where.client)
            _read_before[conn_id] = (time.monotonic(), app)
        return app


def _read(conn_id: str, connection: Any) -> Where:
    extra = connection.extra_dejson
    where = Where(extra.get("app") or None, connection.password or None, extra.get("admin_url") or None)
    if (where.app is None) == (where.ledger_url is None):
        raise ConfigurationError(
            f"The connection {conn_id!r} must name either the ledger's URL, as its password, or the import path of a "
            "Celery app, as `app` in its extra."
        )
    return where
