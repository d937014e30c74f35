"""Read the overview once for all who look at it, so that the database's work does not grow with them."""

from __future__ import annotations

import logging
import threading
import time

from mirepoix.celery.installation import Installation
from mirepoix.operations.look import Seen, look

logger = logging.getLogger("mirepoix.dashboard")

GOOD_FOR_S = 4.0
"""A look at an older state makes a thread read the next one. A page says when its state was read."""

OLDEST_S = 20.0
"""A look waits for the ledger if the latest state is older."""


class Snapshot:
    """The latest state of one ledger. One thread reads it at a time.

    Who looks gets the latest state at once. If it is older than `GOOD_FOR_S`, a thread reads the next one meanwhile.
    Only the first look after a pause, and the next look after an action, wait for the ledger.
    """

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._lock = threading.Lock()
        self._seen: Seen | None = None
        self._read_at = 0.0
        self._version = 0

    def get(self) -> Seen:
        """Return a state that is at most `OLDEST_S` old, and was read after the last `forget`."""
        seen, age_s = self._seen, time.monotonic() - self._read_at
        if seen is None or age_s > OLDEST_S:
            with self._lock:
                if self._seen is None or time.monotonic() - self._read_at > OLDEST_S:
                    self._renew()
                assert self._seen is not None
                return self._seen
        if age_s > GOOD_FOR_S and self._lock.acquire(blocking=False):
            threading.Thread(target=self._renew_behind, name="dashboard snapshot", daemon=True).start()
        return seen

    def forget(self) -> None:
        """Read again at the next look, because somebody has changed something."""
        self._read_at = -OLDEST_S
        self._version += 1

    def _renew_behind(self) -> None:
        """Renew the state. The caller took the lock, and this thread releases it."""
        try:
            self._renew()
        except self._installation.source.errors:
            logger.warning("the ledger could not be read; the next look tries again", exc_info=True)
        finally:
            self._installation.source.leave()
            self._lock.release()

    def _renew(self) -> None:
        version = self._version
        self._seen = self._read()
        if version == self._version:  # otherwise somebody changed something meanwhile, and the next look reads again
            self._read_at = time.monotonic()

    def _read(self) -> Seen:
        source = self._installation.source
        return look(source, source.errors)
