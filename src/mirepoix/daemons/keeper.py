"""Keep a worker alive in the ledger and look after the ledger: a thread of every worker process.

It renews the worker's leases, looks for workers that died and takes back what they held, releases tasks that have
come due, ends those that expired, prunes, and tells the ledger what the consumer's own loop could not (it may be
busy, or be the very thread that runs a task). Every statement it runs is idempotent, so any number of them may run.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from mirepoix.connect.source import OwnConnection
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.daemons.holder import Holder
from mirepoix.ledger import budget, chords, failures, messages, operate, reap, results, take, workers

logger = logging.getLogger("mirepoix.keeper")

MESSAGES_KEPT_S = 60.0
BINDINGS_KEPT_S = 24 * 3600.0
RECONNECT_S = 0.25
TAKE_UP_S = 1.0
"""How often a worker looks whether something is parked that its own code can take."""
CONFIRM_S = 0.15
"""How long a worker's lock must have been free before its death is believed."""


class Keeper:
    """Runs until `stop`; loses its database for as long as it must, and says so once."""

    def __init__(self, holder: Holder, on_tick: Callable[[], None] | None = None) -> None:
        self._holder = holder
        self._settings = holder.settings
        self._on_tick = on_tick
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mirepoix-keeper", daemon=True)
        self._connection: OwnConnection | None = None
        self._steady_since = time.monotonic()
        self._next_heartbeat = self._next_liveness = self._next_prune = self._next_due = self._next_take_up = 0.0
        self._is_away = False
        self._suspected: dict[str, float] = {}

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and wait until what it is doing is done."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while not self._stopped.wait(self._pause()):
            try:
                self._tick()
                self._is_away = False
            except self._holder.source.errors as error:
                self._lost_database(error)
            except Exception:
                # A daemon's loop: whatever this was, the next round must come.
                logger.exception("the keeper failed and goes on")
                self._drop_connection()
        self._drop_connection()

    def _pause(self) -> float:
        if self._is_away:
            return RECONNECT_S
        # While tasks run or completions wait, look often enough to note starts and to relieve a busy loop.
        is_busy = self._holder.count() or self._holder.has_completions or self._suspected
        return min(self._settings.liveness_interval_s, 0.05 if is_busy else 1.0)

    def _tick(self) -> None:
        connection = self._connection or self._connect()
        now = time.monotonic()
        holder = self._holder
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + self._settings.lease_ttl_s / 3
            if not holder.heartbeat(connection):
                holder.reincarnate()
        holder.flush(connection, older_than_s=5 * self._settings.flush_interval_s)
        holder.report_losses(connection)
        holder.note_started(connection)
        holder.give_back_abandoned(connection)
        if self._on_tick is not None:
            self._on_tick()
        self._check_own_lock()
        if now >= self._next_liveness:
            self._next_liveness = now + self._settings.liveness_interval_s
            self._reap(connection, now)
        if now >= self._next_due:
            self._tend(connection, now)
        if now >= self._next_take_up:
            has_more = holder.take_up(connection)
            self._next_take_up = now + (0.0 if has_more else TAKE_UP_S)
        if now >= self._next_prune:
            self._next_prune = now + self._settings.prune_interval_s
            self._prune(connection)
        moment = time.monotonic()
        if self._has_waited(now, moment):
            self._steady_since = moment

    def _has_waited(self, since: float, moment: float) -> bool:
        """Whether this took so long that others may have missed a heartbeat while they waited for the same lock.

        On SQLite a task may have a transaction open for as long as it likes, and nobody else can write meanwhile.
        """
        return moment - since >= self._settings.lease_ttl_s / 2

    def _connect(self) -> OwnConnection:
        self._connection = self._holder.source.open()
        self._steady_since = time.monotonic()
        return self._connection

    def _check_own_lock(self) -> None:
        if self._holder.liveness is not None and not self._holder.liveness.is_held():
            # The session ended, but not we. A new incarnation would lose what runs here, so only the lock is taken
            # again: at once, as the others look a second time before they believe in a death.
            self._holder.retake_liveness()

    def _reap(self, connection: OwnConnection, now: float) -> None:
        holder = self._holder
        dead = self._confirmed(holder.source.unheld(connection, holder.worker.id), now)
        with connection.transaction() as tx:
            found = [(id, name) for id, name in dead if workers.declare_dead(tx, id, "its process is gone")]
            moment = time.monotonic()
            if moment - self._steady_since >= self._settings.lease_ttl_s and not self._has_waited(now, moment):
                # Not right after the database was away, or locked: then everybody's heartbeat stayed out.
                found += workers.declare_silent_dead(tx)
            lost = reap.lose_of_dead_workers(tx, self._settings)
            if found or lost:
                reached(Crashpoint.REAP_BEFORE_COMMIT)
        if found or lost:
            reached(Crashpoint.REAP_AFTER_COMMIT)
        for id, name in found:
            logger.warning("worker %s (%s) is dead", name, id)
        for one in lost:
            logger.warning("task %s[%s] was lost with its worker and is %s", one.name, one.task_id, one.state)

    def _confirmed(self, unheld: list[tuple[str, str]], now: float) -> list[tuple[str, str]]:
        """Of the workers whose lock nobody holds, those of which that was so a moment ago too.

        A session that is ended under a living worker frees its lock too; the worker takes it again within that moment.
        """
        confirmed = [(id, name) for id, name in unheld if now - self._suspected.get(id, now) >= CONFIRM_S]
        self._suspected = {id: self._suspected.get(id, now) for id, _ in unheld}
        if len(confirmed) < len(unheld):
            self._next_liveness = now + CONFIRM_S
        return confirmed

    def _tend(self, connection: OwnConnection, now: float) -> None:
        with connection.transaction() as tx:
            expired = reap.expire(tx)
            if expired and self._holder.return_ended is not None:
                self._holder.return_ended(tx, expired, "expired before a worker took it")
            changed = take.release_due(tx) + len(expired)
            next_due_s = take.next_due_s(tx)
            if changed:
                reached(Crashpoint.TEND_BEFORE_COMMIT)
        if changed:
            reached(Crashpoint.TEND_AFTER_COMMIT)
        limit = self._settings.liveness_interval_s
        self._next_due = now + (limit if next_due_s is None else min(limit, max(0.0, next_due_s)))

    def _prune(self, connection: OwnConnection) -> None:
        with connection.transaction() as tx:
            messages.forget_old(tx, MESSAGES_KEPT_S, BINDINGS_KEPT_S)
            if self._settings.retention_s is not None:
                operate.prune(tx, self._settings.retention_s)
                chords.prune(tx, self._settings.retention_s)
            if self._settings.failure_retention_s is not None:
                failures.prune(tx, self._settings.failure_retention_s)
            results.prune(tx)
            budget.forget(tx)

    def _lost_database(self, error: Exception) -> None:
        if not self._is_away:
            logger.warning("the ledger cannot be reached, trying again until it can: %s", str(error).strip())
        self._is_away = True
        self._drop_connection()

    def _drop_connection(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.close()
        self._connection = None
