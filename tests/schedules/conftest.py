"""Schedules of a fresh ledger, on each database."""

from __future__ import annotations

import pytest
from clocks import Scheduled

from mirepoix.connect.source import OwnConnection


@pytest.fixture
def scheduled(connection: OwnConnection) -> Scheduled:
    """The schedules of a fresh ledger, with a clock that the test holds."""
    return Scheduled(connection)
