"""The same with a broker in front of the ledger."""

from __future__ import annotations

import pytest
from benchmarks.rolling import roll
from benchmarks.servers import LEDGER_QUEUE, Server
from test_rolling_deploy import check

from brokers import RabbitServer

pytestmark = pytest.mark.slow


def test_a_rolling_deploy_of_incompatible_changes_harms_no_task(rabbitmq: RabbitServer, postgresql_url: str):
    rabbitmq.start()
    server = Server("postgresql-rabbitmq", postgresql_url, broker=Server("rabbitmq", rabbitmq.url))
    try:
        check(roll(server, seconds=5.0, rate=25.0, workers=2))
    finally:
        rabbitmq.purge(LEDGER_QUEUE)
