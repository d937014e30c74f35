"""What only a worker's process has: its leases, its threads, and what it measured of its pool."""

from __future__ import annotations

import gc
import os
import platform
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Self

from celery.utils.log import get_logger

import mirepoix.celery.coroutines
import mirepoix.connect.forkgate  # noqa: F401 (the pool forks while other threads log)
from mirepoix.alerts.thread import AlertThread
from mirepoix.broker.relay import Relay
from mirepoix.celery import chords, errbacks, limits, outcome, queue_probes, scheduling, undeliverable
from mirepoix.celery.gathering import Gathered
from mirepoix.celery.meter import Meter
from mirepoix.celery.scarcity import Scarcity
from mirepoix.celery.stacks import Stacks
from mirepoix.connect.source import BOUND_S, OwnConnection
from mirepoix.connect.url import source_for
from mirepoix.daemons import process
from mirepoix.daemons.leases import Leases
from mirepoix.daemons.maintenance import Maintenance
from mirepoix.daemons.memory_kills import MemoryKills
from mirepoix.errors import ConfigurationError
from mirepoix.ledger.query.releases import RELEASE
from mirepoix.ledger.tx import Tx
from mirepoix.records import AttemptFailure, Lease, Part, RelayRole, Worker
from mirepoix.states import AttemptOutcome

if TYPE_CHECKING:
    from mirepoix.celery.installation import Installation

logger = get_logger("mirepoix.worker")


