"""Record in the ledger what a worker's parent process learns about an attempt."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any
from weakref import ref

from billiard.einfo import ExceptionInfo
from billiard.exceptions import Terminated, TimeLimitExceeded, WorkerLostError
from celery import states
from celery.app.trace import task_has_custom
from celery.exceptions import InvalidTaskError, Reject, TaskRevokedError
from celery.utils.log import get_logger
from celery.worker.request import Request
from celery.worker.state import task_ready

from mirepoix.celery import context, outcome, private
from mirepoix.celery.context import Attempt
from mirepoix.celery.gathering import is_gathering
from mirepoix.celery.pool_result import Reported, raised_in
from mirepoix.celery.worker_process import WorkerProcess
from mirepoix.ledger import finish
from mirepoix.protocol.lease import lease_in
from mirepoix.protocol.options import wrong_limits
from mirepoix.records import AttemptFailure, Completion, Lease
from mirepoix.states import AttemptOutcome

logger = get_logger("mirepoix.worker")

REJECTED_PAUSE_S = 1.0
"""How long a task that rejected itself back to its queue waits before it is taken again."""


class LedgerRequest(Request):  # type: ignore[misc]
    """A Celery request that reports its end to the ledger. Acknowledging it only frees its place in the prefetch."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # Celery makes a subclass for each task and defines both methods there. Ours must wrap them.
        super().__init_subclass__(**kwargs)
        generated = cls.__dict__
        if "on_success" in generated:
            cls.on_success = _reported(generated["on_success"])
        if "execute_using_pool" in generated:
            cls.execute_using_pool = _handed_over(generated["execute_using_pool"])

    def __init__(self, message: Any, **options: Any) -> None:
        super().__init__(message, **options)
        if not isinstance(self.name, str):  # Celery counts by name, and nothing would report an error there
            raise InvalidTaskError(f"its name is no text: {self.name!r}")
        carried = self._payload[2]
        if carried is not None and not isinstance(carried, dict):
            raise InvalidTaskError(f"what it carries for later is no mapping: {carried!r}")
        mark = lease_in(self._request_dict)
        self.installation = self._app.mirepoix
        self.worker: WorkerProcess = self.installation.worker
        self.lease = None if mark is None else mark.lease
        self._is_accepting = False
        self._goes_back_later = False
        self.is_gathered = self.lease is not None and is_gathering(self.task)
        if self.is_gathered:
            self.worker.gathered.add(self)

    # ---- the way to the pool

    def revoked(self) -> bool:
        """Whether Celery must drop the task. Also true if the lease is lost: then nothing is recorded for it."""
        if self.lease is not None and not self.worker.leases.held.may_begin(self.lease.key):
            task_ready(self)
            self.acknowledge()
            return True
        if self.lease is not None and self.id in private.revoked_ids() and not self._is_revoked():
            private.revoked_ids().discard(self.id)
        return bool(super().revoked())

    def _is_revoked(self) -> bool:
        """Whether this attempt was revoked. Celery remembers task ids only, and for hours."""
        if self._already_revoked:
            return True
        with self.installation.source.reading() as tx:
            return finish.is_revoked(tx, self._held)

    def _refuse(self, error: Exception) -> None:
        """Record that the pool cannot take it."""
        task_ready(self)
        self.worker.pool_refused(self._held, self.name, error)
        self.acknowledge()

    @property
    def _effective_limits(self) -> Any:
        """Its own time limits, or else those of its task. Limits that are no pair are returned unchanged."""
        limits = self.time_limits
        if not isinstance(limits, (list, tuple)) or len(limits) != 2:  # noqa: PLR2004 (hard and soft)
            return limits
        return limits[0] or self.task.time_limit, limits[1] or self.task.soft_time_limit

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        """Note that a pool process begins to run it. This is no acknowledgement: the lease decides."""
        if self.lease is None:  # not from the ledger: Celery handles it
            super().on_accepted(pid, time_accepted)
            return
        # Pools without processes pass another clock's time.
        began_at = time_accepted if self.worker.lane is not None else None
        self.worker.leases.held.note_begun(self.lease.key, self._process(pid), began_at)
        self._is_accepting = True
        try:
            super().on_accepted(pid, time_accepted)
        except Exception:
            # With this error, a pool of threads or greenlets would not run the task, and would not report that.
            logger.exception("the worker cannot note that task %s[%s] begins", self.name, self.id)
        finally:
            self._is_accepting = False

    def belongs_to(self, job: Any) -> None:
        """Note the job of the direct pool that runs it. The pool knows when the job began."""
        self._apply_result = ref(job)

    def acknowledge(self) -> None:
        """Free the place in the prefetch after the attempt is over. A gathered call succeeds by it."""
        if self._is_accepting:
            return
        if self.is_gathered and not self._goes_back_later:
            self.succeeded(None, self._run_time_s())
        if self.is_gathered:
            self.worker.gathered.drop(self)
        super().acknowledge()

    def reject(self, requeue: bool = False) -> None:
        """Reject the message as Celery does. A gathered call goes back to its queue, or fails."""
        if self.is_gathered:
            if requeue:
                self._rejected_back(Reject("by its strategy", requeue=True))
            else:
                self.broke_with_others(AttemptFailure("rejected by its strategy"))
            self.worker.gathered.drop(self)
        super().reject(requeue)

    # ---- gathered by a strategy of its own task

    def is_lost(self) -> bool:
        """Whether this worker must not run it any more. If so, forget it."""
        if self.lease is None or self.worker.leases.held.may_begin(self.lease.key):
            return False
        self.worker.gathered.drop(self)
        super().acknowledge()
        return True

    def begins_with_others(self, pid: int) -> None:
        """Note that a pool process begins to run it together with other calls."""
        self.worker.leases.held.note_begun(self._held.key, self._process(pid))

    def broke_with_others(self, failure: AttemptFailure) -> None:
        """Record its failure: the run that it was part of raised, or its strategy refused it."""
        if not self.worker.leases.held.holds(self._held.key):
            return
        attempt = Attempt(self._held, self.name)
        try:
            with context.running(attempt):
                error = RuntimeError(failure.reason)
                self.task.backend.mark_as_failure(self.id, error, failure.traceback, request=self._context)
        finally:
            outcome.fail(self.installation, attempt, failure)
            self.over()

    @property
    def is_with_pool(self) -> bool:
        """Whether the pool has it, and may send it to a pool process at any moment."""
        return self._apply_result is not None

    @property
    def may_have_begun(self) -> bool:
        """Whether it was sent to a pool process, which may run it without having reported that."""
        job = self._apply_result() if self._apply_result is not None else None
        return private.is_sent(job)

    def info(self, safe: bool = False) -> dict[str, Any]:
        """What ``celery inspect active`` shows. A task that has begun is acknowledged, unless it has ``acks_late``."""
        shown: dict[str, Any] = super().info(safe)
        if self.lease is not None and self.time_start is not None and not self.task.acks_late:
            shown["acknowledged"] = True
        return shown

    # ---- the ways to end

    def succeeded(self, shown: Any, runtime: float | None) -> None:
        """Record a success with the next batch, unless the pool process has committed it."""
        if self.lease is None:
            return
        leases = self.worker.leases
        held = leases.held.get(self.lease.key)
        if held is None:
            return
        report = shown if isinstance(shown, Reported) else Reported(shown)
        if report.is_recorded:
            leases.held.forget(self.lease.key)
            return
        done = Completion(
            held.lease,
            runtime,
            self.worker.meter.read(held.pid),
            pid=held.pid,
            results=report.results,
            # The last part of a chord sends the chord's body, in the name of this member.
            parts=tuple(replace(part, origin=self._context) for part in report.parts),
        )
        leases.complete(done)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """Record that the attempt raised, was killed, ran out of time or was terminated."""
        if self.lease is None:
            return super().on_failure(exc_info, send_failed_event, return_ok)
        error = raised_in(exc_info)
        try:
            if isinstance(error, Reject) and error.requeue:
                return self._rejected_back(error)
            if isinstance(error, (WorkerLostError, SystemExit, KeyboardInterrupt)):
                return self._process_died(error)
            if isinstance(error, TimeLimitExceeded):
                return self._out_of_time(error, exc_info, send_failed_event)
            if isinstance(error, MemoryError):
                # The pool process has recorded it. Celery would end the whole worker for it.
                task_ready(self)
                logger.error("Task %s[%s] ran out of memory", self.name, self.id)
                return None
            if isinstance(error, Reject) or (not return_ok and not isinstance(error, Terminated)):
                return self._broke_outside(error, exc_info, send_failed_event)
            return super().on_failure(exc_info, send_failed_event, return_ok)
        finally:
            self.over()

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Record a failure if the hard time limit passed."""
        if soft or self.lease is None:
            super().on_timeout(soft, timeout)
            return
        logger.error("Hard time limit (%ss) exceeded for %s[%s]", timeout, self.name, self.id)
        if self.worker.leases.held.holds(self.lease.key):  # pools without processes report it only here
            try:
                raise TimeLimitExceeded(timeout)
            except TimeLimitExceeded as error:
                self._out_of_time(error, ExceptionInfo(), send_failed_event=True)
        self.over()

    def over(self) -> None:
        """Forget this attempt: nothing more will be reported of it."""
        if self.lease is not None and not self._goes_back_later:
            self.worker.leases.held.forget(self.lease.key)
        self.acknowledge()

    @property
    def _held(self) -> Lease:
        """The lease. Raises RuntimeError if there is none."""
        if self.lease is None:
            raise RuntimeError(f"{self.name}[{self.id}] did not come from the ledger")
        return self.lease

    def _process_died(self, error: BaseException) -> None:
        task_ready(self)
        if self._already_revoked or self._already_cancelled:
            return
        if private.is_terminating():
            # A cold shutdown kills the pool. That is no fault of the task: its lease goes back when the pool is gone.
            self._goes_back_later = True
            return
        failure = _death(error, self._process(self.worker_pid), self.worker.peak_of(self.lease), self._run_time_s())
        if failure.signal == signal.SIGKILL:
            failure = replace(failure, evidence=self.worker.memory_kills.evidence())
        self.worker.report_lost(self._held, failure, outcome=AttemptOutcome.KILLED)

    def lost_beside(self, why: str, suspect_after: int) -> None:
        """Give it back without blame: it was not alone in a process that ended."""
        task_ready(self)
        if self.lease is not None:
            failure = AttemptFailure(
                why, "WorkerLostError", pid=self._process(self.worker_pid), run_time_s=self._run_time_s()
            )
            self.worker.leases.note_lost(
                self.lease.key, failure, outcome=AttemptOutcome.KILLED, is_culprit=False, suspect_after=suspect_after
            )
        self.over()

    def _rejected_back(self, error: Reject) -> None:
        task_ready(self)
        failure = AttemptFailure(
            f"rejected back to its queue: {error}", pid=self._process(self.worker_pid), run_time_s=self._run_time_s()
        )
        self.worker.report_lost(self._held, failure, outcome=AttemptOutcome.REJECTED, delay_s=REJECTED_PAUSE_S)

    def _out_of_time(self, error: BaseException, exc_info: Any, send_failed_event: bool) -> None:
        failure = AttemptFailure(
            f"hard time limit exceeded: {error}",
            "billiard.exceptions.TimeLimitExceeded",
            pid=self._process(self.worker_pid),
            run_time_s=self._run_time_s(),
        )
        self._failed(exc_info, failure, send_failed_event, partial(self._call_hooks, error, exc_info))

    def _call_hooks(self, error: BaseException, exc_info: Any) -> None:
        """Call the task's on_failure and after_return: the process that would have called them is gone."""
        task, args = self.task, (error, self.id, self.args, self.kwargs, exc_info)
        hooks: list[Callable[[], object]] = [partial(task.on_failure, *args)]
        if task_has_custom(task, "after_return"):
            hooks.append(partial(task.after_return, states.FAILURE, *args))
        task.request_stack.push(self._context)
        try:
            for hook in hooks:
                try:
                    hook()
                except Exception:
                    logger.exception("a method of task %s[%s] failed after its time limit", self.name, self.id)
        finally:
            task.request_stack.pop()

    def _broke_outside(self, error: BaseException, exc_info: Any, send_failed_event: bool) -> None:
        """Record a failure outside of the user's code: the pool process may have recorded nothing."""
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        failure = AttemptFailure(f"{type(error).__name__}: {error}", kind, str(exc_info.traceback))
        self._failed(exc_info, failure, send_failed_event)

    def _failed(
        self, exc_info: Any, failure: AttemptFailure, send_failed_event: bool, also: Callable[[], None] | None = None
    ) -> None:
        attempt = Attempt(self._held, self.name)
        try:
            with context.running(attempt):  # the errbacks that are sent here are committed with the failure
                super().on_failure(exc_info, send_failed_event, return_ok=False)
                if also is not None:
                    also()
        finally:
            # Record the failure even if an errback cannot be sent: nothing would report it again.
            outcome.fail(self.installation, attempt, failure)

    def _process(self, pid: int | None) -> int | None:
        # Pools that do not fork pass the id of a thread or a greenlet.
        return pid if self.worker.is_forking else os.getpid()

    def _run_time_s(self) -> float | None:
        held = self.worker.leases.held.get(self._held.key)
        return None if held is None or held.started_at is None else round(time.monotonic() - held.started_at, 6)

    def _announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        if self.lease is None:
            super()._announce_revoked(reason, terminated, signum, expired)
            return
        words = "its expiry passed before it was started" if expired else f"{reason} by remote control"
        failure = AttemptFailure(words, run_time_s=self._run_time_s())
        attempt = Attempt(self.lease, self.name)
        with context.running(attempt):  # its result and its part of a chord are committed with its end
            super()._announce_revoked(reason, terminated, signum, expired)
        outcome.revoke(self.installation, attempt, failure, is_expired=expired)
        self.worker.leases.held.forget(self.lease.key)


