"""The worker's bootstep: it registers the worker before the pool forks, and signs it off after the pool is gone."""

from __future__ import annotations

import signal
from functools import partial
from typing import Any

from celery import bootsteps, platforms, signals
from celery.platforms import EX_FAILURE
from celery.utils.log import get_logger

from mirepoix.broker import former
from mirepoix.broker.stalled import StalledCheck
from mirepoix.celery import private
from mirepoix.celery.meter import is_dead, resident_kb
from mirepoix.celery.others import named, others
from mirepoix.celery.request import given_to_pool
from mirepoix.celery.stacks import answer_requests
from mirepoix.celery.worker_process import WorkerProcess
from mirepoix.connect.interrupts import held_back
from mirepoix.errors import ConfigurationError, MirepoixError

logger = get_logger("mirepoix.worker")

READING_STATE = (
    "active", "query_task", "reserved", "revoke", "revoke_by_stamped_headers", "terminate",
    "dump_active", "dump_reserved",
)  # fmt: skip
"""The remote control commands that read which requests the worker has."""


class HoldLeases(bootsteps.StartStopStep):  # type: ignore[misc]
    """Register this worker before anything forks, and start its maintenance when the pool is up."""

    requires = ("celery.worker.components:Pool",)

    def create(self, worker: Any) -> None:
        """Prepare the registration. Celery calls this before any step starts; ``celery graph`` must write nothing."""
        installation = worker.app.mirepoix
        answer_requests()

        def register() -> None:
            try:
                self._begin(worker, installation)
            except MirepoixError as error:
                raise SystemExit(f"mirepoix: {error}") from error

        # Register before the pool forks, so that children inherit the liveness lock. Register only once, even if the
        # pool is started again.
        private.before_pool_starts(worker, register)
        signals.worker_shutdown.connect(self._end, sender=worker, weak=False)
        signals.worker_shutting_down.connect(self._begin_to_end, weak=False)
        # A soft shutdown waits in the handler of the signal, before it sends worker_shutting_down. Give leases back
        # before that wait.
        private.before_soft_shutdown(worker, self._begin_to_wait)
        # A cold shutdown sends no worker_shutdown. It ends when every step is terminated, and the pool with them.
        private.after_steps_stopped(worker, self._end)
        self._installation = installation

    def _begin(self, worker: Any, installation: Any) -> None:
        is_direct = hasattr(worker.pool, "lane")
        if is_direct and worker.autoscale:
            worker.pool.check_scaling()
        queues = worker.app.amqp.queues
        # Without -Q some releases of Celery would also consume each queue that the relay in this process publishes to.
        queues.select(list(queues.consume_from))
        WorkerProcess.begin(
            installation,
            worker.hostname,
            pool=worker.pool.name if is_direct else worker.pool_cls.__module__.rpartition(".")[2],
            is_forking=is_direct or worker.pool_cls.__module__ == "celery.concurrency.prefork",
            concurrency=worker.pool.places if is_direct else worker.concurrency,
            queues=tuple(queues.consume_from),
        )
        self._running.leases.given_to_pool = partial(given_to_pool, self._running)
        if is_direct:
            self._running.lane = worker.pool.lane
            private.before_control_commands(READING_STATE, worker.pool.lane.show)

    def start(self, worker: Any) -> None:
        """Start the maintenance, the alerts and the relay, now that the pool is up."""
        for name in ("SIGINT", "SIGQUIT", "SIGTERM"):
            handler = signal.getsignal(platforms.signals.signum(name))
            if callable(handler):
                platforms.signals[name] = held_back(handler)
        installation = self._installation
        process = self._running
        process.start_maintenance(lambda: watch_pool(process, worker))
        process.start_alerts()
        if installation.settings.has_broker:
            process.start_relay(StalledCheck(installation, _exit))
        warn_of_other_apps(worker.app)
        former.look(installation, warn_of_backlog)

    def info(self, worker: Any) -> dict[str, Any]:
        """What ``celery inspect stats`` shows: how many of the broker's messages were taken, adopted or refused."""
        broker_consumer = self._running.broker_consumer
        return {} if broker_consumer is None else {"mirepoix": dict(broker_consumer.counts)}

    def _begin_to_end(self, **_: Any) -> None:
        # The handler of the signal calls this. A pool in this process checks the lease before it runs a task, so any
        # lease can go back. A pool process does not check it. So what was sent to a pool process stays, and also what
        # may be sent before the consumer closes. When it closes, it gives back what was not sent.
        process = self._installation.worker
        if process is not None:
            process.leases.begin_to_stop(may_have_begun=given_to_pool(process))

    def _begin_to_wait(self) -> None:
        # Celery waits only if its own state names something that runs.
        self._begin_to_end()
        process = self._installation.worker
        if process is not None and process.lane is not None:
            process.lane.show_begun()

    def _end(self, **_: Any) -> None:
        # A worker does this last, after its pool is gone, so its remaining leases can go back safely.
        if self._installation.worker is not None:
            self._installation.worker.end()

    @property
    def _running(self) -> WorkerProcess:
        process: WorkerProcess | None = self._installation.worker
        if process is None:
            raise ConfigurationError("The worker was not registered: its steps ran out of order.")
        return process


def warn_of_other_apps(app: Any) -> None:
    """Log which tasks of this process never reach the ledger."""
    for other in others(app):
        if other.own_tasks:
            logger.warning(
                "%d task(s) of the Celery app %r go to a broker of its own and never reach the ledger: %s. "
                "Declare them with @shared_task or on this app, or install Mirepoix on that one too.",
                len(other.own_tasks),
                other.name,
                named(other.own_tasks),
            )


def warn_of_backlog(backlog: former.Backlog) -> None:
    """Log what waits in the broker that the app had. A separate thread calls this."""
    for sentence in backlog.sentences:
        logger.warning("%s", sentence)


def _exit() -> None:
    """End the worker as SIGTERM does, but with an exit code that reports a failure to its supervisor."""
    private.end_worker(EX_FAILURE)


def watch_pool(process: WorkerProcess, worker: Any) -> None:
    """Check the processes that run tasks: how much memory they use, and whether one died unnoticed.

    The memory of a killed process cannot be measured, so it is sampled while the process lives. Celery's pool notices
    a death when a pipe closes, and then looks for the dead process once. The kernel may close the pipe a moment before
    the process can be waited for. Then that look finds nothing, and the next one comes seconds later. In that case
    this makes the pool look again.
    """
    is_direct = process.lane is not None
    processes = worker.pool if is_direct else private.processes_of(worker.pool)
    if is_direct:
        process.lane.note_begun()
    if processes is None or not hasattr(processes, "maintain_pool"):
        return
    running = process.leases.held.running()
    of_process = {pid: resident_kb(pid) for pid in {held.pid for held in running} if pid is not None}
    for held in running:
        peak = None if held.pid is None else of_process[held.pid]
        if peak is not None:
            process.peaks[held.lease.key] = peak
    # Check idle processes too: the pool sends tasks to a dead process until it notices the death.
    pids = processes.pids if is_direct else private.pids_of(processes)
    if worker.hub is not None and any(is_dead(pid) for pid in pids):
        worker.hub.call_soon(processes.maintain_pool)
    if len(process.peaks) > PEAKS_KEPT:
        alive = {held.lease.key for held in process.leases.held.running()}
        for key in [key for key in process.peaks if key not in alive]:
            del process.peaks[key]


PEAKS_KEPT = 1_000
