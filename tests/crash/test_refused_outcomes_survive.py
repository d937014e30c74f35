"""Kill a worker while it tells a success that the database refuses from the others: each is recorded, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from test_every_crashpoint import REFUSED, armed, dies
from test_refused_outcomes import refuse
from workers import Shop

from mirepoix.crashpoints import Crashpoint

pytestmark = pytest.mark.slow

COMPLETES_A_BATCH = """
import shop
from mirepoix.celery.worker_process import WorkerProcess
from mirepoix.records import Completion, Result
installation = shop.app.mirepoix
worker = WorkerProcess.begin(installation, "armed", pool="solo", is_forking=False, concurrency=1, queues=("celery",))
connection = installation.source.open()
for taken in worker.leases.record_and_take(connection, ["celery"], 10):
    done = Completion(taken.lease, results=(Result(taken.lease.task_id, "SUCCESS", "2"),))
    worker.leases.complete(done)
worker.leases.flush(connection)
"""


@pytest.fixture
def shop(sqlite_url: str, tmp_path: Path) -> Iterator[Shop]:
    """On one database: how each refuses is tested by test_refused_outcomes.py."""
    with Shop(tmp_path / "shop", sqlite_url) as shop:
        yield shop


@pytest.mark.parametrize("point", sorted(REFUSED), ids=str)
def test_a_worker_dies_that_records_successes_one_by_one(shop: Shop, point: Crashpoint) -> None:
    refuse(shop, "mirepoix_result", "NEW.task_id = 'bad' AND NEW.status = 'SUCCESS'")
    ids = [shop.send("add", 1, 1, task_id=id) for id in ("good", "bad", "late")]
    dies(shop, shop.start("armed", "-c", COMPLETES_A_BATCH, env=armed(shop, point)))
    left = {"good": "succeeded", "bad": "leased", "late": "leased"}
    assert shop.ledger.states() == left | ({"bad": "failed"} if point is Crashpoint.REFUSE_AFTER_COMMIT else {})
    shop.worker("clean")
    shop.wait(ids)
    assert shop.ledger.states() == {"good": "succeeded", "bad": "failed", "late": "succeeded"}
    assert [attempt["outcome"] for attempt in shop.ledger.history("bad")].count("failed") == 1