@cache
def reporting(chosen: type) -> type:
    """The request class that a task's author chose, with `LedgerRequest` as its base: so super() reaches ours."""
    if issubclass(LedgerRequest, chosen):
        return LedgerRequest
    return chosen if issubclass(chosen, LedgerRequest) else type(chosen.__name__, (chosen, LedgerRequest), {})


def _handed_over(generated: Any) -> Any:
    def execute_using_pool(self: LedgerRequest, pool: Any, **kwargs: Any) -> Any:
        broker_consumer = self.worker.broker_consumer
        if self.lease is None and broker_consumer is None:
            return generated(self, pool, **kwargs)
        passing = (*self.connection_errors, *self.installation.source.disconnects, TaskRevokedError)
        passing = tuple(kind for kind in passing if kind is not KeyError)  # Redis' transport lists it
        try:
            wrong = wrong_limits(self._effective_limits)  # in the pool's timers nothing would catch that error
            if wrong is not None:
                raise InvalidTaskError(wrong)
            return generated(self, pool, **kwargs)
        except passing:
            raise
        except Exception as error:
            if self.time_start is None and self.lease is None:
                task_ready(self)
                broker_consumer.park_unreadable(
                    self.message, f"it cannot be given to the pool: {type(error).__name__}: {error}"
                )
            elif self.time_start is None:
                self._refuse(error)
            else:  # a pool in this very thread has run it, and could not report its end
                self.on_failure(ExceptionInfo())
            raise TaskRevokedError(self.id) from error  # Celery does nothing more with it

    return execute_using_pool


