"""A Temporal server for all tests, and a shop whose tasks its workflows run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "e2e"))
from temporal_server import TemporalServer


@pytest.fixture(scope="module")
def temporal_server() -> Iterator[TemporalServer]:
    """One that the tests of a file share, and that ends with them. A test that kills it need not start it again."""
    server = TemporalServer()
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture
def temporal(temporal_server: TemporalServer) -> TemporalServer:
    """The server, which runs."""
    temporal_server.start()
    return temporal_server


@pytest.fixture
def bridged(ledger_url: str, tmp_path: Path, temporal: TemporalServer) -> Iterator[Any]:
    """A shop on a fresh ledger, and the server."""
    from bridged import Bridged

    with Bridged(tmp_path / "shop", ledger_url, temporal) as shop:
        yield shop
