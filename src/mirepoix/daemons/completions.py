"""The successes that a worker's parent process records in batches."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from mirepoix.connect.source import OwnConnection, Source
from mirepoix.connect.verdict import Verdict, verdict
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.ledger import finish, results
from mirepoix.ledger.tx import Tx
from mirepoix.records import Completion, Part

logger = logging.getLogger("mirepoix.leases")

REFUSED_PAUSE_S = 1.0
"""How long a worker waits before it tries again to record what the database refused to record."""


class Completions:
    """The successes that wait to be recorded. Safe for several threads.

    *return_parts* records that parts of chords have returned, and sends the bodies of complete chords. If it gets a
    database error, it fails the chords. *fail_unwritable* commits that an attempt failed with a database error, because
    its success cannot be written.
    """

    def __init__(
        self,
        source: Source,
        return_parts: Callable[[Tx, Sequence[Part], Exception | None], None] | None,
        fail_unwritable: Callable[[Completion, Exception], None] | None,
    ) -> None:
        self._source = source
        self._return_parts = return_parts
        self._fail_unwritable = fail_unwritable
        self._lock = threading.RLock()
        self._waiting: list[Completion] = []
        self._oldest_at: float | None = None
        self._refused_until = 0.0

    def add(self, completion: Completion) -> None:
        """Record a success with the next batch."""
        with self._lock:
            self._waiting.append(completion)
            if self._oldest_at is None:
                self._oldest_at = time.monotonic()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def oldest_s(self) -> float | None:
        """How long the oldest success has been waiting; None if none waits."""
        oldest_at = self._oldest_at
        return None if oldest_at is None else time.monotonic() - oldest_at

    @property
    def has_results(self) -> bool:
        """Whether a result or a part of a chord waits to be recorded."""
        return any(completion.results or completion.parts for completion in self._waiting)

    @property
    def has_parts(self) -> bool:
        """Whether parts of chords wait to be recorded."""
        return any(completion.parts for completion in self._waiting)

    @property
    def are_refused(self) -> bool:
        """Whether the database has just refused a success. Then nothing is taken or recorded for a moment."""
        return time.monotonic() < self._refused_until

    def try_again(self) -> None:
        """Try at once to record what the database refused."""
        self._refused_until = 0.0

    def pop(self) -> list[Completion]:
        """Remove and return all successes that wait."""
        with self._lock:
            completions, self._waiting = self._waiting, []
            self._oldest_at = None
            return completions

    def push_back(self, completions: list[Completion]) -> None:
        """Let *completions* wait again, before all others, because they could not be recorded."""
        with self._lock:
            self._waiting[:0] = completions
            if self._waiting:
                self._oldest_at = time.monotonic()

    def record(self, tx: Tx, worker_id: str, completions: list[Completion], refused: Exception | None = None) -> None:
        """Record the *completions* with valid leases, with their results and parts of chords."""
        reached(Crashpoint.COMPLETE_BEFORE_COMMIT)
        accepted = finish.succeed(tx, worker_id, completions)
        valid = [completion for completion in completions if completion.lease.task_id in accepted]
        results.store(tx, [result for completion in valid for result in completion.results], is_outcome=True)
        parts = [part for completion in valid for part in completion.parts]
        if parts and self._return_parts is not None:
            self._return_parts(tx, parts, refused)
        if len(accepted) < len(completions):
            for completion in completions:
                if completion.lease.task_id not in accepted and not finish.is_settled(tx, completion.lease):
                    logger.warning(
                        "the outcome of task %s (attempt %d) was refused: its lease was lost",
                        completion.lease.task_id,
                        completion.lease.fence,
                    )

    def may_be_cause(self, completions: Sequence[Completion], error: BaseException) -> bool:
        """Return whether the database may have refused the transaction because of one of *completions*."""
        return (
            bool(completions)
            and isinstance(error, Exception)
            and verdict(error, self._source.disconnects) is not Verdict.PASSES
        )

    def record_one_by_one(self, connection: OwnConnection, worker_id: str) -> None:
        """Record each waiting success in its own transaction, to find those that the database refuses.

        An attempt with refused content fails, and only that attempt. If the reason is another (a privilege, a table),
        the success waits until it can be recorded.
        """
        waiting = self.pop()
        unrecorded: list[Completion] = []
        try:
            while waiting:
                if not self._record_alone(connection, worker_id, waiting[0]):
                    unrecorded.append(waiting[0])
                del waiting[0]
        finally:
            self.push_back([*unrecorded, *waiting])
            if unrecorded:
                self._refused_until = time.monotonic() + REFUSED_PAUSE_S

    def _record_alone(self, connection: OwnConnection, worker_id: str, completion: Completion) -> bool:
        """Record *completion* as a success or as a failure; False if neither can be recorded yet.

        Raises if the database is away.
        """
        error = self._error_of(connection, worker_id, completion)
        if error is not None and completion.parts and verdict(error) is Verdict.CONTENT:
            # Maybe only the body of the chord cannot be written. Then the member succeeded and the chord failed.
            error = self._error_of(connection, worker_id, completion, refused=error)
        if error is None:
            reached(Crashpoint.COMPLETE_ALONE_AFTER_COMMIT)
            return True
        if verdict(error) is Verdict.CONTENT and self._fail_unwritable is not None:
            self._fail_unwritable(completion, error)
            return True
        logger.error(
            "the success of task %s cannot be recorded yet; until it is recorded, this worker takes no other tasks",
            completion.lease.task_id,
            exc_info=error,
        )
        return False

    def _error_of(
        self, connection: OwnConnection, worker_id: str, completion: Completion, refused: Exception | None = None
    ) -> Exception | None:
        """Record *completion* alone; return the database's error if it refuses, or None."""
        try:
            with connection.transaction() as tx:
                self.record(tx, worker_id, [completion], refused)
        except Exception as error:
            if verdict(error, self._source.disconnects) is Verdict.PASSES:
                raise
            return error
        return None