def _reported(generated: Any) -> Any:
    def on_success(self: LedgerRequest, outcome: Any, **kwargs: Any) -> Any:
        if isinstance(outcome, ExceptionInfo):
            # Pools without processes report sys.exit() in a thread or greenlet here. Celery could not read that.
            return self.on_failure(outcome)
        try:
            return generated(self, outcome, **kwargs)
        finally:
            if not outcome[0]:
                self.succeeded(outcome[1], outcome[2])
                self.over()

    return on_success


def _death(
    error: BaseException, pid: int | None, peak_memory_kb: int | None, run_time_s: float | None
) -> AttemptFailure:
    words = f"exit code {error.code}" if isinstance(error, SystemExit) else str(error)
    number = re.search(r"signal (\d+)", words)
    code = re.search(r"exit ?code:? (-?\d+)", words)
    return AttemptFailure(
        reason=f"its process died: {words}",
        error_type="WorkerLostError",
        signal=int(number[1]) if number else None,
        exit_code=int(code[1]) if code else None,
        pid=pid,
        run_time_s=run_time_s,
        peak_memory_kb=peak_memory_kb,
    )


def given_to_pool(worker: WorkerProcess) -> frozenset[tuple[str, int]]:
    """The attempts that were sent to the pool's processes, or may still be sent before the pool is closed."""
    if not worker.is_forking:
        return frozenset()
    reserved = private.reserved_requests()
    given = frozenset(request.lease.key for request in reserved if request.lease is not None and request.is_with_pool)
    return given if worker.lane is None else given | worker.lane.given_keys()


def sent_to_pool(worker: WorkerProcess) -> frozenset[tuple[str, int]]:
    """The attempts that were sent to the pool's processes. Each may have begun, and cannot be taken back."""
    if not worker.is_forking:
        return frozenset()
    reserved = private.reserved_requests()
    sent = frozenset(request.lease.key for request in reserved if request.lease is not None and request.may_have_begun)
    return sent if worker.lane is None else sent | worker.lane.given_keys()
