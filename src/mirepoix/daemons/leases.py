"""The leases of one worker process: take them, and record the outcome of each in the ledger.

This is the parent process's record of every task that it took, until the ledger has it too. It has four
parts: the identity of the worker (`mirepoix.daemons.incarnation`), the leases that are held (`mirepoix.daemons.held`),
the successes that wait to be recorded (`mirepoix.daemons.completions`), and the attempts that were lost
(`mirepoix.daemons.losses`). This module has the transactions that need more than one of them.

It is safe for several threads: the consumer's loop takes and completes, the maintenance thread flushes, gives back and
reads, and the threads of a pool report.
"""

from __future__ import annotations

import logging
import math
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType

from mirepoix.config import Settings
from mirepoix.connect.source import BOUND_S, OwnConnection, Source
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.daemons.completions import Completions
from mirepoix.daemons.held import Held, HeldLeases, Key
from mirepoix.daemons.incarnation import Incarnation
from mirepoix.daemons.limited import Limited, make_rows
from mirepoix.daemons.losses import Loss, Losses
from mirepoix.daemons.paused import Paused
from mirepoix.errors import LedgerAway
from mirepoix.ledger import enqueue, finish, holds, limits, take, workers
from mirepoix.ledger.tx import Tx
from mirepoix.records import AttemptFailure, Completion, Envelope, LostTask, Part, Taken, Worker
from mirepoix.states import AttemptOutcome

logger = logging.getLogger("mirepoix.leases")

ASKED_TO_STOP = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP})
"""The signals by which people end a process. Its task is not blamed then."""

START_NOTED_AFTER_S = 0.05
"""An attempt that runs longer becomes ``running`` in the ledger. Blame needs that, and people see it."""

RESUMED_AHEAD = 20
"""The most parked tasks that are resumed ahead, for each task that can run at once."""

MOST_TRIES = 3
"""How often one worker resumes a task that is parked again each time."""

TRIES_KEPT = 10_000

PAUSED_KNOWN_S = 0.5
"""How long a worker relies on what it read of what is paused. After that it reads it in the transaction that takes."""

HELD_ROUNDS = 3
"""How often one transaction takes again after it has held tasks with a paused name, so that it stays short."""

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Received:
    """The result of a batch of notifications from a broker."""

    taken: tuple[Taken, ...]
    adopted: frozenset[str]
    known: dict[str, bool]
    """For each task that was not taken and that the ledger has: whether it is ready to be taken."""


