"""A pytest plugin: keep every test's outcome as JSON in the file that CONFORMANCE_RECORD names.

Also: run only those tests that CONFORMANCE_PART asks for, ``0/3`` every third from the first on.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

# A test may be in several categories (passed, then an error in its teardown): the last one that it is in counts.
ORDER = ("passed", "xpassed", "xfailed", "skipped", "failed", "error")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the other parts to other processes."""
    number, _, count = os.environ.get("CONFORMANCE_PART", "0/1").partition("/")
    wanted = items[int(number) :: int(count)]
    if len(wanted) < len(items):
        kept = set(wanted)
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = wanted


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the file, if one is wanted."""
    path = os.environ.get("CONFORMANCE_RECORD")
    if path is None:
        return
    outcomes = {
        report.nodeid: outcome
        for outcome in ORDER
        for report in terminalreporter.stats.get(outcome, [])
        if isinstance(report, (pytest.TestReport, pytest.CollectReport))
    }
    Path(path).write_text(json.dumps(outcomes, indent=1))
