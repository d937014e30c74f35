"""The attempts that ended without an outcome, until the ledger knows of them: their process died, or rejected them."""

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
from mirepoix.records import AttemptFailure, Lease
from mirepoix.states import AttemptOutcome

logger = logging.getLogger("mirepoix.leases")


@dataclass(frozen=True, slots=True)
class Loss:
    """One attempt that ended without an outcome.

    ``beginning`` is how the attempt began, if the ledger does not
    know of that either.
    """

    lease: Lease
    failure: AttemptFailure
    outcome: AttemptOutcome
    is_blamed: bool = False
    delay_s: float = 0.0
    beginning: Held | None = None


class Losses:
    """What is still to be reported. Safe for several threads.

    *note_begun* writes that attempts have begun. *send_errbacks* has the error callbacks called of tasks that ended in
    a state, with the reason.
    """

    def __init__(
        self,
        settings: Settings,
        note_begun: Callable[[Tx, Iterable[Held]], None],
        send_errbacks: Callable[[Tx, Sequence[str], str, str], None] | None,
    ) -> None:
        self._settings = settings
        self._note_begun = note_begun
        self._send_errbacks = send_errbacks
        self._lock = threading.RLock()
        self._waiting: list[Loss] = []

    def add(self, *losses: Loss) -> None:
        """Report these with the next `report`."""
        with self._lock:
            self._waiting.extend(losses)

    def report(self, connection: OwnConnection) -> None:
        """Return each lost task to its queue, or quarantine it. What cannot be reported now is reported next time."""
        while True:
            with self._lock:
                if not self._waiting:
                    return
                loss = self._waiting.pop(0)
            try:
                with connection.transaction() as tx:
                    if loss.beginning is not None:
                        self._note_begun(tx, [loss.beginning])
                    lost = reap.lose(
                        tx,
                        loss.lease,
                        loss.failure,
                        self._settings,
                        is_blamed=loss.is_blamed,
                        outcome=loss.outcome,
                        delay_s=loss.delay_s,
                    )
                    if lost is not None and lost.state == "quarantined" and self._send_errbacks is not None:
                        self._send_errbacks(tx, [lost.task_id], lost.state, loss.failure.reason)
                    reached(Crashpoint.LOSE_BEFORE_COMMIT)
            except BaseException:
                self.add(loss)  # behind the others: the database may refuse it for its content
                raise
            reached(Crashpoint.LOSE_AFTER_COMMIT)
            if lost is not None:
                logger.error("task %s[%s] is %s: %s", lost.name, lost.task_id, lost.state, loss.failure.reason)
