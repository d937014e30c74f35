"""A worker that ends waits for its own threads, which still need it."""

from __future__ import annotations

import threading
from typing import Any

from celery import Celery

import mirepoix
from mirepoix.celery.worker_process import WorkerProcess
from pace import DEADLINE_S


def test_the_round_of_maintenance_that_runs_when_a_worker_ends_still_finds_it(sqlite_url: str):
    app = Celery("shop", set_as_current=False)
    installation = mirepoix.install(app, sqlite_url, look_at_broker=False)
    process = WorkerProcess.begin(installation, "w1", pool="solo", is_forking=False, concurrency=1, queues=("celery",))
    begun = threading.Event()
    seen: list[Any] = []

    def look() -> None:
        begun.set()
        assert process._maintenance._loop.stopped.wait(DEADLINE_S)  # the worker is about to end
        seen.append(installation.worker)

    process.start_maintenance(look)
    assert begun.wait(DEADLINE_S)
    process.end()
    assert seen == [process]
    assert installation.worker is None
    app.close()
