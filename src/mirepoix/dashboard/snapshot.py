"""Read the overview once for all who look at it, so that the database's work does not grow with them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from mirepoix.celery.installation import Installation
from mirepoix.ledger import counting
from mirepoix.ledger.alerts import OpenAlert, all_open
from mirepoix.ledger.query.failures import LISTED, Group, groups
from mirepoix.ledger.query.pace import Pace, pace
from mirepoix.ledger.query.tasks import Filters, TaskLine, search
from mirepoix.operations.findings import Finding, findings
from mirepoix.operations.health import Overview, overview
from mirepoix.operations.slow import Slow, slow
from mirepoix.operations.verdict import Verdict, verdict
from mirepoix.states import State

GOOD_FOR_S = 4.0
"""How old a snapshot may be. A page says when its snapshot was read."""

LATE_AFTER_S = 60.0
RUNNING_MOST = 500
"""The most running tasks that are compared with what is usual, the oldest first."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The ledger at one moment."""

    at: datetime
    overview: Overview
    findings: tuple[Finding, ...]
    verdict: Verdict
    groups: tuple[Group, ...]
    alerts: tuple[OpenAlert, ...]
    pace: Pace
    slow: tuple[Slow, ...]
    took_s: float


class Snapshot:
    """The latest state of one ledger. One thread reads it at a time, and the others wait for that."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._lock = threading.Lock()
        self._seen: Seen | None = None
        self._read_at = 0.0

    def get(self) -> Seen:
        """Return a state that is at most `GOOD_FOR_S` old."""
        with self._lock:
            if self._seen is None or time.monotonic() - self._read_at > GOOD_FOR_S:
                self._seen, self._read_at = self._read(), time.monotonic()
            return self._seen

    def forget(self) -> None:
        """Read again at the next look, because somebody has changed something."""
        with self._lock:
            self._read_at = -GOOD_FOR_S

    def _read(self) -> Seen:
        source = self._installation.source
        counting.catch_up(source, excused=source.errors)
        began = time.perf_counter()
        running = Filters(states=frozenset({State.RUNNING}))
        with source.reading() as tx:
            seen = overview(tx, LATE_AFTER_S)
            opened = all_open(tx)
            causes = [group for group in groups(tx) if group.status in LISTED]
            moves = pace(tx)
            runs: list[TaskLine] = search(tx, running, RUNNING_MOST, oldest_first=True)
        found = findings(seen)
        return Seen(
            datetime.now(UTC),
            seen,
            tuple(found),
            verdict(found, LATE_AFTER_S),
            tuple(causes),
            tuple(opened),
            moves,
            tuple(slow(runs, moves.run_times())),
            time.perf_counter() - began,
        )
