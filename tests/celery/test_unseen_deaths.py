"""A pool process died with an attempt before its parent had read that the attempt began: who is blamed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery

import mirepoix
from driver import TTL_S, Ledger
from mirepoix.celery import outcome
from mirepoix.ledger import workers


@pytest.fixture
def app(ledger: Ledger, ledger_url: str) -> Iterator[Celery]:
    app = Celery("unseen", set_as_current=False)
    mirepoix.install(app, ledger_url)
    yield app
    app.mirepoix.source.close()


@pytest.mark.parametrize(("is_stopping", "deaths", "handovers"), [(False, 1, 0), (True, 0, 1)])
def test_a_task_is_not_to_blame_if_its_worker_was_asked_to_stop(
    app: Celery, ledger: Ledger, is_stopping: bool, deaths: int, handovers: int
):
    id = app.send_task("t").id
    ledger.worker("w1")
    lease = ledger.lease("w1")
    ledger.do(workers.heartbeat, "w1", TTL_S, is_stopping=is_stopping)
    outcome.record_unseen_death(app.mirepoix, lease, "t")
    row = ledger.row(id)
    assert (row["state"], row["deaths"], row["handovers"]) == ("pending", deaths, handovers)
    (attempt,) = ledger.attempts(id)
    assert attempt["outcome"] == "killed"
