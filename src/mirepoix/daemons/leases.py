"""The leases of one worker process: take them, and tell the ledger what became of each.

This is what a worker's parent process knows of every task that it took, until the ledger knows it too. It has four
parts: the identity of the worker (`mirepoix.daemons.incarnation`), the leases that are held (`mirepoix.daemons.held`),
the successes that wait to be recorded (`mirepoix.daemons.completions`), and the attempts that were lost
(`mirepoix.daemons.losses`). Here is what takes more than one of them in one transaction.

It is safe for several threads: the consumer's loop takes and completes, the maintenance thread flushes, gives back and
reads, and the threads of a pool report.
"""

from __future__ import annotations

import logging
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from mirepoix.config import Settings
from mirepoix.connect.source import BOUND_S, OwnConnection, Source
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.daemons.completions import Completions
from mirepoix.daemons.held import Held, HeldLeases, Key
from mirepoix.daemons.incarnation import Incarnation
from mirepoix.daemons.losses import Loss, Losses
from mirepoix.errors import LedgerAway
from mirepoix.ledger import enqueue, finish, take, workers
from mirepoix.ledger.tx import Tx
from mirepoix.records import AttemptFailure, Completion, Envelope, Part, Taken, Worker
from mirepoix.states import AttemptOutcome

logger = logging.getLogger("mirepoix.leases")

ASKED_TO_STOP = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP})
"""The signals that end a process because somebody wants it to end: its task is not to blame."""

START_NOTED_AFTER_S = 0.05
"""An attempt that runs for longer than this becomes ``running`` in the ledger, for blame and for people."""

RESUMED_AHEAD = 20
"""So many parked tasks are resumed ahead, for each task that can run at once."""

MOST_TRIES = 3
"""How often one worker resumes a task that is parked again each time."""

TRIES_KEPT = 10_000

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Received:
    """What came of the notifications of a broker."""

    taken: tuple[Taken, ...]
    adopted: frozenset[str]
    known: dict[str, bool]
    """The tasks that were not taken, as far as the ledger knows them: whether each is ready to be taken."""


