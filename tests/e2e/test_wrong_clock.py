"""A worker on a host with a wrong clock. How the databases reckon is tested in tests/celery/test_clocks.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from workers import Shop

pytestmark = pytest.mark.slow

FAST = """
import datetime, celery.worker.request, mirepoix.celery.capture, mirepoix.ledger.take, shop

class AnHourFast(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(hours=1)

for module in (celery.worker.request, mirepoix.celery.capture, mirepoix.ledger.take):
    module.datetime = AnHourFast
shop.app.now = lambda: AnHourFast.now(datetime.UTC)
shop.app.worker_main(["worker", "-n", "fast@test", "-l", "info", "-c", "1", "--without-mingle", "--without-gossip"])
"""


def test_it_runs_what_has_not_expired_and_retries_it_in_time(sqlite_url: str, tmp_path: Path) -> None:
    with Shop(tmp_path / "shop", sqlite_url) as shop:
        id = shop.send("again", 2, 0.3, expires=600)
        shop.start("fast", "-c", FAST)
        shop.wait(id, "succeeded")
        assert shop.runs(id) == 3
