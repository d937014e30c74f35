"""A shop on an empty database."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

from hosting import Host
from workers import Shop


@pytest.fixture
def host(empty_url: str, tmp_path: Path) -> Iterator[Host]:
    """A host on a database without a table, once for each kind of database."""
    with Shop(tmp_path / "shop", empty_url) as shop:
        yield Host(shop)
        assert not shop.broker.was_dialled
