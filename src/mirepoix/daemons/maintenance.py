"""The maintenance of the ledger: a thread of every worker process.

It detects dead workers and takes back their tasks, releases due tasks, ends expired tasks, counts failures and prunes.
It also records what the consumer's loop could not record, because that loop may be busy or may run a task itself. Every
statement is idempotent, so any number of workers may run it. No statement waits for ever:
`mirepoix.connect.source.BOUND_S`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from mirepoix.config import FLUSH_AFTER_S
from mirepoix.connect.source import OwnConnection
from mirepoix.connect.verdict import Verdict, verdict
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.daemons import process
from mirepoix.daemons.deaths import Deaths
from mirepoix.daemons.heartbeat import Heartbeat
from mirepoix.daemons.leases import Leases
from mirepoix.daemons.loop import Loop
from mirepoix.ledger import (
    budget,
    chords,
    counting,
    failures,
    holds,
    keys,
    limits,
    messages,
    operate,
    reap,
    results,
    schedules,
    take,
    workers,
)

logger = logging.getLogger("mirepoix.maintenance")

MESSAGES_KEPT_S = 60.0
BINDINGS_KEPT_S = 24 * 3600.0
RECONNECT_S = 0.25
RESUME_PARKED_S = 1.0
"""How often a worker looks for parked tasks that its code can take."""
COUNT_S = 1.0
"""How often a worker looks for failures to count."""
LOOK_AT_LIMITS_S = 1.0
"""How often a worker looks whether tasks with limits wait."""
COUNT_AT_MOST = 5
"""The most batches of failures that a round counts, so that a backlog does not delay the detection of dead workers."""
LONGEST_LOOK_S = 2.0
"""The longest pause between two looks for dead workers and due tasks. In a large fleet other workers look as well."""
LOOKERS = 2
"""Up to so many workers look as often as the settings say. With more workers, each looks less often."""
CLOSE_UNUSED_S = 15.0
"""How often a worker closes the pooled connections that nobody has borrowed since the last time."""
READ_PAUSED_S = 0.25
"""How often a worker reads what is paused."""
READ_PAUSED_IN_FLEET_S = 0.5
"""The same in a fleet of `LARGE_FLEET` workers or more, so that the idle ones cost the database less."""
LARGE_FLEET = 16
RELEASE_ORPHANS_S = 15.0
"""How often a worker looks for held tasks that nothing holds any more: their resume was killed."""
ORPHANS_AT_ONCE = 5_000
"""The most of these tasks that a round releases, so that it does not delay the detection of dead workers."""
LOOK_AGAIN_S = 0.05
"""How soon a free lock is checked again."""


class Maintenance:
    """Maintain the ledger until `stop`. If the ledger is away, log that once and go on when it is back."""

    def __init__(self, leases: Leases, on_tick: Callable[[], None] | None = None) -> None:
        self._leases = leases
        self._settings = leases.settings
        self._on_tick = on_tick
        self._loop = Loop(
            leases.source,
            "maintenance",
            self._round,
            logger,
            away_s=RECONNECT_S,
            away=leases.source.errors,
            on_connect=lambda _: self._deaths.forget_locks(),
        )
        self._next_liveness = self._next_silence = self._next_prune = self._next_due = self._next_resume = 0.0
        self._next_count = self._next_probe = self._next_fire = self._next_limited = 0.0
        self._next_paused = self._next_orphans = 0.0
        self._next_unused = time.monotonic() + CLOSE_UNUSED_S
        self._others = 0
        """The number of other live workers at the last look."""
        self._is_expiring = self._is_behind = False
        """Whether there were tasks to expire, and failures to count, at the last look."""
        self._failing: set[str] = set()
        """The names of the duties that failed in the last round."""
        self._deaths = Deaths()
        self.round_began_at: float | None = None
        """When the round began that runs, or that failed and has to be repeated."""
        self.tried_at: float | None = None
        """When the round that runs was started; None if none runs."""
        self._heartbeat = Heartbeat(leases, self)

    def start(self) -> None:
        """Start this thread and the heartbeat's thread."""
        self._heartbeat.start()
        self._loop.start()

    def stop(self) -> None:
        """Stop the threads and wait until their rounds are done."""
        self._loop.stop()
        self._heartbeat.stop()

    def abort(self) -> None:
        """End the connection while maintenance waits for a statement."""
        self._loop.abort()

    def _round(self) -> float:
        self.tried_at = time.monotonic()
        self.round_began_at = self.round_began_at or self.tried_at
        try:
            if self._do_what_is_due(self._loop.connection()):
                self.round_began_at = None
            else:
                self._loop.disconnect()
        finally:
            self.tried_at = None
        return self._pause()

    def _pause(self) -> float:
        # While tasks run or completions wait, rounds are frequent enough to record starts and to help a busy loop.
        is_busy = len(self._leases.held) or self._leases.completions or self._deaths.has_suspects
        pause_s = min(self._settings.liveness_interval_s, 0.05 if is_busy else self._read_paused_s)
        if self._leases.fire_schedules is not None:
            pause_s = min(pause_s, max(0.0, self._next_fire - time.monotonic()))
        return pause_s

    @property
    def _read_paused_s(self) -> float:
        return READ_PAUSED_S if self._others + 1 < LARGE_FLEET else READ_PAUSED_IN_FLEET_S

    @property
    def _look_at_limits_s(self) -> float:
        """How often this worker looks whether tasks with limits wait. With a broker nothing else reports them."""
        return self._interval_s if self._settings.has_broker and self._leases.limited.is_in_use else LOOK_AT_LIMITS_S

    @property
    def _interval_s(self) -> float:
        """How often this worker looks for dead workers and due tasks: less often in a large fleet."""
        shortest = self._settings.liveness_interval_s
        return min(max(shortest, LONGEST_LOOK_S), shortest * max(1.0, (self._others + 1) / LOOKERS))

    def _do_what_is_due(self, connection: OwnConnection) -> bool:
        """Do the duties that are due; return False if one failed. The others are done unless the database is away."""
        now = time.monotonic()
        leases = self._leases
        due: dict[str, Callable[[], None]] = {
            **self._due_of_pauses(connection, now),
            "record what is done": lambda: leases.flush(connection, older_than_s=5 * FLUSH_AFTER_S),
            "report deaths": lambda: leases.losses.report(connection),
            "note what has begun": lambda: leases.note_started(connection),
            "give back what was abandoned": lambda: leases.give_back_abandoned(connection),
        }
        if self._on_tick is not None:
            due["look after its worker"] = self._on_tick
        if now >= self._next_liveness:
            self._next_liveness = now + self._interval_s
            due["look for dead workers"] = lambda: self._reap(connection, now)
        if now >= self._next_due:
            self._next_due = now + self._interval_s
            due["release what is due"] = lambda: self._release(connection, now)
        if leases.may_have_passed_returned and not leases.has_returned:
            due["look for what came back"] = lambda: self._look_for_returned(connection)
        due["end what has expired"] = lambda: self._expire(connection)
        due["count failures"] = lambda: self._count(connection)
        if now >= self._next_resume:
            self._next_resume = now + max(RESUME_PARKED_S, self._interval_s)
            due["resume parked tasks"] = lambda: self._resume_parked(connection)
        if self._settings.queue_probe_interval_s and now >= self._next_probe:
            self._next_probe = now + self._settings.queue_probe_interval_s / 2
            due["probe its queues"] = lambda: self._probe(connection)
        if leases.fire_schedules is not None and now >= self._next_fire and not leases.is_stopping:
            due["fire schedules"] = lambda: self._fire(connection)
        if now >= self._next_prune:
            self._next_prune = now + self._settings.prune_interval_s
            due["prune"] = lambda: self._prune(connection)
        if now >= self._next_unused:
            self._next_unused = now + CLOSE_UNUSED_S
            due["close unused connections"] = leases.source.close_unused
        return not [what for what, act in due.items() if not self._does(what, act)]

    def _due_of_pauses(self, connection: OwnConnection, now: float) -> dict[str, Callable[[], None]]:
        due: dict[str, Callable[[], None]] = {}
        if now >= self._next_paused:
            self._next_paused = now + self._read_paused_s
            due["read what is paused"] = lambda: self._read_paused(connection, now)
        if now >= self._next_orphans:
            self._next_orphans = now + RELEASE_ORPHANS_S
            due["release what nothing holds"] = lambda: self._release_orphans(connection)
        return due

    def _does(self, what: str, act: Callable[[], None]) -> bool:
        try:
            act()
        except Exception as error:
            if verdict(error, self._leases.source.disconnects) is Verdict.PASSES:
                raise
            if what not in self._failing:
                logger.exception("maintenance cannot %s. It goes on with its other duties, and tries this again", what)
            self._failing.add(what)
            return False
        self._failing.discard(what)
        return True

    def _read_paused(self, connection: OwnConnection, now: float) -> None:
        names = self._leases.paused.names
        with connection.statements() as tx:
            self._leases.read_paused(tx)
        if names - self._leases.paused.names:  # release its tasks too: the command that resumed it may be killed
            self._next_orphans = min(self._next_orphans, now + LOOK_AGAIN_S)

    def _release_orphans(self, connection: OwnConnection) -> None:
        with connection.reading() as tx:
            orphaned = holds.orphaned(tx)
        for held_by in orphaned:
            if holds.release(connection, held_by, most=ORPHANS_AT_ONCE) >= ORPHANS_AT_ONCE:
                self._next_orphans = 0.0

    def _reap(self, connection: OwnConnection, now: float) -> None:
        leases = self._leases
        dead = self._deaths.of_free(leases.source.unheld(connection, leases.worker.id), now)
        if self._deaths.has_suspects:
            self._next_liveness = min(self._next_liveness, now + LOOK_AGAIN_S)
        if now >= self._next_silence:
            self._next_silence = now + self._settings.lease_ttl_s / 15
            with connection.reading() as tx:
                others = workers.neighbours(tx, leases.worker.id)
            self._others = len(others)
            dead += self._deaths.of_silent(others, now, leases.incarnation.steady_since)
        with connection.transaction() as tx:
            here = {"host": leases.worker.host, "boot": process.boot()}
            found = [
                death for death in dead if workers.declare_dead(tx, death.worker, death.reason, death.kind, **here)
            ]
            lost = reap.lose_of_dead_workers(tx, self._settings)
            if leases.send_errbacks is not None:
                quarantined = [task.task_id for task in lost if task.state == "quarantined"]
                leases.send_errbacks(tx, quarantined, "quarantined", "its worker died")
            if found or lost:
                reached(Crashpoint.REAP_BEFORE_COMMIT)
        if found or lost:
            reached(Crashpoint.REAP_AFTER_COMMIT)
        for death in found:
            logger.warning("worker %s (%s) is dead: %s", death.worker.name, death.worker.id, death.reason)
        for task in lost:
            logger.warning("task %s[%s] was lost with its worker and is %s", task.name, task.task_id, task.state)
        if lost and leases.notify_lost is not None:
            leases.notify_lost(lost)

    def _release(self, connection: OwnConnection, now: float) -> None:
        """Release due tasks. In the same transaction, look for expired and returned tasks and uncounted failures."""
        self._is_expiring = True  # until the transaction has looked
        with connection.transaction() as tx:
            released = take.release_due(tx)
            next_due_s = take.next_due_s(tx)
            self._is_expiring = reap.is_expiring(tx)
            if self._settings.has_broker and not self._leases.has_returned:
                self._leases.look_for_returned(tx)
            if now >= self._next_limited:
                self._leases.look_for_limited(tx)
            if now >= self._next_count:
                self._is_behind = counting.is_behind(tx)
            if released:
                reached(Crashpoint.TEND_BEFORE_COMMIT)
        if released:
            reached(Crashpoint.TEND_AFTER_COMMIT)
        if now >= self._next_count:
            self._next_count = now + COUNT_S
        if now >= self._next_limited:
            self._next_limited = now + self._look_at_limits_s
        if next_due_s is not None:
            self._next_due = min(self._next_due, now + max(0.0, next_due_s))

    def _look_for_returned(self, connection: OwnConnection) -> None:
        with connection.statements() as tx:
            self._leases.look_for_returned(tx)

    def _expire(self, connection: OwnConnection) -> None:
        if not self._is_expiring:
            return
        with connection.transaction() as tx:
            expired = reap.expire(tx)
            if expired and self._leases.return_ended is not None:
                self._leases.return_ended(tx, expired, "expired before a worker took it")
            if expired and self._leases.send_errbacks is not None:
                self._leases.send_errbacks(tx, expired, "expired", "expired before a worker took it")
            if expired:
                reached(Crashpoint.EXPIRE_BEFORE_COMMIT)
        if expired:
            reached(Crashpoint.EXPIRE_AFTER_COMMIT)
        self._is_expiring = False

    def _count(self, connection: OwnConnection) -> None:
        if not self._is_behind:
            return
        counting.count_all(connection, COUNT_AT_MOST)
        self._is_behind = False

    def _resume_parked(self, connection: OwnConnection) -> None:
        if self._leases.resume_parked(connection):
            self._next_resume = 0.0

    def _probe(self, connection: OwnConnection) -> None:
        leases = self._leases
        if leases.send_probes is None or leases.is_stopping:
            return
        with connection.transaction() as tx:
            sent = leases.send_probes(tx, leases.paused.open(leases.worker.queues))
            if sent:
                reached(Crashpoint.PROBE_BEFORE_COMMIT)
        if sent:
            reached(Crashpoint.PROBE_AFTER_COMMIT)

    def _fire(self, connection: OwnConnection) -> None:
        self._next_fire = time.monotonic() + RECONNECT_S  # if it fails
        assert self._leases.fire_schedules is not None
        wait_s = self._leases.fire_schedules(connection)
        self._next_fire = time.monotonic() + wait_s

    def _prune(self, connection: OwnConnection) -> None:
        pruned = 0
        with connection.transaction() as tx:
            messages.forget_old(tx, MESSAGES_KEPT_S, BINDINGS_KEPT_S)
            if self._settings.retention_s is not None:
                pruned = operate.prune(tx, self._settings.retention_s, keys_kept_s=self._settings.key_retention_s)
                chords.prune(tx, self._settings.retention_s)
            if self._settings.failure_retention_s is not None:
                failures.prune(tx, self._settings.failure_retention_s)
            if self._settings.schedule_retention_s is not None:
                schedules.prune(tx, self._settings.schedule_retention_s)
            results.prune(tx)
            keys.prune(tx)
            limits.prune(tx)
            budget.forget(tx)
            if pruned:
                reached(Crashpoint.PRUNE_BEFORE_COMMIT)
        if pruned:
            reached(Crashpoint.PRUNE_AFTER_COMMIT)
