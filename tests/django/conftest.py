"""A shop for each database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from shop import Shop


@pytest.fixture
def shop(ledger_url: str) -> Iterator[Shop]:
    """A Django project whose ledger is in its default database, once for each kind of database."""
    shop = Shop(ledger_url)
    yield shop
    shop.close()
