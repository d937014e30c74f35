"""Hold a worker's leases: what its parent process knows of every task it took, until the ledger knows it too.

One holder is one worker process. Its identity in the ledger is an *incarnation*: if the ledger declared that dead
(a long freeze, a cut network), everything it held is a zombie's, and the holder goes on as a new incarnation.

Thread-safe: the consumer's loop takes and completes, the maintenance thread flushes, gives back and reads; pools of
threads report from their own.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from mirepoix.config import Settings
from mirepoix.connect.source import BOUND_S, LivenessLock, OwnConnection, Source
from mirepoix.connect.verdict import Verdict, verdict
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.errors import LedgerAway
from mirepoix.ledger import enqueue, finish, reap, results, take, workers
from mirepoix.ledger.tx import Tx
from mirepoix.records import AttemptFailure, Completion, Envelope, Lease, Part, Taken, Worker

logger = logging.getLogger("mirepoix.holder")

Key = tuple[str, int]

ASKED_TO_STOP = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP})
"""What ends a process because somebody wants it to: its task is not to blame."""

UP_AHEAD = 20
"""So many parked tasks are taken up ahead, for each that can run at once."""

MOST_TRIES = 3
"""How often one worker takes up a task that is parked again each time."""

TRIES_KEPT = 10_000

_NOTHING: Mapping[str, str] = MappingProxyType({})

REFUSED_PAUSE_S = 1.0
"""How long a worker waits that may not record what is done, before it tries again."""

SHORTEST_BOUND_S = 2.0
"""A heartbeat may take so long, however short the lease is."""


@dataclass(slots=True)
class Held:
    """One lease and how far this process has come with it. Times are of the monotonic clock."""

    lease: Lease
    name: str
    started_at: float | None = None
    pid: int | None = None
    is_noted: bool = False
    abandoned_at: float | None = None
    is_suspect: bool = False
    is_handed_over: bool = False
    """Whether its message was given to the worker, which gives it to the pool."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What the ledger must still hear about an attempt whose process died while the database was away."""

    lease: Lease
    failure: AttemptFailure
    outcome: str
    is_blamed: bool
    delay_s: float
    beginning: Held | None = None
    """How it began, if the ledger has not heard of that either."""


@dataclass(frozen=True, slots=True)
class Received:
    """What came of the messages of a broker."""

    taken: tuple[Taken, ...]
    adopted: frozenset[str]
    known: dict[str, bool]
    """Of the tasks that were not taken, those that the ledger knows, each with whether it is ready to be taken."""


