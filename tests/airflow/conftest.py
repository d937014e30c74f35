"""Airflow's processes for all tests, and a shop. Airflow's DAGs run the tasks of the shop."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "e2e"))
from airflow_server import AirflowServer, need_airflow


@pytest.fixture(scope="session")
def airflow_server() -> Iterator[AirflowServer]:
    """One that all tests of a process share."""
    server = AirflowServer(Path(__file__).with_name("shop_dags.py"))
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def needs_airflow() -> None:
    """Skip before anything else is made."""
    need_airflow()


@pytest.fixture
def airing(needs_airflow: None, ledger_url: str, tmp_path: Path, airflow_server: AirflowServer) -> Iterator[Any]:
    """A shop on a fresh ledger, and the server."""
    from airing import Airing

    with Airing(tmp_path / "shop", ledger_url, airflow_server) as shop:
        yield shop
