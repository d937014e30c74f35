"""A watcher that looks, and tells, when a test says so; and a failure to tell of."""

from __future__ import annotations

from typing import Any

from driver import Ledger
from mirepoix.alerts.channels import channels
from mirepoix.alerts.deliver import deliver_due
from mirepoix.alerts.sync_open import sync_open
from mirepoix.config import Settings
from mirepoix.ledger import alerts
from mirepoix.records import AttemptFailure


class Watch:
    """One on the test's own connection."""

    def __init__(self, ledger: Ledger, *to: str, **settings: Any) -> None:
        self.ledger = ledger
        self.settings = Settings(alerts=to, **{"alerts_grace_s": 0.0, **settings})
        self.channels = channels(self.settings)

    def look(self) -> int:
        """Open and close."""
        return sync_open(self.ledger.connection, self.settings, [one.label for one in self.channels], steady_s=0.0)

    def tell(self) -> list[int]:
        """How many each channel was told."""
        return [deliver_due(self.ledger.connection, self.settings, channel) for channel in self.channels]

    def __call__(self) -> list[int]:
        """Look and tell."""
        self.look()
        return self.tell()

    @property
    def open(self) -> list[str]:
        """The ids of what is open."""
        return sorted(one.alert.id for one in self.ledger.do(alerts.all_open))


def fail(ledger: Ledger, task_id: str, error: str = "ValueError", **fields: Any) -> None:
    """Let a task fail, in the worker w1."""
    ledger.send(task_id, **fields)
    trouble = AttemptFailure(
        f"{error}: it went wrong", error_type=error, traceback=f"Traceback:\n{error}: it went wrong"
    )
    ledger.fail(ledger.lease("w1"), trouble)
