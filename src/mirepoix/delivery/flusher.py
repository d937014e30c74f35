"""Decide when to record the successes that wait: with the next batch that is taken, or soon if no batch is taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mirepoix.config import FLUSH_AFTER_S, MOST_AHEAD

if TYPE_CHECKING:
    from mirepoix.daemons.leases import Leases


class Flusher:
    """Calls *flush* from Celery's event loop. Each turn of the loop calls `flush_soon`."""

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._timer: Any = None
        self._flushed_at = 0.0

    def flush_soon(self, leases: Leases, loop: Any) -> None:
        """Flush now if a full batch waits, or a result that a caller may wait for. Otherwise after `FLUSH_AFTER_S`.

        A result never waits if no task runs that could soon add another success.
        """
        if not leases.completions:
            return
        if len(leases.completions) >= MOST_AHEAD:
            self._act()
        elif self._timer is None:
            is_first = time.monotonic() - self._flushed_at >= FLUSH_AFTER_S
            if leases.completions.has_results and (is_first or not len(leases.held)):
                self._act()
            else:
                self._timer = loop.call_later(FLUSH_AFTER_S, self._act)

    def cancel(self) -> None:
        """Cancel the flush that is scheduled, if there is one."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _act(self) -> None:
        self._timer = None
        self._flush()
        # Count from the end of the flush: a slow database would otherwise get each success in its own transaction.
        self._flushed_at = time.monotonic()
