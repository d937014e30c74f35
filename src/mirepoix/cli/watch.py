"""Read the ledger again and again in a thread, also after it was away, so that a screen answers keys meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from mirepoix.connect.source import OwnConnection
from mirepoix.operations.format import one_line
from mirepoix.operations.look import Seen, look

LEAVE_S = 0.5
"""How long `Watch.stop` waits for the reading thread. A thread that waits for the database ends with the process."""


REST = 9
"""The pause is at least so many times as long as the reading, so that a busy database has to answer seldom."""


@dataclass(frozen=True, slots=True)
class Watched:
    """The latest state that was read. *trouble* is the error of the latest reading, or None."""

    seen: Seen | None = None
    trouble: str | None = None
    away_since: float | None = None
    """When the ledger was last known to answer, by the monotonic clock, if it does not answer now."""
    asked_at: float | None = None
    """When the reading that has not ended began, by the monotonic clock."""
    version: int = 0
    """How many readings have ended."""
    pause_s: float = 0.0
    """How long to wait before the next reading."""


class Watch:
    """Call *connect* for a connection of its own, and read every *interval_s* seconds until `stop`, or more rarely.

    An error of the database, one of *errors*, closes the connection; the next reading opens another.
    """

    def __init__(
        self,
        connect: Callable[[], OwnConnection],
        errors: tuple[type[Exception], ...],
        late_after_s: float,
        interval_s: float,
    ) -> None:
        self._connect = connect
        self._errors = errors
        self._late_after_s = late_after_s
        self._interval_s = interval_s
        self._connection: OwnConnection | None = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mirepoix top", daemon=True)
        self.latest = Watched()

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading. A reading that waits for the database is left alone."""
        self._is_over.set()
        self._thread.join(LEAVE_S)

    def _run(self) -> None:
        while not self._is_over.is_set():
            self._read()
            self._is_over.wait(self.latest.pause_s)
        self._disconnect()

    def _read(self) -> None:
        began = time.monotonic()
        before = self.latest
        self.latest = replace(before, asked_at=began)
        try:
            if self._connection is None:
                self._connection = self._connect()
            seen = look(self._connection, self._errors, self._late_after_s)
        except self._errors as error:
            self._disconnect()
            away_since = began if before.away_since is None else before.away_since
            trouble = one_line(str(error))
            self.latest = Watched(
                before.seen, trouble, away_since, version=before.version + 1, pause_s=self._interval_s
            )
        else:
            pause_s = max(self._interval_s, REST * (time.monotonic() - began))
            self.latest = Watched(seen, version=before.version + 1, pause_s=pause_s)

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(*self._errors):  # it may be broken
                self._connection.close()
            self._connection = None
