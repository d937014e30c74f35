"""Waiting for results: who is asked, and how often."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

import mirepoix
from driver import Ledger
from mirepoix.celery.result_waiter import Waiters
from mirepoix.ledger import results
from mirepoix.records import Result


class Look:
    """Finds nothing *times* times, while somebody else's result is committed each time; then the task is ready."""

    def __init__(self, ledger: Ledger, times: int) -> None:
        self.ledger = ledger
        self.left = times

    def __call__(self, task_ids: set[str]) -> list[dict[str, str]]:
        self.left -= 1
        if self.left < 0:
            return [{"task_id": id} for id in task_ids]
        self.ledger.do(results.store, [Result("t", "SUCCESS", str(self.left))], is_outcome=True)
        return []


@pytest.fixture
def installation(ledger_url: str) -> Iterator[Any]:
    app = Celery("shop", set_as_current=False)
    mirepoix.install(app, ledger_url)
    yield app.mirepoix
    app.mirepoix.source.close()


@pytest.mark.parametrize(("interval_s", "asked"), [(60.0, 0), (1e-9, 4)])
def test_on_interval_is_called_once_an_interval_not_at_every_commit(installation, ledger, interval_s, asked):
    calls: list[int] = []
    waiters = Waiters(installation, Look(ledger, 5))
    ready = list(waiters.wait({"t"}, None, interval_s, lambda: calls.append(1)))
    assert ready == [{"task_id": "t"}]
    assert len(calls) == asked
    for listener in waiters._idle:
        listener.close()
