"""Send a probe through each queue of this worker, and record when it ran."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from celery.app.task import Context

from mirepoix.celery.own_task import own_task
from mirepoix.ledger import enqueue, queue_probes
from mirepoix.ledger.tx import Tx

if TYPE_CHECKING:
    from mirepoix.celery.installation import Installation

PROBE_QUEUE = "mirepoix.probe_queue"
EXPIRES_S = 3600.0
"""A probe that nobody takes expires, so that the queue can get another one."""


def add_tasks(app: Any) -> None:
    """Register the probe."""

    @app.task(name=PROBE_QUEUE, bind=True, shared=False, ignore_result=True, typing=False)  # type: ignore[untyped-decorator]
    def probe_queue(task: Any, queue: str) -> None:
        with app.mirepoix.source.transaction() as tx:
            queue_probes.end(tx, queue, task.request.id)


def send(installation: Installation, tx: Tx, queues: Iterable[str]) -> int:
    """Send, in *tx*, a probe to each of the queues that is due for one; return how many."""
    sent = []
    for queue in sorted(queues):
        probe = own_task(installation, PROBE_QUEUE, (queue,), queue, Context(), {})
        probe = replace(probe, expires_in_s=EXPIRES_S, asked_at=time.monotonic())
        if queue_probes.ask(tx, queue, probe.id, installation.settings.queue_probe_interval_s):
            sent.append(probe)
    enqueue.add(tx, sent)
    return len(sent)
