"""A shop with a broker in front of its ledger: RabbitMQ and Redis of the tests' own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "e2e"))
sys.path.insert(0, str(Path(__file__).parent.parent / "connect"))

from workers import Shop

from brokers import BrokerServer, RedisServer


@pytest.fixture(params=["rabbitmq", "redis"])
def broker(request: pytest.FixtureRequest) -> Iterator[BrokerServer]:
    """Each broker."""
    server = request.getfixturevalue(request.param)
    server.start()
    yield server
    server.start()
    empty(server)


@pytest.fixture(params=["postgresql", "mariadb"])
def shop(broker: BrokerServer, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """A shop whose tasks go by the broker, on each ledger that has a server."""
    ledger_url = request.getfixturevalue(f"{request.param}_url")
    with Shop(tmp_path / "shop", ledger_url, broker=broker, delivery="broker") as shop:
        yield shop


def empty(server: BrokerServer) -> None:
    """Leave nothing for the next test."""
    if isinstance(server, RedisServer):
        server.flush()
    else:
        server.purge("celery")