class Leases:
    """The leases of one worker process, and the outcomes that it still has to record."""

    def __init__(
        self,
        source: Source,
        settings: Settings,
        worker: Worker,
        return_parts: Callable[[Tx, Sequence[Part], Exception | None], None] | None = None,
        return_ended: Callable[[Tx, Sequence[str], str], None] | None = None,
        can_take: Callable[[str], bool] | None = None,
        fail_unwritable: Callable[[Completion, Exception], None] | None = None,
        send_errbacks: Callable[[Tx, Sequence[str], str, str], None] | None = None,
        notify_lost: Callable[[Sequence[LostTask]], None] | None = None,
        send_probes: Callable[[Tx, Sequence[str]], int] | None = None,
        fire_schedules: Callable[[OwnConnection], float] | None = None,
    ) -> None:
        self.source = source
        self.settings = settings
        self.return_ended = return_ended
        """Returns to their chords tasks that ended without running, by their ids, with the reason."""
        self.can_take = can_take
        """Returns whether this code can take a parked task with this shape."""
        self.send_errbacks = send_errbacks
        """Sends the error callbacks of tasks, by their ids, that ended in a state, with the reason."""
        self.notify_lost = notify_lost
        """Is called after the commit that took tasks back from a dead process or worker."""
        self.send_probes = send_probes
        """Sends a probe to each of these queues that is due for one; returns how many."""
        self.fire_schedules = fire_schedules
        """Fires the schedules that are due; returns how many seconds to wait before the next call."""
        self.incarnation = Incarnation(source, settings, worker)
        self.held = HeldLeases()
        self.limited = Limited(self.held, has_notifications=source.dialect != "mysql")
        self.limited.hold = self._hold_paused
        self._names_held: set[str] = set()
        """The paused names of the tasks that this turn has held."""
        self.completions = Completions(source, return_parts, fail_unwritable)
        self.losses = Losses(settings, self._note_begun, send_errbacks, notify_lost)
        self.resumed: deque[Taken] = deque()
        """The resumed tasks that the consumer still has to give to the worker."""
        self.has_returned = settings.has_broker
        """Whether its queues had tasks at the last look that a worker had before and that are ready again.

        Its consumer begins with such a look, because what came back goes first.
        """
        self.may_have_passed_returned = False
        """Whether its consumer has taken some of them since then, and may have passed over others that were locked."""
        self.is_stopping = False
        self.paused = Paused()
        """What is paused. `read_paused` replaces it."""
        self._paused_read_at = -math.inf
        self.is_holding = False
        """Whether the last look ended among tasks with a paused name, so that there may be others behind them."""
        self.wake_consumer: Callable[[], None] = _nothing
        """Makes the consumer's loop run another turn."""
        self.given_to_pool: Callable[[], frozenset[Key]] = frozenset
        """Returns the attempts that the pool's processes were given, or may be given at any moment."""
        self.send_heartbeat: Callable[[], None] = _nothing
        """Sends a heartbeat at once, which records that this worker is stopping."""
        self._tried: Counter[str] = Counter()
        self._last_queue = ""

    @property
    def worker(self) -> Worker:
        """The worker as in its row in the ledger."""
        return self.incarnation.worker

    def reincarnate(self) -> None:
        """Go on under a new identity and without leases, because this incarnation was declared dead."""
        running = [held.name for held in self.held.clear()]
        self.completions.pop()
        logger.error(
            "worker %s was declared dead while it lived (%s). Other workers got its %d running task(s), and the ledger "
            "will refuse their outcomes from this worker: %s",
            self.worker.id,
            self.incarnation.reason_of_end(),
            len(running),
            ", ".join(running) or "none",
        )
        self.incarnation.register()

    # ---- taking

    def record_and_take(
        self, connection: OwnConnection, queues: Sequence[str], batch: int, *, are_returned: bool = False
    ) -> list[Taken]:
        """Record the waiting completions and take up to *batch* tasks, in one transaction.

        With *are_returned* it takes only tasks that a worker had before, and tasks with a limit. A completion that the
        database will never accept fails alone. While it accepts none, no task is taken.
        """
        wanted = queues if batch >= 1 else []
        queues = [] if self.is_stopping else self.paused.open(wanted)
        if wanted and not queues:
            self.limited.rest()
        if self.completions.are_refused:
            return []
        completions = self.completions.pop()
        if not completions and not queues:
            return []
        try:
            queues = self._next_turn(connection, queues)
            # One statement commits by itself, which saves two round trips.
            is_alone = self._is_one_statement(queues, completions)
            with connection.statements() if is_alone else connection.transaction() as tx:
                if completions:
                    self.completions.record(tx, self.worker.id, completions)
                taken = self._take_from(tx, queues, batch, are_returned=are_returned, is_alone=is_alone)
        except BaseException as error:
            self.completions.push_back(completions)
            if not self.completions.may_be_cause(completions, error):
                raise
            self.completions.record_one_by_one(connection, self.worker.id)
            return self.record_and_take(connection, queues, batch, are_returned=are_returned)
        if completions:
            reached(Crashpoint.COMPLETE_AFTER_COMMIT)
        if taken:
            reached(Crashpoint.TAKE_AFTER_COMMIT)
            self._last_queue = taken[-1].queue
        self.held.add(taken)
        return taken

    def _is_one_statement(self, queues: Sequence[str], completions: Sequence[Completion]) -> bool:
        """Whether recording these completions and taking from these queues is a single statement."""
        if not queues:
            return not any(done.results or done.parts for done in completions)
        knows_paused = time.monotonic() - self._paused_read_at < PAUSED_KNOWN_S and not self.paused.names
        return not completions and knows_paused and not self.limited.has_met

    def _next_turn(self, connection: OwnConnection, queues: Sequence[str]) -> Sequence[str]:
        """Return the queues in the order of this turn, after a look at which keys of limits have tasks in them."""
        if not queues:
            return queues
        first = queues.index(self._last_queue) + 1 if self._last_queue in queues else 0
        queues = [*queues[first:], *queues[:first]]
        self._last_queue = queues[0]  # unless a task of another queue is taken
        self.limited.meet(connection, queues)
        return queues

    def record_and_receive(
        self,
        connection: OwnConnection,
        task_ids: Sequence[str],
        foreign: Sequence[Envelope] = (),
        unreadable: Mapping[str, str] = _NOTHING,
    ) -> Received:
        """Record the waiting completions, and take the ready tasks of *task_ids*, in one transaction.

        *foreign* are messages that bypassed the ledger. They are written into it first, unless it has their ids.
        *unreadable* tasks are parked at once; the mapping gives the reasons by id.

        While the database refuses completions, nothing is taken, and LedgerAway is raised.
        """
        if self.completions.are_refused:
            raise LedgerAway("the ledger refuses the outcomes that have to be recorded")
        completions = self.completions.pop()
        taken: list[Taken] = []
        moved: set[str] = set()
        try:
            with connection.transaction() as tx:
                if completions:
                    self.completions.record(tx, self.worker.id, completions)
                adopted = enqueue.adopt(tx, foreign)
                taken = take.take_by_id(tx, self.worker.id, task_ids, may_be_suspect=False)
                for task in taken:
                    if task.lease.task_id in unreadable:
                        finish.park(tx, task.lease, AttemptFailure(unreadable[task.lease.task_id]))
                taken = [task for task in taken if task.lease.task_id not in unreadable]
                self._read_paused_lately(tx)
                taken = self._keep_own(tx, taken, moved)
                settled = {*unreadable, *moved, *(task.lease.task_id for task in taken)}
                missed = [task_id for task_id in task_ids if task_id not in settled]
                known = take.readiness(tx, missed) if missed else {}
                taken += self._take_suspect(tx, [task_id for task_id in missed if known.get(task_id)], moved)
                known |= dict.fromkeys(moved, False)  # they are ready, and not for this worker
                reached(Crashpoint.RECEIVE_BEFORE_COMMIT)
        except BaseException as error:
            self.completions.push_back(completions)
            if not self.completions.may_be_cause(completions, error):
                raise
            self.completions.record_one_by_one(connection, self.worker.id)
            return self.record_and_receive(connection, task_ids, foreign, unreadable)
        if task_ids:
            reached(Crashpoint.RECEIVE_AFTER_COMMIT)
        self.held.add(taken)
        return Received(tuple(taken), frozenset(adopted), known)

    def look_for_returned(self, tx: Tx) -> None:
        """Find out whether a worker with a broker should take tasks from the ledger. Its consumer then does so."""
        self.may_have_passed_returned = False
        queues = [] if self.is_stopping else self.paused.open(self.worker.queues)
        if queues:
            may_be_suspect = self.held.may_take_suspect
            self.has_returned = take.has_returned(tx, queues, may_be_suspect=may_be_suspect)

    def _take_from(
        self, tx: Tx, queues: Sequence[str], batch: int, *, are_returned: bool, is_alone: bool
    ) -> list[Taken]:
        if not queues:
            return []
        with _before_commit(is_alone=is_alone):
            return self._take_unpaused(tx, queues, batch, are_returned=are_returned)

    def _take_unpaused(self, tx: Tx, queues: Sequence[str], batch: int, *, are_returned: bool) -> list[Taken]:
        """Take tasks. Those with a paused name are held in the same transaction, and others are taken instead."""
        others = take.take_returned if are_returned else take.take
        may_be_suspect = self.held.may_take_suspect
        self.is_holding, self._names_held = False, set()
        if self._read_paused_lately(tx):
            queues = self.paused.open(queues)
            if not queues:
                return []
        found = self.limited.take(tx, self.worker.id, queues, batch, others, may_be_suspect=may_be_suspect)
        kept: list[Taken] = []
        for _ in range(HELD_ROUNDS):
            kept += self._hold_paused(tx, found)
            if not self._names_held:
                return kept
            # Many tasks of that name may wait behind it. To take each of them would cost more than to run it.
            holds.hold_ready(tx, queues, self._names_held)
            self._names_held = set()
            reached(Crashpoint.HOLD_BEFORE_COMMIT)
            if len(kept) >= batch:
                break
            may_be_suspect = may_be_suspect and not any(task.is_suspect for task in kept)
            found = others(tx, self.worker.id, queues, batch - len(kept), may_be_suspect=may_be_suspect)
        else:
            kept += self._hold_paused(tx, found)
        self.is_holding = True
        return kept

    def _keep_own(self, tx: Tx, found: Sequence[Taken], moved: set[str]) -> list[Taken]:
        """Put back what this worker does not run of the tasks that messages named; return the others.

        Those with a paused name are held. Those that were moved to a queue of other workers, after their messages were
        sent, are given back, and their ids added to *moved*.
        """
        queues = self.worker.queues
        others = [
            task.lease
            for task in found
            if task.queue not in queues and not task.exchange and task.routing_key == task.queue
        ]
        if others:
            finish.give_back(tx, self.worker.id, others, "moved to another queue")
            moved.update(lease.task_id for lease in others)
        return self._hold_paused(tx, [task for task in found if task.lease.task_id not in moved])

    def _hold_paused(self, tx: Tx, found: Sequence[Taken]) -> list[Taken]:
        """Hold those of the tasks that have a paused name; return the others."""
        held: set[str] = set()
        for name in {task.name for task in found} & self.paused.names:
            leases = [task.lease for task in found if task.name == name]
            held_of_name = holds.hold_taken(tx, self.worker.id, name, leases)
            held |= held_of_name
            self._names_held |= {name} if held_of_name else set()
        return [task for task in found if task.lease.task_id not in held]

    def _read_paused_lately(self, tx: Tx) -> bool:
        """Read what is paused if the maintenance thread, which waits for locks, has not done so lately."""
        if time.monotonic() - self._paused_read_at < PAUSED_KNOWN_S:
            return False
        self.read_paused(tx)
        return True

    def read_paused(self, tx: Tx) -> None:
        """Read what is paused. What was taken and has not begun goes back if its queue or its name is paused."""
        self._paused_read_at = time.monotonic()
        new = self.paused.after(holds.read(tx), self.worker)
        if new is not self.paused:
            if new.keys != self.paused.keys:
                self.limited.follow(new.stops_key)
            self.paused = new
            logger.info("now paused: %s", new)
            self.wake_consumer()
        if new:
            self.held.abandon_stopped(new.stops, self.given_to_pool)

    def look_for_limited(self, tx: Tx) -> None:
        """Find out whether tasks with a limit wait. Its consumer then takes them."""
        queues = [] if self.is_stopping else self.paused.open(self.worker.queues)
        if queues and limits.has_waiting(tx, queues):
            self.limited.look_now()

    def _take_suspect(self, tx: Tx, task_ids: Iterable[str], moved: set[str]) -> list[Taken]:
        """Take the first of these tasks that can be taken. They are suspects; the others were taken before."""
        for task_id in task_ids if self.held.may_take_suspect else ():
            taken = self._keep_own(tx, take.take_by_id(tx, self.worker.id, [task_id]), moved)
            if taken:
                return taken
        return []

    def resume_parked(self, connection: OwnConnection) -> bool:
        """Lease parked tasks that this code can take; return whether there may be more.

        A task that this code parks again is resumed at most `MOST_TRIES` times.
        """
        room = RESUMED_AHEAD * max(1, self.worker.concurrency) - len(self.resumed)
        queues = self.paused.open(self.worker.queues)
        if self.can_take is None or self.is_stopping or room <= 0 or not queues:
            return False
        wanted: list[str] = []
        given_up = [task_id for task_id, times in self._tried.items() if times >= MOST_TRIES]
        with connection.reading() as tx:
            for shape in take.parked_shapes(tx):
                if len(wanted) < room and self.can_take(shape):
                    wanted += take.parked_of_shape(tx, shape, queues, room - len(wanted), given_up)
        if not wanted:
            return False
        with connection.reading() as tx:
            keys = limits.keys_of(tx, wanted)
        wanted = [task_id for task_id in wanted if not self.paused.stops_key(keys.get(task_id))]
        if keys:
            make_rows(connection, sorted({*keys.values()}))
        with connection.transaction() as tx:
            admitted = limits.admit(tx, wanted, keys) if keys else wanted
            taken = self._hold_paused(tx, take.resume_parked(tx, self.worker.id, admitted))
            reached(Crashpoint.RESUME_PARKED_BEFORE_COMMIT)
        reached(Crashpoint.RESUME_PARKED_AFTER_COMMIT)
        taken = [replace(task, limit_key=keys.get(task.lease.task_id)) for task in taken]
        self.held.add(taken)
        for task in taken:
            logger.info("task %s[%s] was parked, and is resumed", task.name, task.lease.task_id)
        self._tried.update(task.lease.task_id for task in taken)
        if len(self._tried) > TRIES_KEPT:
            self._tried = Counter({task_id: times for task_id, times in self._tried.items() if times >= MOST_TRIES})
        self.resumed.extend(taken)
        return len(wanted) >= room and bool(taken)

    # ---- outcomes

    def complete(self, completion: Completion) -> None:
        """Record a success that sends nothing, and its result, with the next batch."""
        if self.held.pop(completion.lease.key, has_ended=True) is not None:
            self.completions.add(completion)

    def flush(self, connection: OwnConnection, older_than_s: float = 0.0) -> None:
        """Record the waiting completions, if the oldest has waited so long."""
        oldest_s = self.completions.oldest_s
        if oldest_s is not None and oldest_s >= older_than_s:
            self.record_and_take(connection, (), 0)

    def note_lost(
        self,
        key: Key,
        failure: AttemptFailure,
        *,
        outcome: AttemptOutcome,
        delay_s: float = 0.0,
        is_culprit: bool = True,
        suspect_after: int = 0,
    ) -> None:
        """Report with the next `Losses.report` that the attempt's process died, or that the attempt was rejected.

        Without *is_culprit* it is not blamed for the death, because it was not alone in its process. If no culprit is
        known, it becomes a suspect when it was lost *suspect_after* times.
        """
        held = self.held.pop(key)
        if held is not None:
            is_stopped = self.is_stopping or failure.signal in ASKED_TO_STOP
            is_killed = outcome is AttemptOutcome.KILLED and is_culprit
            is_blamed = held.started_at is not None and is_killed and not is_stopped
            beginning = None if held.started_at is None or held.is_noted else held
            self.losses.add(Loss(held.lease, failure, outcome, is_blamed, delay_s, suspect_after, beginning))

    def lose_given_to_worker(self, failure: AttemptFailure, *, may_have_begun: frozenset[Key]) -> None:
        """Give back the tasks that the failed worker was about to give to its pool: each may be the cause.

        Each of them counts a hand-over. Tasks that wait in the delivery, and tasks that may have begun, are left alone.
        """
        self.losses.add(
            *(Loss(lease, failure, AttemptOutcome.LOST) for lease in self.held.pop_given_to_worker(may_have_begun))
        )

    def note_started(self, connection: OwnConnection) -> None:
        """Record the start of attempts that have run for a while. From then on a death can be blamed on them."""
        fresh = self.held.not_noted(START_NOTED_AFTER_S)
        if not fresh:
            return
        with connection.transaction() as tx:
            self._note_begun(tx, fresh)
            reached(Crashpoint.START_BEFORE_COMMIT)
        reached(Crashpoint.START_AFTER_COMMIT)
        for held in fresh:
            held.is_noted = True

    def _note_begun(self, tx: Tx, begun: Iterable[Held]) -> None:
        now = time.monotonic()
        attempts = [(held.lease, now - (held.started_at or now), held.pid) for held in begun]
        if attempts:
            take.start(tx, self.worker.id, attempts)

    # ---- giving back

    def begin_to_stop(self, *, may_have_begun: frozenset[Key] = frozenset()) -> None:
        """Take no more tasks, and give back those that have not begun and are not in *may_have_begun*.

        It is safe in a signal handler: it only sets flags, and the maintenance thread does the rest.
        """
        self.is_stopping = True
        self.send_heartbeat()
        self.held.abandon(now=True, may_have_begun=may_have_begun)

    def give_back_abandoned(self, connection: OwnConnection) -> None:
        """Give back, without blame, the abandoned tasks that have not started since."""
        due = self.held.pop_abandoned()
        if not due:
            return
        try:
            with connection.transaction() as tx:
                finish.give_back(tx, self.worker.id, due, "given back before it started")
                reached(Crashpoint.GIVE_BACK_BEFORE_COMMIT)
        except BaseException:
            self.held.hold_abandoned(due)
            raise
        reached(Crashpoint.GIVE_BACK_AFTER_COMMIT)

    def close(self) -> None:
        """End the incarnation when none of its tasks runs any more. Give its leases back without blame."""
        self.is_stopping = True
        is_over = False
        connection = self.source.open(BOUND_S)
        try:
            self.completions.try_again()
            self.flush(connection)
            for completion in self.completions.pop():
                logger.error("task %s is given back: its success cannot be recorded", completion.lease.task_id)
            self.losses.report(connection)
            with connection.transaction() as tx:
                self._note_begun(tx, [held for held in self.held.running() if not held.is_noted])
                finish.give_back(tx, self.worker.id, None, "its worker was stopped")
                workers.stop(tx, self.worker.id)
                reached(Crashpoint.STOP_BEFORE_COMMIT)
            is_over = True
            reached(Crashpoint.STOP_AFTER_COMMIT)
        finally:
            connection.close()
            self.incarnation.close(is_over=is_over)


def _nothing() -> None:
    """Do nothing. There is no heartbeat thread, or no loop to wake."""


@contextmanager
def _before_commit(*, is_alone: bool) -> Iterator[None]:
    """Reach the crash point after the block, which takes tasks; before it, if the block commits as soon as it ends."""
    if not is_alone:
        yield
    reached(Crashpoint.TAKE_BEFORE_COMMIT)
    if is_alone:
        yield
