"""A scheduler for ``celery beat -S mirepoix.schedulers:LedgerScheduler``, which fires the ledger's schedules.

Nobody needs it: workers fire the schedules themselves with ``schedules=True``. It is for those who want to keep beat,
for example while workers run without that setting. Any number of such beats may run, beside any number of workers: all
fire through the same rows.
"""

from __future__ import annotations

from typing import Any

from celery.beat import Scheduler
from celery.utils.log import get_logger

from mirepoix.celery import scheduling
from mirepoix.celery.installation import installation_of
from mirepoix.connect.source import OwnConnection

logger = get_logger("mirepoix.schedules")

AWAY_S = 1.0
"""How often the ledger is tried while it is away."""


class LedgerScheduler(Scheduler):  # type: ignore[misc]
    """Record the schedules of the app's code, and fire what is due in the ledger.

    It writes no file, and ``beat_max_loop_interval`` only shortens its looks. Raises ConfigurationError if Mirepoix is
    not installed on the app, or if a schedule of the code cannot be stored.
    """

    fires_ledger = True

    def __init__(self, app: Any, *args: Any, **kwargs: Any) -> None:
        self._connection: OwnConnection | None = None
        self._is_away = self._is_ticking = self._is_closed = False
        super().__init__(app, *args, **kwargs)

    def setup_schedule(self) -> None:
        """Record the schedules of the app's code."""
        self.app.loader.import_default_modules()
        self.app.finalize()
        installation = installation_of(self.app)
        installation.require_schema()
        scheduling.record_own(installation, "celery beat")
        self._firing = scheduling.firing_of(installation)
        self._source = installation.source

    def tick(self, *_: Any, **__: Any) -> float:
        """Fire what is due; return how many seconds to wait. Raises SystemExit if `close` was called meanwhile."""
        self._is_ticking = True
        try:
            if self._connection is None:
                self._connection = self._source.open()
            wait_s = self._firing.fire(self._connection)
        except self._source.errors as error:
            if not self._is_away:
                logger.warning("the ledger cannot be reached, trying again until it can: %s", str(error).strip())
            self._is_away = True
            self._disconnect()
            wait_s = AWAY_S
        else:
            self._is_away = False
        finally:
            self._is_ticking = False
        if self._is_closed:
            raise SystemExit
        return min(wait_s, float(self.max_interval))

    def close(self) -> None:
        """Close the connection to the ledger.

        Beat calls this in the handler of SIGTERM, and then raises SystemExit in the code that the signal interrupted.
        A tick needs its connection to end its transaction, so then it stays open. Beat calls this again at its end. If
        the exception is lost, in a finalizer for example, the tick raises it.
        """
        self._is_closed = True
        if not self._is_ticking:
            self._disconnect()

    @property
    def info(self) -> str:
        return f"    . ledger -> {installation_of(self.app).source.label}"

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
