"""States of a task in the ledger, as a bridge to Airflow groups them."""

from __future__ import annotations

from mirepoix.states import FINAL, State

ENDED = frozenset({*FINAL, State.QUARANTINED})
FAILED = frozenset({State.FAILED, State.QUARANTINED, State.EXPIRED})