class Holder:
    """The leases of one worker process, and everything it has to tell the ledger about them."""

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
    ) -> None:
        self.source = source
        self.return_parts = return_parts
        """What notes that parts of chords have returned, and sends the bodies of those that are complete; with the
        database's error, what tells that they cannot be sent."""
        self.return_ended = return_ended
        """The same for tasks that ended without running, by their ids, with the reason."""
        self.can_take = can_take
        """Whether the code here can take what is parked for other code, by its shape."""
        self.fail_unwritable = fail_unwritable
        """What commits that an attempt failed, as its success cannot be written, with the database's error."""
        self.send_errbacks = send_errbacks
        """What has the error callbacks of tasks called, by their ids, that ended in a state, with the reason."""
        self.resumed: deque[Taken] = deque()
        """What was taken up and is still to be handed to the worker, by its consumer."""
        self._tried: Counter[str] = Counter()
        self.settings = settings
        self.worker = worker
        self._queues = worker.queues
        self.is_stopping = False
        self.tell_of_stop: Callable[[], None] = _nobody_is_told
        """What has a heartbeat sent at once, with the word that this worker is to stop."""
        self.finished = 0
        self._lock = threading.RLock()
        self._held: dict[Key, Held] = {}
        self._completions: list[Completion] = []
        self._oldest_completion_at: float | None = None
        self._refused_until = 0.0
        """Until when nothing is taken or recorded, as the database refuses to record what is done."""
        self._losses: list[Loss] = []
        self._turn = 0
        self.liveness: LivenessLock | None = None
        self._liveness_key = 0
        self.steady_since = time.monotonic()
        """Since when heartbeats have been getting through to the ledger."""

    # ---- the incarnation

    def register(self) -> None:
        """Begin a new incarnation: its lock is held before its row is committed. Call it before anything forks."""
        self.worker = replace(self.worker, id=f"{self.worker.name}#{uuid.uuid4().hex[:12]}")
        old = self.liveness
        connection = self.source.open(self.bound_s)
        try:
            with connection.transaction() as tx:
                key = workers.register(tx, self.worker, self.settings.lease_ttl_s)
                lock = self.source.hold_liveness(self.worker.id, key, self.bound_s)
                reached(Crashpoint.REGISTER_BEFORE_COMMIT)
            lock.confirm()
            reached(Crashpoint.REGISTER_AFTER_COMMIT)
        finally:
            connection.close()
        self.liveness, self._liveness_key = lock, key
        if old is not None:
            old.close(is_over=True)

    @property
    def bound_s(self) -> float:
        """How long a heartbeat may take: two fit into a lease after one that came in vain."""
        return max(SHORTEST_BOUND_S, self.settings.lease_ttl_s / 3)

    def has_lost_lock(self) -> bool:
        """Whether the liveness lock has to be taken again."""
        return self.liveness is not None and not self.liveness.is_held()

    def retake_liveness(self) -> None:
        """Take the liveness lock again after its session ended. Children forked earlier do not share the new one."""
        old = self.liveness
        self.liveness = self.source.hold_liveness(self.worker.id, self._liveness_key, self.bound_s, old)
        self.liveness.confirm()
        if old is not None:
            old.close()

    def heartbeat(self, idle_s: float = 0.0) -> bool:
        """Renew every lease. False: this incarnation was declared dead. *idle_s* is the age of its maintenance."""
        if self.liveness is None:
            raise RuntimeError("a worker that was not registered has no heartbeat")
        queues = self._queues
        with self.liveness.statements() as tx:
            is_alive = workers.heartbeat(
                tx, self.worker.id, self.settings.lease_ttl_s, idle_s, is_stopping=self.is_stopping
            )
            if queues != self.worker.queues:
                workers.take_from(tx, self.worker.id, queues)
        self.worker = replace(self.worker, queues=queues)
        reached(Crashpoint.HEARTBEAT_AFTER_COMMIT)
        return is_alive

    def take_from(self, queues: Iterable[str]) -> None:
        """Its queues are others now, by remote control. The ledger hears of it with the next heartbeat."""
        self._queues = tuple(queues)

    @property
    def has_other_queues(self) -> bool:
        """Whether a heartbeat has to tell the ledger of other queues."""
        return self._queues != self.worker.queues

    def reincarnate(self) -> None:
        """Everything held is lost: go on under a new identity, with empty hands."""
        with self._lock:
            running = [held.name for held in self._held.values() if held.started_at is not None]
            self._held.clear()
            self._completions.clear()
            self._oldest_completion_at = None
        logger.error(
            "worker %s was declared dead while it lived (%s): %d running task(s) were given to others and their "
            "outcomes here will be refused: %s",
            self.worker.id,
            self._reason_of_end(),
            len(running),
            ", ".join(running) or "none",
        )
        self.register()

    def _reason_of_end(self) -> str:
        if self.liveness is not None:
            with contextlib.suppress(*self.source.disconnects), self.liveness.statements() as tx:
                return workers.end_of(tx, self.worker.id) or "its row is gone"
        return "why cannot be read now"

    # ---- taking and completing

    def exchange(self, connection: OwnConnection, queues: Sequence[str], batch: int) -> list[Taken]:
        """Record the completions that wait and take up to *batch* tasks, in one transaction.

        A completion that the database will never take fails by itself. While it takes none, nothing is taken either.
        """
        if batch < 1 or self.is_stopping:
            queues = []
        if self._is_refused:
            return []
        completions = self._pop_completions()
        if not completions and not queues:
            return []
        taken: list[Taken] = []
        try:
            # Completions alone are one statement, which commits by itself: two round trips fewer.
            is_one_statement = not queues and not any(one.results or one.parts for one in completions)
            with connection.statements() if is_one_statement else connection.transaction() as tx:
                if completions:
                    self._record(tx, completions)
                if queues:
                    self._turn += 1
                    first = self._turn % len(queues)
                    turns = [*queues[first:], *queues[:first]]
                    taken = take.take(tx, self.worker.id, turns, batch, may_be_suspect=self.may_take_suspect)
                    reached(Crashpoint.TAKE_BEFORE_COMMIT)
        except BaseException as error:
            self._push_back(completions)
            if not self._is_of_completions(completions, error):
                raise
            self._record_apart(connection)
            return self.exchange(connection, queues, batch)
        if completions:
            reached(Crashpoint.COMPLETE_AFTER_COMMIT)
        if taken:
            reached(Crashpoint.TAKE_AFTER_COMMIT)
        self._hold(taken)
        return taken

    def receive(
        self,
        connection: OwnConnection,
        task_ids: Sequence[str],
        foreign: Sequence[Envelope] = (),
        unreadable: Mapping[str, str] = _NOTHING,
    ) -> Received:
        """Record the completions that wait, and take those of *task_ids* that are ready, in one transaction.

        *foreign* are messages of tasks that were sent past the ledger: they are written into it first, unless it knows
        their ids. Those that are *unreadable* are parked at once; the mapping says why, by id.

        While what is done cannot be recorded, nothing is taken, and LedgerAway is raised.
        """
        if self._is_refused:
            raise LedgerAway("the ledger does not take what is to be recorded")
        completions = self._pop_completions()
        taken: list[Taken] = []
        try:
            with connection.transaction() as tx:
                if completions:
                    self._record(tx, completions)
                adopted = enqueue.adopt(tx, foreign)
                taken = take.take_by_id(tx, self.worker.id, task_ids, may_be_suspect=False)
                for one in taken:
                    if one.lease.task_id in unreadable:
                        finish.park(tx, one.lease, AttemptFailure(unreadable[one.lease.task_id]))
                taken = [one for one in taken if one.lease.task_id not in unreadable]
                got = {one.lease.task_id for one in taken}
                missed = [task_id for task_id in task_ids if task_id not in got and task_id not in unreadable]
                known = take.readiness(tx, missed) if missed else {}
                taken += self._take_suspect(tx, [one for one in missed if known.get(one)])
                reached(Crashpoint.RECEIVE_BEFORE_COMMIT)
        except BaseException as error:
            self._push_back(completions)
            if not self._is_of_completions(completions, error):
                raise
            self._record_apart(connection)
            return self.receive(connection, task_ids, foreign, unreadable)
        if task_ids:
            reached(Crashpoint.RECEIVE_AFTER_COMMIT)
        self._hold(taken)
        return Received(tuple(taken), frozenset(adopted), known)

    @property
    def may_take_suspect(self) -> bool:
        """Whether it holds none: what kills workers is found by running one suspect beside no other."""
        with self._lock:
            return not any(held.is_suspect for held in self._held.values())

    def _take_suspect(self, tx: Tx, task_ids: Iterable[str]) -> list[Taken]:
        """The first of these that can be taken, if they are suspects, as the others were taken before."""
        for task_id in task_ids if self.may_take_suspect else ():
            taken = take.take_by_id(tx, self.worker.id, [task_id])
            if taken:
                return taken
        return []

    def resume_parked(self, connection: OwnConnection) -> bool:
        """Lease what is parked for other code, if the code here can take it; whether there may be more.

        If this code refuses it as well (an upcaster fails, say), that is tried a few times at most.
        """
        room = UP_AHEAD * max(1, self.worker.concurrency) - len(self.resumed)
        if self.can_take is None or self.is_stopping or room <= 0:
            return False
        wanted: list[str] = []
        given_up = [task_id for task_id, times in self._tried.items() if times >= MOST_TRIES]
        with connection.reading() as tx:
            for shape in take.parked_shapes(tx):
                if len(wanted) < room and self.can_take(shape):
                    wanted += take.parked_of_shape(tx, shape, self.worker.queues, room - len(wanted), given_up)
        if not wanted:
            return False
        with connection.transaction() as tx:
            taken = take.resume_parked(tx, self.worker.id, wanted)
            reached(Crashpoint.RESUME_PARKED_BEFORE_COMMIT)
        reached(Crashpoint.RESUME_PARKED_AFTER_COMMIT)
        self._hold(taken)
        for one in taken:
            logger.info("task %s[%s] was parked, and is taken up", one.name, one.lease.task_id)
        self._tried.update(one.lease.task_id for one in taken)
        if len(self._tried) > TRIES_KEPT:
            self._tried = Counter({task_id: times for task_id, times in self._tried.items() if times >= MOST_TRIES})
        self.resumed.extend(taken)
        return len(wanted) >= room

    def _hold(self, taken: Iterable[Taken]) -> None:
        with self._lock:
            for one in taken:
                self._held[one.lease.key] = Held(one.lease, one.name, is_suspect=one.is_suspect)

    def flush(self, connection: OwnConnection, older_than_s: float = 0.0) -> None:
        """Record the completions that wait, if the oldest has waited that long."""
        oldest = self._oldest_completion_at
        if oldest is not None and time.monotonic() - oldest >= older_than_s:
            self.exchange(connection, (), 0)

    @property
    def has_completions(self) -> bool:
        """Whether successes wait to be recorded."""
        return self._oldest_completion_at is not None

    @property
    def has_results(self) -> bool:
        """Whether a result waits to be recorded, or the part of a chord."""
        return any(one.results or one.parts for one in self._completions)

    @property
    def has_parts(self) -> bool:
        """Whether parts of chords are among them."""
        return any(one.parts for one in self._completions)

    @property
    def completions_waiting(self) -> int:
        """How many successes wait to be recorded."""
        return len(self._completions)

    def holds(self, key: Key) -> bool:
        """Whether this process may run the attempt."""
        return key in self._held

    def may_begin(self, key: Key) -> bool:
        """Whether it may be given to the pool: it is held, and not about to be handed back."""
        held = self._held.get(key)
        return held is not None and held.abandoned_at is None

    def handed_over(self, key: Key) -> None:
        """Its message is given to the worker now."""
        held = self._held.get(key)
        if held is not None:
            held.is_handed_over = True

    def lose_handed_over(self, failure: AttemptFailure, *, may_have_begun: frozenset[Key]) -> None:
        """The worker failed with that: each task that it was about to give to its pool may be the cause.

        They go back, and count a handover. What waits to be handed over, and what may have begun, is left as it is.
        """
        with self._lock:
            keys = [
                key
                for key, held in self._held.items()
                if held.is_handed_over and held.started_at is None and key not in may_have_begun
            ]
            self._losses += [Loss(self._held.pop(key).lease, failure, "lost", False, 0.0) for key in keys]

    def started(self, key: Key, pid: int | None) -> None:
        """User code of the attempt has begun, in the process *pid*."""
        with self._lock:
            held = self._held.get(key)
            if held is not None:
                held.started_at, held.pid, held.abandoned_at = time.monotonic(), pid, None

    def complete(self, completion: Completion) -> None:
        """The attempt succeeded and sends nothing: record it, and its result, with the next batch."""
        with self._lock:
            if self._held.pop(completion.lease.key, None) is None:
                return
            self.finished += 1
            self._completions.append(completion)
            if self._oldest_completion_at is None:
                self._oldest_completion_at = time.monotonic()

    def forget(self, key: Key) -> None:
        """The attempt's outcome is in the ledger already."""
        with self._lock:
            if self._held.pop(key, None) is not None:
                self.finished += 1

    def begin_to_stop(self, *, may_have_begun: frozenset[Key] = frozenset()) -> None:
        """Take nothing more, and hand back what has not begun and is not in *may_have_begun*.

        Safe in a signal handler: it only sets flags, the maintenance thread does the rest.
        """
        self.is_stopping = True
        self.tell_of_stop()
        moment = time.monotonic() - _GRACE_S
        with self._lock:
            for key, held in self._held.items():
                if held.started_at is None and key not in may_have_begun:
                    held.abandoned_at = moment

    def lease_of(self, key: Key) -> Held | None:
        """What is known of an attempt that is still held."""
        return self._held.get(key)

    def lost(self, key: Key, failure: AttemptFailure, *, outcome: str, delay_s: float = 0.0) -> None:
        """The attempt's process died, or it was rejected. `report_losses` tells the ledger."""
        with self._lock:
            held = self._held.pop(key, None)
            if held is not None:
                is_stopped = self.is_stopping or failure.signal in ASKED_TO_STOP
                is_blamed = held.started_at is not None and outcome == "killed" and not is_stopped
                beginning = None if held.started_at is None or held.is_noted else held
                self._losses.append(Loss(held.lease, failure, outcome, is_blamed, delay_s, beginning))

    def report_losses(self, connection: OwnConnection) -> None:
        """Take back what was lost: to the queue, or to quarantine. What cannot be told now is told the next time."""
        while self._losses:
            with self._lock:
                if not self._losses:
                    return
                loss = self._losses.pop(0)
            try:
                with connection.transaction() as tx:
                    if loss.beginning is not None:
                        self._note(tx, [loss.beginning])
                    lost = reap.lose(
                        tx,
                        loss.lease,
                        loss.failure,
                        self.settings,
                        is_blamed=loss.is_blamed,
                        outcome=loss.outcome,
                        delay_s=loss.delay_s,
                    )
                    if lost is not None and lost.state == "quarantined" and self.send_errbacks is not None:
                        self.send_errbacks(tx, [lost.task_id], lost.state, loss.failure.reason)
                    reached(Crashpoint.LOSE_BEFORE_COMMIT)
            except BaseException:
                with self._lock:
                    self._losses.append(loss)  # behind the others: it may be refused for what it contains
                raise
            reached(Crashpoint.LOSE_AFTER_COMMIT)
            if lost is not None:
                logger.error("task %s[%s] is %s: %s", lost.name, lost.task_id, lost.state, loss.failure.reason)

    # ---- what maintenance asks for

    def note_started(self, connection: OwnConnection) -> None:
        """Tell the ledger which attempts have been running for a while: from now on a death is theirs."""
        now = time.monotonic()
        with self._lock:
            fresh = [
                held
                for held in self._held.values()
                if held.started_at is not None
                and not held.is_noted
                and now - held.started_at >= self.settings.start_noted_after_s
            ]
        if not fresh:
            return
        with connection.transaction() as tx:
            self._note(tx, fresh)
            reached(Crashpoint.START_BEFORE_COMMIT)
        reached(Crashpoint.START_AFTER_COMMIT)
        for held in fresh:
            held.is_noted = True

    def _note(self, tx: Tx, begun: Iterable[Held]) -> None:
        now = time.monotonic()
        attempts = [(held.lease, now - (held.started_at or now), held.pid) for held in begun]
        if attempts:
            take.start(tx, self.worker.id, attempts)

    def running(self) -> list[Held]:
        """The attempts whose user code runs now."""
        with self._lock:
            return [held for held in self._held.values() if held.started_at is not None]

    def count(self) -> int:
        """How many leases are held."""
        return len(self._held)

    def abandon(
        self,
        leases: Iterable[Lease] | None = None,
        *,
        now: bool = False,
        may_have_begun: frozenset[Key] = frozenset(),
    ) -> None:
        """Mark what has not started (or these leases) to be given back: at once, or after a moment's grace.

        The grace lets a child that is just accepting a task say so first; what *may_have_begun* is left to it.
        """
        moment = time.monotonic() - (_GRACE_S if now else 0.0)
        keys = None if leases is None else {lease.key for lease in leases}
        with self._lock:
            for key, held in self._held.items():
                if held.started_at is None and key not in may_have_begun and (keys is None or key in keys):
                    held.abandoned_at = moment

    def give_back_abandoned(self, connection: OwnConnection) -> None:
        """Hand back, unblamed, what was abandoned and has not started since."""
        now = time.monotonic()
        with self._lock:
            due = [
                held.lease
                for held in self._held.values()
                if held.abandoned_at is not None and held.started_at is None and now - held.abandoned_at >= _GRACE_S
            ]
            for lease in due:
                # Out of our hands first: a pool that reaches it now is refused by holds().
                del self._held[lease.key]
        if not due:
            return
        try:
            with connection.transaction() as tx:
                finish.give_back(tx, self.worker.id, due, "handed back before it started")
                reached(Crashpoint.GIVE_BACK_BEFORE_COMMIT)
        except BaseException:
            with self._lock:
                for lease in due:
                    self._held[lease.key] = Held(lease, "", abandoned_at=now)
            raise
        reached(Crashpoint.GIVE_BACK_AFTER_COMMIT)

    def close(self) -> None:
        """End the incarnation: nothing of it runs any more. What it still holds goes back unblamed."""
        self.is_stopping = True
        is_over = False
        connection = self.source.open(BOUND_S)
        try:
            self._refused_until = 0.0
            self.flush(connection)
            for completion in self._pop_completions():
                logger.error("task %s goes back: its success cannot be recorded", completion.lease.task_id)
            self.report_losses(connection)
            with connection.transaction() as tx:
                self._note(tx, [held for held in self.running() if not held.is_noted])
                finish.give_back(tx, self.worker.id, None, "its worker was stopped")
                workers.stop(tx, self.worker.id)
                reached(Crashpoint.STOP_BEFORE_COMMIT)
            is_over = True
            reached(Crashpoint.STOP_AFTER_COMMIT)
        finally:
            connection.close()
            if self.liveness is not None:
                self.liveness.close(is_over=is_over)

    # ---- completions

    @property
    def _is_refused(self) -> bool:
        return time.monotonic() < self._refused_until

    def _is_of_completions(self, completions: Sequence[Completion], error: BaseException) -> bool:
        """Whether one of *completions* may be why the whole batch was refused."""
        return (
            bool(completions)
            and isinstance(error, Exception)
            and verdict(error, self.source.disconnects) is not Verdict.PASSES
        )

    def _record_apart(self, connection: OwnConnection) -> None:
        """Record the completions that wait one by one, to tell those that the database refuses from the others.

        What is refused for what it contains fails, alone. What is refused for another reason (a privilege, a table) is
        kept until it can be recorded.
        """
        waiting = self._pop_completions()
        kept: list[Completion] = []
        try:
            while waiting:
                if not self._record_alone(connection, waiting[0]):
                    kept.append(waiting[0])
                del waiting[0]
        finally:
            self._push_back([*kept, *waiting])
            if kept:
                self._refused_until = time.monotonic() + REFUSED_PAUSE_S

    def _record_alone(self, connection: OwnConnection, completion: Completion) -> bool:
        """Whether it is recorded, as a success or as a failure. Raises if the database is away."""
        error = self._error_of(connection, completion)
        if error is not None and completion.parts and verdict(error) is Verdict.CONTENT:
            # It may be the body of a chord that cannot be written: then the member has succeeded and the chord failed.
            error = self._error_of(connection, completion, refused=error)
        if error is None:
            reached(Crashpoint.COMPLETE_ALONE_AFTER_COMMIT)
            return True
        if verdict(error) is Verdict.CONTENT and self.fail_unwritable is not None:
            self.fail_unwritable(completion, error)
            return True
        logger.error(
            "the success of task %s cannot be recorded yet; until it can, this worker takes no others",
            completion.lease.task_id,
            exc_info=error,
        )
        return False

    def _error_of(
        self, connection: OwnConnection, completion: Completion, refused: Exception | None = None
    ) -> Exception | None:
        """Record a completion by itself; return why the database refuses it, or None. Raises if that is away."""
        try:
            with connection.transaction() as tx:
                self._record(tx, [completion], refused)
        except Exception as error:
            if verdict(error, self.source.disconnects) is Verdict.PASSES:
                raise
            return error
        return None

    def _record(self, tx: Tx, completions: list[Completion], refused: Exception | None = None) -> None:
        reached(Crashpoint.COMPLETE_BEFORE_COMMIT)
        accepted = finish.succeed(tx, self.worker.id, completions)
        valid = [one for one in completions if one.lease.task_id in accepted]
        results.store(tx, [result for one in valid for result in one.results], is_outcome=True)
        parts = [part for one in valid for part in one.parts]
        if parts and self.return_parts is not None:
            self.return_parts(tx, parts, refused)
        if len(accepted) < len(completions):
            for one in completions:
                if one.lease.task_id not in accepted and not finish.is_settled(tx, one.lease):
                    logger.warning(
                        "the outcome of task %s (attempt %d) was refused: its lease was lost",
                        one.lease.task_id,
                        one.lease.fence,
                    )

    def _pop_completions(self) -> list[Completion]:
        with self._lock:
            completions, self._completions = self._completions, []
            self._oldest_completion_at = None
            return completions

    def _push_back(self, completions: list[Completion]) -> None:
        # The database went away in between: the next flush, on the next connection, says it again.
        with self._lock:
            self._completions[:0] = completions
            if self._completions:
                self._oldest_completion_at = time.monotonic()


def _nobody_is_told() -> None:
    """Before there is a thread that sends heartbeats."""


_GRACE_S = 0.3
