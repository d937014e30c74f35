"""The worker's own steps: hold leases from before the pool forks until after it is gone."""

from __future__ import annotations

from typing import Any

from celery import bootsteps, signals

import mirepoix.celery as package
from mirepoix.celery.meter import resident_kb


class HoldLeases(bootsteps.StartStopStep):  # type: ignore[misc]
    """Register this worker before anything forks; start its keeper when the pool is up."""

    requires = ("celery.worker.components:Pool",)

    def create(self, worker: Any) -> None:
        """Called before any step starts, so before the pool forks: children inherit the liveness lock."""
        installation = worker.app.mirepoix
        installation.begin_worker(
            name=worker.hostname,
            pool=worker.pool_cls.__module__.rpartition(".")[2],
            concurrency=worker.concurrency,
            queues=tuple(worker.app.amqp.queues.consume_from),
        )
        signals.worker_shutdown.connect(self._end, sender=worker, weak=False)
        self._installation = installation

    def start(self, worker: Any) -> None:
        """The pool is up: begin to renew, to reap and to note."""
        self._installation.start_keeper()

    def _end(self, **_: Any) -> None:
        # The last thing a worker does, after its pool is gone: what it still holds can go back safely.
        self._installation.end_worker()


def sample_memory(installation: Any) -> None:
    """Remember how much memory the processes that run tasks take: a killed one cannot be asked any more."""
    for held in installation.holder.running():
        if held.pid is not None and (peak := resident_kb(held.pid)) is not None:
            installation.peaks[held.lease.key] = peak
    if len(installation.peaks) > 1_000:
        alive = {held.lease.key for held in installation.holder.running()}
        for key in [key for key in installation.peaks if key not in alive]:
            del installation.peaks[key]


VERSION = getattr(package, "__version__", "0.1.0")