class Leases:
    """The leases of one worker process, and what it still has to tell the ledger about them."""

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
        self.settings = settings
        self.return_ended = return_ended
        """Returns to their chords tasks that ended without running, by their ids, with the reason."""
        self.can_take = can_take
        """Whether the code here can take what is parked for other code, by its shape."""
        self.send_errbacks = send_errbacks
        """Has the error callbacks of tasks called, by their ids, that ended in a state, with the reason."""
        self.incarnation = Incarnation(source, settings, worker)
        self.held = HeldLeases()
        self.completions = Completions(source, return_parts, fail_unwritable)
        self.losses = Losses(settings, self._note_begun, send_errbacks)
        self.resumed: deque[Taken] = deque()
        """The parked tasks that were resumed, and that the consumer is still to give to the worker."""
        self.is_stopping = False
        self.send_heartbeat: Callable[[], None] = _no_heartbeat
        """Sends a heartbeat at once: the ledger learns from it that this worker is to stop."""
        self._tried: Counter[str] = Counter()
        self._turn = 0

    @property
    def worker(self) -> Worker:
        """The worker as its row stands in the ledger."""
        return self.incarnation.worker

    def reincarnate(self) -> None:
        """Go on under a new identity, without any lease: the ledger declared this incarnation dead."""
        running = [held.name for held in self.held.clear()]
        self.completions.pop()
        logger.error(
            "worker %s was declared dead while it lived (%s): %d running task(s) were given to others and their "
            "outcomes here will be refused: %s",
            self.worker.id,
            self.incarnation.reason_of_end(),
            len(running),
            ", ".join(running) or "none",
        )
        self.incarnation.register()

    # ---- taking

    def record_and_take(self, connection: OwnConnection, queues: Sequence[str], batch: int) -> list[Taken]:
        """Record the completions that wait and take up to *batch* tasks, in one transaction.

        A completion that the database will never take fails by itself. While it takes none, nothing is taken either.
        """
        if batch < 1 or self.is_stopping:
            queues = []
        if self.completions.are_refused:
            return []
        completions = self.completions.pop()
        if not completions and not queues:
            return []
        taken: list[Taken] = []
        try:
            # Completions alone are one statement, which commits by itself: two round trips fewer.
            is_one_statement = not queues and not any(done.results or done.parts for done in completions)
            with connection.statements() if is_one_statement else connection.transaction() as tx:
                if completions:
                    self.completions.record(tx, self.worker.id, completions)
                if queues:
                    self._turn += 1
                    first = self._turn % len(queues)
                    turns = [*queues[first:], *queues[:first]]
                    may_be_suspect = self.held.may_take_suspect
                    taken = take.take(tx, self.worker.id, turns, batch, may_be_suspect=may_be_suspect)
                    reached(Crashpoint.TAKE_BEFORE_COMMIT)
        except BaseException as error:
            self.completions.push_back(completions)
            if not self.completions.may_be_cause(completions, error):
                raise
            self.completions.record_one_by_one(connection, self.worker.id)
            return self.record_and_take(connection, queues, batch)
        if completions:
            reached(Crashpoint.COMPLETE_AFTER_COMMIT)
        if taken:
            reached(Crashpoint.TAKE_AFTER_COMMIT)
        self.held.add(taken)
        return taken

    def record_and_receive(
        self,
        connection: OwnConnection,
        task_ids: Sequence[str],
        foreign: Sequence[Envelope] = (),
        unreadable: Mapping[str, str] = _NOTHING,
    ) -> Received:
        """Record the completions that wait, and take those of *task_ids* that are ready, in one transaction.

        *foreign* are messages of tasks that were sent past the ledger: they are written into it first, unless it knows
        their ids. Those that are *unreadable* are parked at once; the mapping says why, by id.

        While the database refuses completions, nothing is taken, and LedgerAway is raised.
        """
        if self.completions.are_refused:
            raise LedgerAway("the ledger does not take what is to be recorded")
        completions = self.completions.pop()
        taken: list[Taken] = []
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
                got = {task.lease.task_id for task in taken}
                missed = [task_id for task_id in task_ids if task_id not in got and task_id not in unreadable]
                known = take.readiness(tx, missed) if missed else {}
                taken += self._take_suspect(tx, [task_id for task_id in missed if known.get(task_id)])
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

    def _take_suspect(self, tx: Tx, task_ids: Iterable[str]) -> list[Taken]:
        """Take the first of these that can be taken: they are suspects, as the others were taken before."""
        for task_id in task_ids if self.held.may_take_suspect else ():
            taken = take.take_by_id(tx, self.worker.id, [task_id])
            if taken:
                return taken
        return []

    def resume_parked(self, connection: OwnConnection) -> bool:
        """Lease what is parked for other code, if the code here can take it; whether there may be more.

        A task that this code parks again is resumed `MOST_TRIES` times at most.
        """
        room = RESUMED_AHEAD * max(1, self.worker.concurrency) - len(self.resumed)
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
        self.held.add(taken)
        for task in taken:
            logger.info("task %s[%s] was parked, and is resumed", task.name, task.lease.task_id)
        self._tried.update(task.lease.task_id for task in taken)
        if len(self._tried) > TRIES_KEPT:
            self._tried = Counter({task_id: times for task_id, times in self._tried.items() if times >= MOST_TRIES})
        self.resumed.extend(taken)
        return len(wanted) >= room

    # ---- what became of them

    def complete(self, completion: Completion) -> None:
        """Record with the next batch that the attempt succeeded and sends nothing, and its result."""
        if self.held.pop(completion.lease.key, has_ended=True) is not None:
            self.completions.add(completion)

    def flush(self, connection: OwnConnection, older_than_s: float = 0.0) -> None:
        """Record the completions that wait, if the oldest has waited that long."""
        oldest_s = self.completions.oldest_s
        if oldest_s is not None and oldest_s >= older_than_s:
            self.record_and_take(connection, (), 0)

    def note_lost(self, key: Key, failure: AttemptFailure, *, outcome: AttemptOutcome, delay_s: float = 0.0) -> None:
        """Report with the next `Losses.report` that the attempt's process died, or that the attempt was rejected."""
        held = self.held.pop(key)
        if held is not None:
            is_stopped = self.is_stopping or failure.signal in ASKED_TO_STOP
            is_blamed = held.started_at is not None and outcome is AttemptOutcome.KILLED and not is_stopped
            beginning = None if held.started_at is None or held.is_noted else held
            self.losses.add(Loss(held.lease, failure, outcome, is_blamed, delay_s, beginning))

    def lose_given_to_worker(self, failure: AttemptFailure, *, may_have_begun: frozenset[Key]) -> None:
        """The worker failed: each task that it was about to give to its pool may be the cause.

        These tasks go back, and each counts a handover. What waits in the delivery, and what may have begun, is left as
        it is.
        """
        self.losses.add(
            *(Loss(lease, failure, AttemptOutcome.LOST) for lease in self.held.pop_given_to_worker(may_have_begun))
        )

    def note_started(self, connection: OwnConnection) -> None:
        """Tell the ledger which attempts have been running for a while: from now on a death is theirs."""
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
        """Take nothing more, and hand back what has not begun and is not in *may_have_begun*.

        Safe in a signal handler: it only sets flags, and the maintenance thread does the rest.
        """
        self.is_stopping = True
        self.send_heartbeat()
        self.held.abandon(now=True, may_have_begun=may_have_begun)

    def give_back_abandoned(self, connection: OwnConnection) -> None:
        """Hand back, without blame, what was abandoned and has not started since."""
        due = self.held.pop_abandoned()
        if not due:
            return
        try:
            with connection.transaction() as tx:
                finish.give_back(tx, self.worker.id, due, "handed back before it started")
                reached(Crashpoint.GIVE_BACK_BEFORE_COMMIT)
        except BaseException:
            self.held.hold_abandoned(due)
            raise
        reached(Crashpoint.GIVE_BACK_AFTER_COMMIT)

    def close(self) -> None:
        """End the incarnation: nothing of it runs any more. What it still holds goes back without blame."""
        self.is_stopping = True
        is_over = False
        connection = self.source.open(BOUND_S)
        try:
            self.completions.try_again()
            self.flush(connection)
            for completion in self.completions.pop():
                logger.error("task %s goes back: its success cannot be recorded", completion.lease.task_id)
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


def _no_heartbeat() -> None:
    """Before there is a thread that sends heartbeats."""
