"""Count every attempt that ended, at each scrape, without reading the whole ledger each time.

The first reading counts every row. It remembers the attempts that ended more than `LAG_S` ago. A later reading counts
only the attempts that ended since then, and adds them. So its cost depends on the throughput, not on the ledger's size.

Promised: at any moment the counters equal the totals and the rows together, and never fall while this object lives.
Two things can delay an attempt until the next full count, `RECOUNT_S` later at most: its outcome was committed more
than `LAG_S` after the statement that recorded it, or the database's clock was set back.
"""

from __future__ import annotations

import time

from mirepoix.ledger import totals
from mirepoix.ledger.totals import Key, Tally
from mirepoix.ledger.tx import Tx

LAG_S = 120.0
RECOUNT_S = 6 * 3600.0
TRIES = 5
"""How often a full count is repeated because tasks were pruned meanwhile."""


class Counters:
    """The attempts that ended. Use it in one thread at a time."""

    def __init__(self, lag_s: float = LAG_S, recount_s: float = RECOUNT_S) -> None:
        self._lag_s = lag_s
        self._recount_s = recount_s
        self._settled = Tally()
        self._moment: object | None = None
        self._recount_at = 0.0
        self._highest: dict[Key, tuple[int, int]] = {}

    def read(self, tx: Tx) -> Tally:
        """Return every attempt that ever ended."""
        found = None
        if self._moment is not None and time.monotonic() < self._recount_at:
            found = self._read_recent(tx, self._moment)
        return self._not_falling(found or self._read_all(tx))

    def _read_all(self, tx: Tx) -> Tally:
        for _ in range(TRIES):
            until = totals.moment_ago(tx, self._lag_s)
            before = totals.folded(tx)
            settled, recent = totals.kept(tx, until)
            # These statements may see different states. Only a prune could lose or repeat attempts between them.
            if totals.folded(tx) == before:
                break
        self._settled, self._moment = before + settled, until
        self._recount_at = time.monotonic() + self._recount_s
        return self._settled + recent

    def _read_recent(self, tx: Tx, moment: object) -> Tally | None:
        """Return None if attempts were pruned that ended after *moment*, so that a full count is necessary."""
        until = totals.moment_ago(tx, self._lag_s)
        settled, recent = totals.since(tx, moment, until)
        if totals.was_pruned_since(tx, moment):
            return None
        self._settled, self._moment = self._settled + settled, until
        return self._settled + recent

    def _not_falling(self, tally: Tally) -> Tally:
        # A worker of a release without totals prunes without counting. Prometheus would take lower numbers for a
        # restart, and count everything again.
        for key, (attempts, microseconds) in self._highest.items():
            tally.attempts[key] = max(attempts, tally.attempts.get(key, 0))
            tally.microseconds[key] = max(microseconds, tally.microseconds.get(key, 0))
        self._highest = {key: (attempts, tally.microseconds[key]) for key, attempts in tally.attempts.items()}
        return tally
