"""The buckets of the histograms of waiting and running times.

The totals of pruned attempts are stored by the number of the bucket. So a bound is never changed or removed.
"""

from __future__ import annotations

BOUNDS_S = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 10800.0, 43200.0)
"""The upper bounds in seconds, each inclusive. The last bucket, ``len(BOUNDS_S)``, has no bound."""

UNKNOWN = -1
"""The bucket of a time that was not recorded."""


def case(expression: str) -> str:
    """Return the SQL that gives the number of the bucket of *expression*, or `UNKNOWN` for null."""
    bounds = " ".join(f"WHEN {expression} <= {bound} THEN {number}" for number, bound in enumerate(BOUNDS_S))
    return f"CASE WHEN {expression} IS NULL THEN {UNKNOWN} {bounds} ELSE {len(BOUNDS_S)} END"
