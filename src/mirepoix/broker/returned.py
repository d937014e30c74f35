"""Decide when a worker with a broker takes tasks from the ledger, and when it leases nothing ahead.

A task that a worker had before is older than what waits in the broker: it was recovered from a dead worker, given back,
retried or requeued. The relay publishes it again, to the end of the broker's queue. So workers take it from the ledger,
before the tasks of their messages. The fence decides between the two ways. The message that comes later finds nothing
to lease.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mirepoix.records import Taken

if TYPE_CHECKING:
    from mirepoix.daemons.leases import Leases

CLEAR_S = 1.0
"""How long a worker leases nothing ahead after it took a suspect from the ledger. Suspects run one after the other, so
the next one must not wait behind what was leased ahead."""


class Returned:
    """What one consumer knows of the tasks that a worker had before.

    The maintenance thread looks for them (`Leases.look_for_returned`). The consumer takes them when it has a place.
    """

    def __init__(self) -> None:
        self._holds_suspect = False
        """Whether a suspect was taken, so that other suspects may wait for its end."""
        self._clear_until = 0.0

    def is_due(self, leases: Leases) -> bool:
        """Whether the ledger may have tasks to take now."""
        if self._holds_suspect and leases.held.may_take_suspect:
            self._holds_suspect, leases.has_returned = False, True
        return leases.has_returned

    def note(self, leases: Leases, taken: Sequence[Taken], wanted: int) -> None:
        """Note what the ledger gave when *wanted* tasks were asked for."""
        # The ledger passes over tasks that another transaction has locked, to record that they were sent, for example.
        leases.may_have_passed_returned = leases.has_returned
        has_suspect = any(task.is_suspect for task in taken)  # other suspects may stand before other tasks
        leases.has_returned = len(taken) >= wanted or leases.is_holding or has_suspect
        if has_suspect:
            self._holds_suspect, self._clear_until = True, time.monotonic() + CLEAR_S

    @property
    def is_clearing(self) -> bool:
        """Whether the worker should lease only what it can run at once."""
        return time.monotonic() < self._clear_until
