"""The signal of the soft time limit in a process of the direct pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from billiard.exceptions import SoftTimeLimitExceeded

if TYPE_CHECKING:
    from mirepoix.celery.pool.page import Page

SOFT_LIMIT, TERMINATION = 1, 2
"""Why a job is interrupted by the signal, which its process survives. The page says so."""


class SoftLimit:
    """The handler of the soft time limit's signal: it interrupts the job that the signal was sent for, and no other."""

    def __init__(self, page: Page, slot: int) -> None:
        self._page, self._slot = page, slot
        self.number = 0

    def is_due(self) -> bool:
        """Whether the signal was sent for the job that runs now."""
        return self.number != 0 and self._page.interruption(self._slot, self.number) == SOFT_LIMIT

    def __call__(self, number: int, frame: Any) -> None:
        if self.is_due():
            raise SoftTimeLimitExceeded
