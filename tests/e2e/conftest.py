"""A shop for each test: a fresh ledger, and real processes on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from workers import Shop


@pytest.fixture
def shop(ledger_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A shop on a fresh ledger; what it started is ended, and its broker was never dialled."""
    with Shop(tmp_path / "shop", ledger_url) as shop:
        yield shop
        assert not shop.broker.was_dialled
