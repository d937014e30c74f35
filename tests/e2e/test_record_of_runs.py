"""What `mirepoix tune` reads is what a real worker recorded."""

from __future__ import annotations

import pytest
from workers import Shop

from driver import Ledger
from mirepoix.ledger.query.recorded import recorded
from mirepoix.tuning.workload import workload

pytestmark = pytest.mark.slow

TASKS = 12


def test_the_record_of_a_real_worker_can_be_simulated(shop: Shop, ledger: Ledger) -> None:
    ids = [shop.send("spin", 0.1) for _ in range(TASKS)]
    shop.worker(concurrency=2)
    bad = shop.send("fail")
    shop.wait([*ids, bad])
    found = ledger.do(recorded, 600.0, 100)
    spins = [run for run in found.runs if run.name.endswith("spin")]
    assert len(spins) == TASKS
    assert len(found.runs) == TASKS + 1  # the failed attempt was work too
    assert min(run.run_s for run in spins) >= 0.1
    assert all(run.peak_memory_kb for run in spins)
    starts, waits = sorted(run.started_s for run in spins), sorted(run.waited_s for run in spins)
    assert starts[-1] - starts[0] >= 0.1 * (TASKS / 2 - 1)  # two ran at once, the others after them
    assert waits[-1] - waits[0] >= 0.1 * (TASKS / 2 - 1) - 0.05  # all were sent at once, in much less time than that
    (span,) = found.workers
    assert (span.concurrency, span.queues, span.ended_s) == (2, ("celery",), None)
    made = workload(found, 1)
    today = made.of_queue("celery", made.simulated(made.servers))
    assert (today.tasks, today.never) == (TASKS + 1, 0)
