"""The tests of traces run the same shop as the end-to-end tests, in processes of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

from workers import Shop


@pytest.fixture
def shop(ledger_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A shop on a fresh ledger; what it started is ended."""
    with Shop(tmp_path / "shop", ledger_url) as shop:
        yield shop


@pytest.fixture
def shop_on_sqlite(sqlite_url: str, tmp_path: Path) -> Iterator[Shop]:
    """The same on SQLite only."""
    with Shop(tmp_path / "shop", sqlite_url) as shop:
        yield shop
