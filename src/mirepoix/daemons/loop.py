"""A thread that repeats its work, and goes on after errors and while the ledger is away."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable

from mirepoix.connect.source import BOUND_S, OwnConnection, Source


class Loop:
    """Call *work* until the loop is stopped. *work* returns how many seconds to wait before the next round.

    If *work* raises an exception of *away* (by default the source's ``disconnects``), the ledger is away: the loop logs
    that once, closes its connection and tries again every *away_s*. It does the same after any other exception, which
    it logs each time. *on_connect* is called with each new connection, and *on_end* in the thread when the loop ends.
    """

    def __init__(
        self,
        source: Source,
        name: str,
        work: Callable[[], float],
        logger: logging.Logger,
        *,
        away_s: float,
        away: tuple[type[Exception], ...] | None = None,
        on_connect: Callable[[OwnConnection], None] | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        self._source = source
        self._name = name
        self._work = work
        self._logger = logger
        self._away_s = away_s
        self._away = source.disconnects if away is None else away
        self._on_connect = on_connect
        self._on_end = on_end
        self._connection: OwnConnection | None = None
        self._is_away = False
        self._thread = threading.Thread(target=self.run, name=f"mirepoix-{name}", daemon=True)
        self.stopped = threading.Event()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, and wait up to 5 s until its round is done."""
        self.stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def run(self) -> None:
        """Run in this thread until `stopped` is set."""
        while not self.stopped.is_set():
            try:
                pause_s = self._work()
                self._is_away = False
            except self._away as error:
                if not self._is_away:
                    reason = str(error).strip()
                    self._logger.warning("the ledger cannot be reached, trying again until it can: %s", reason)
                self._is_away = True
                pause_s = self._away_s
                self.disconnect()
            except Exception:
                self._logger.exception("%s failed and goes on", self._name)
                pause_s = self._away_s
                self.disconnect()
            self.stopped.wait(pause_s)
        if self._on_end is not None:
            self._on_end()
        self.disconnect()

    def connection(self) -> OwnConnection:
        """Return the loop's connection to the ledger; open it if there is none."""
        if self._connection is None:
            self._connection = self._source.open(BOUND_S)
            if self._on_connect is not None:
                self._on_connect(self._connection)
        return self._connection

    def abort(self) -> None:
        """End the connection while the loop waits for a statement. Another thread calls this."""
        connection = self._connection
        if connection is not None:
            connection.abort()

    def disconnect(self) -> None:
        """Close the connection. The next round opens another."""
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.close()
        self._connection = None