class WorkerProcess:
    """The worker of this process, and of every process that its pool forks. It is `Installation.worker`.

    `begin` registers it in the ledger before the pool forks. `end` signs it off when the pool is gone. The leases and
    the threads belong to the parent: a forked process may only read attributes.
    """

    def __init__(self, installation: Installation, worker: Worker, *, is_forking: bool) -> None:
        self._installation = installation
        self._pid = os.getpid()
        self._maintenance: Maintenance | None = None
        self._relay: Relay | None = None
        self._alerts: AlertThread | None = None
        self._connection: OwnConnection | None = None
        self._is_ending = False
        self.is_forking = is_forking
        """Whether its pool runs tasks in processes that it forks."""
        self.broker_consumer: Any = None
        """Leases the tasks that the broker sends notifications for; None without a broker."""
        self.lane: Any = None
        """The short way into the direct pool (`mirepoix.celery.pool.lane`); None with any other pool."""
        self.gathered = Gathered()
        """The calls that are gathered to run together, by tasks that have a strategy of their own."""
        self.peaks: dict[tuple[str, int], int] = {}
        """The highest memory that was measured of each attempt's process, in kB."""
        self.meter = Meter()  # made before the fork, so that the pool's processes share it
        self.memory_kills = MemoryKills()
        self.stacks = Stacks(is_forking=is_forking)
        self.scarcity = Scarcity()
        self.leases = Leases(
            installation.source,
            installation.settings,
            worker,
            self._return_parts,
            partial(chords.return_ended, installation),
            installation.catalog.can_take,
            partial(outcome.fail_unwritable_completion, installation),
            partial(errbacks.send_errbacks, installation),
            installation.notify_lost,
            partial(queue_probes.send, installation),
            scheduling.firing_of(installation).fire if installation.settings.schedules else None,
        )

    @classmethod
    def begin(
        cls,
        installation: Installation,
        name: str,
        *,
        pool: str,
        is_forking: bool,
        concurrency: int,
        queues: tuple[str, ...],
        relay_role: RelayRole | None = None,
    ) -> Self:
        """Register this process as a worker. Waits while the database is away. Call it before the pool forks."""
        source, settings = installation.source, installation.settings
        _work_at(installation, settings.worker_url)
        source.name_sessions(name)
        _until_reached(installation, source.require_sessions)
        _until_reached(installation, installation.require_schema)
        if relay_role is None:
            is_relaying = settings.has_broker and settings.relay
            relay_role = RelayRole.WORKER if is_relaying else RelayRole.NONE
        software = {
            "mirepoix": version("mirepoix"),
            "celery": version("celery"),
            "kombu": version("kombu"),
            "python": platform.python_version(),
        }
        if settings.release:
            software[RELEASE] = settings.release
        host, pid = socket.gethostname(), os.getpid()
        worker = Worker("", name, host, pid, pool, concurrency, queues, software, relay_role, process.own())
        found = installation.worker = cls(installation, worker, is_forking=is_forking)
        _until_reached(installation, found.leases.incarnation.register)
        if installation.app.tasks.limits or settings.global_rate_limits:
            found.leases.limited.is_in_use = True
            _until_reached(installation, partial(limits.record_own, installation, f"worker {name}"))
        _until_reached(installation, found.read_paused)
        if settings.schedules:
            _until_reached(installation, partial(scheduling.record_own, installation, f"worker {name}"))
        if is_forking:
            # The processes of the pool share what is loaded now until one of them writes to it. A collection writes to
            # each object that it looks at.
            gc.freeze()
        return found

    def read_paused(self) -> None:
        """Read what is paused, so that the first take obeys. Later the maintenance thread reads it."""
        connection = self._installation.source.open(BOUND_S)
        try:
            with connection.statements() as tx:
                self.leases.read_paused(tx)
        finally:
            connection.close()

    def start_maintenance(self, on_tick: Callable[[], None]) -> None:
        """Start the thread that sends this worker's heartbeat and maintains the ledger."""
        self._maintenance = Maintenance(self.leases, on_tick)
        self._maintenance.start()

    def start_relay(self, on_round: Callable[[OwnConnection], None]) -> Relay:
        """Start the relay's thread. It publishes what waits for the broker, while this worker is the leader."""
        self._relay = Relay(self._installation, self._id, on_round)
        self._relay.start()
        return self._relay

    def start_alerts(self) -> None:
        """Start the thread that checks the conditions of alerts, if the settings name a channel."""
        if self._installation.settings.alerts:
            self._alerts = AlertThread(self._installation.source, self._installation.settings, self._id)
            self._alerts.start()

    def end(self) -> None:
        """Give the remaining leases back and sign off, after the pool is gone. Does nothing in a pool process."""
        if self._pid != os.getpid() or self._installation.worker is not self or self._is_ending:
            return
        self._is_ending = True
        for thread in (self._alerts, self._relay, self._maintenance):
            if thread is not None:
                thread.stop()
        self._installation.worker = None  # not before: the round of maintenance that runs needs it
        self.stacks.close()
        source = self._installation.source
        try:
            self.leases.close()
        except source.errors as error:
            # Other workers find its lock free, and release the leases that it held.
            logger.warning("the worker could not sign off: %s", str(error).strip())
        source.close()

    def may_run(self, lease: Lease) -> bool:
        """Whether this process may run the attempt. Always true in a pool process, since its parent has the leases."""
        return self._pid != os.getpid() or self.leases.held.holds(lease.key)

    @property
    def is_pool_process(self) -> bool:
        """Whether this process was forked by the worker's pool."""
        return self.is_forking and self._pid != os.getpid()

    def peak_of(self, lease: Lease | None) -> int | None:
        """The last known peak memory of an attempt's process, in kB.

        The parent measured it, or the process reported it when it began.
        """
        if lease is None:
            return None
        held = self.leases.held.get(lease.key)
        return self.peaks.get(lease.key) or (None if held is None else self.meter.read(held.pid))

    def spare_connections(self) -> None:
        """Close this process' connection if the database has too few: other processes of the pool need one."""
        if self.is_pool_process and self.scarcity.is_noted:
            self._installation.source.close()

    def report_lost(
        self, lease: Lease, failure: AttemptFailure, *, outcome: AttemptOutcome, delay_s: float = 0.0
    ) -> None:
        """Record, from the worker's loop, that an attempt's process died or that the attempt was rejected.

        If the database is away, the maintenance thread records it when it is back.
        """
        self.leases.note_lost(lease.key, failure, outcome=outcome, delay_s=delay_s)
        try:
            if self._connection is None:
                self._connection = self._installation.source.open(BOUND_S)
            self.leases.losses.report(self._connection)
        except self._installation.source.errors:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def pool_refused(self, lease: Lease, name: str, error: Exception) -> None:
        """Record that the pool did not take the task: see `mirepoix.celery.undeliverable`."""
        undeliverable.pool_refused(self._installation, lease, name, error)

    def _return_parts(self, tx: Tx, parts: Sequence[Part], refused: Exception | None) -> None:
        chords.return_parts(self._installation, tx, parts, refused=refused)

    def _id(self) -> str | None:
        """The id of this worker in the ledger; None once it has ended."""
        return self.leases.worker.id if self._installation.worker is self else None


def _work_at(installation: Installation, url: str | None) -> None:
    """Connect this worker to ``worker_url``, so that only processes that send use a pooler."""
    if url is None:
        return
    other = source_for(url)
    if other.dialect != installation.source.dialect:
        raise ConfigurationError(
            f"mirepoix_worker_url leads to {other.label}, and the ledger is in {installation.source.label}. It must be "
            "the same database."
        )
    installation.source.work_at(url)


def _until_reached(installation: Installation, act: Callable[[], None]) -> None:
    pause_s = 0.5
    while True:
        try:
            act()
        except installation.source.disconnects as error:
            logger.warning(
                "the ledger in %s cannot be reached, trying again in %.1f s: %s",
                installation.source.label,
                pause_s,
                str(error).strip().splitlines()[0],
            )
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 5.0)
        else:
            return
