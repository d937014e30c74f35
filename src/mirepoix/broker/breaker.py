"""A circuit breaker: a broker that is away is tried at intervals, not with every task."""

from __future__ import annotations

import logging
import time

logger = logging.getLogger("mirepoix.relay")


class Breaker:
    """A breaker that is closed while the broker answers. It logs once when it opens, and once when it closes."""

    def __init__(self, retry_s: float, what_waits: str) -> None:
        self._retry_s = retry_s
        self._what_waits = what_waits
        self._again_at: float | None = None
        self.failed_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether the broker did not answer at the last try."""
        return self._again_at is not None

    @property
    def is_due(self) -> bool:
        """Whether the broker may be tried: it answers, or the last try was long enough ago."""
        return self._again_at is None or time.monotonic() >= self._again_at

    @property
    def wait_s(self) -> float:
        """How many seconds must pass until the broker may be tried."""
        return 0.0 if self._again_at is None else max(0.0, self._again_at - time.monotonic())

    def failed(self, error: Exception) -> None:
        """Open the breaker: the broker is away."""
        if self._again_at is None:
            self.failed_at = time.monotonic()
            logger.warning("%s: %s", error, self._what_waits)
        self._again_at = time.monotonic() + self._retry_s

    def succeeded(self) -> bool:
        """Close the breaker: the broker answered. Return whether it was open."""
        was_open, self._again_at = self.is_open, None
        if was_open:
            logger.warning("the broker answers again after %.1f s", time.monotonic() - (self.failed_at or 0.0))
        return was_open
