"""The attempts without an outcome, because their process died or rejected them, until that is recorded."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mirepoix.config import Settings
from mirepoix.connect.source import OwnConnection
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.daemons.held import Held
from mirepoix.ledger import reap
from mirepoix.ledger.tx import Tx
from mirepoix.records import AttemptFailure, Lease, LostTask
from mirepoix.states import AttemptOutcome

logger = logging.getLogger("mirepoix.leases")

MOST_AT_ONCE = 200
"""The most losses of one transaction. A process of the asyncio pool may die with a thousand tasks."""


@dataclass(frozen=True, slots=True)
class Loss:
    """One attempt that ended without an outcome. ``beginning`` is its start, if that is not recorded yet."""

    lease: Lease
    failure: AttemptFailure
    outcome: AttemptOutcome
    is_blamed: bool = False
    delay_s: float = 0.0
    suspect_after: int = 0
    beginning: Held | None = None


class Losses:
    """The losses that are still to be recorded. Safe for several threads.

    *note_begun* records that attempts have begun. *send_errbacks* sends the error callbacks of tasks that ended in a
    state, with the reason. *notify_lost* is called after each commit.
    """

    def __init__(
        self,
        settings: Settings,
        note_begun: Callable[[Tx, Iterable[Held]], None],
        send_errbacks: Callable[[Tx, Sequence[str], str, str], None] | None,
        notify_lost: Callable[[Sequence[LostTask]], None] | None = None,
    ) -> None:
        self._settings = settings
        self._note_begun = note_begun
        self._send_errbacks = send_errbacks
        self._notify_lost = notify_lost
        self._lock = threading.RLock()
        self._waiting: list[Loss] = []
        self._at_once = MOST_AT_ONCE

    def add(self, *losses: Loss) -> None:
        """Record these losses with the next `report`."""
        with self._lock:
            self._waiting.extend(losses)

    def report(self, connection: OwnConnection) -> None:
        """Return each lost task to its queue, or quarantine it. A loss that cannot be recorded now is kept."""
        while True:
            with self._lock:
                losses, self._waiting = self._waiting[: self._at_once], self._waiting[self._at_once :]
            if not losses:
                self._at_once = MOST_AT_ONCE
                return
            try:
                with connection.transaction() as tx:
                    self._note_begun(tx, [loss.beginning for loss in losses if loss.beginning is not None])
                    lost = [(loss, self._record(tx, loss)) for loss in losses]
                    reached(Crashpoint.LOSE_BEFORE_COMMIT)
            except BaseException:
                self.add(*losses)  # after the others, and alone, because the database may refuse the content of one
                self._at_once = 1
                raise
            reached(Crashpoint.LOSE_AFTER_COMMIT)
            recorded = [task for _, task in lost if task is not None]
            for loss, task in lost:
                if task is not None:
                    logger.error("task %s[%s] is %s: %s", task.name, task.task_id, task.state, loss.failure.reason)
            if recorded and self._notify_lost is not None:
                self._notify_lost(recorded)

    def _record(self, tx: Tx, loss: Loss) -> LostTask | None:
        lost = reap.lose(
            tx,
            loss.lease,
            loss.failure,
            self._settings,
            is_blamed=loss.is_blamed,
            outcome=loss.outcome,
            delay_s=loss.delay_s,
            suspect_after=loss.suspect_after,
        )
        if lost is not None and lost.state == "quarantined" and self._send_errbacks is not None:
            self._send_errbacks(tx, [lost.task_id], lost.state, loss.failure.reason)
        return lost
