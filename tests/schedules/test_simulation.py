"""Workers fire schedules across changes of the clocks, and are killed at each step: the short form of a benchmark."""

from __future__ import annotations

import pytest
from benchmarks.schedules import simulate


@pytest.mark.slow
def test_every_fire_time_has_one_row_and_one_reason(ledger_url: str) -> None:
    """`python -m benchmarks.schedules` runs it for years, with many schedules."""
    report = simulate(ledger_url, number=2, years=(2026, 2026), workers=2, seed=5, kill_share=0.25)
    assert report.faults == 0, report
    assert report.rows == report.expected > 20
    assert sum(report.kills.values()) > 10
    assert {"ran", "missed"} <= set(report.states)
