"""What `mirepoix tune` reads is what a real worker recorded."""

from __future__ import annotations

import time

import pytest
from workers import Shop

from driver import Ledger
from mirepoix.ledger.query.recorded import recorded
from mirepoix.tuning.workload import workload

pytestmark = pytest.mark.slow

TASKS = 12


def test_the_record_of_a_real_worker_can_be_simulated(shop: Shop, ledger: Ledger) -> None:
    begin = time.monotonic()
    ids = [shop.send("spin", 0.1) for _ in range(TASKS)]
    sending_s = time.monotonic() - begin
    shop.worker(concurrency=2)
    bad = shop.send("fail")
    shop.wait([*ids, bad])
    found = ledger.do(recorded, 600.0, 100)
    spins = [run for run in found.runs if run.name.endswith("spin")]
    assert len(spins) == TASKS
    assert len(found.runs) == TASKS + 1  # the failed attempt was work too
    assert min(run.run_s for run in spins) >= 0.1
    assert all(run.peak_memory_kb for run in spins)
    starts, sent = sorted(run.started_s for run in spins), sorted(run.started_s - run.waited_s for run in spins)
    assert starts[-1] - starts[0] >= 0.1 * (TASKS / 2 - 1)  # two ran at once, the others after them
    assert sent[-1] - sent[0] <= sending_s + 0.01
    (span,) = found.workers
    assert (span.concurrency, span.queues, span.ended_s) == (2, ("celery",), None)
    made = workload(found, 1)
    today = made.of_queue("celery", made.simulated(made.servers))
    assert (today.tasks, today.never) == (TASKS + 1, 0)
