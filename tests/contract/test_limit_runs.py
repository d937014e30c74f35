"""Random runs with limits while workers are killed, the short form of a benchmark; the judge finds planted faults."""

from __future__ import annotations

import pytest
from benchmarks.limit_runs import Run, options
from benchmarks.limit_witness import Report

FOUND = {
    "running": "too many",
    "weight": "over the rate",
    "drop": "calls above their limit",
    "unique": "unique",
    "death": "slot held",
}


def run(url: str, *words: str) -> Report:
    """Run it for a short time, with more deaths than usual."""
    return Run(url, options().parse_args(["--runs", "1500", "--kills", "0.004", "--processes", "2", *words])).run()


@pytest.mark.slow
def test_limits_hold_while_workers_are_killed(ledger_url: str) -> None:
    """`python -m benchmarks.limit_runs` makes a million runs, and judges how soon slots are free too."""
    report = run(ledger_url)
    assert not set(report.faults) - {"slot held"}, report.examples
    assert report.runs >= 1500
    assert report.full > 0


@pytest.mark.thorough
@pytest.mark.parametrize("plant", FOUND)
def test_the_judge_finds_a_fault_that_was_planted(sqlite_url: str, plant: str) -> None:
    assert FOUND[plant] in run(sqlite_url, "--plant", plant).faults
