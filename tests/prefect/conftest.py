"""A Prefect server for all tests, and a shop whose tasks its flows run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "e2e"))
from prefect_server import PrefectServer


@pytest.fixture(scope="module")
def prefect_server() -> Iterator[PrefectServer]:
    """One that the tests of a file share, and that ends with them."""
    server = PrefectServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def flowing(ledger_url: str, tmp_path: Path, prefect_server: PrefectServer) -> Iterator[Any]:
    """A shop on a fresh ledger, and the server."""
    from flowing import Flowing

    with Flowing(tmp_path / "shop", ledger_url, prefect_server) as shop:
        yield shop
