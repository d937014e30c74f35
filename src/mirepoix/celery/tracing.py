"""Run a task under its lease: refuse it, park it, or run it and record its outcome."""

from __future__ import annotations

import logging
import os
import resource
import sys
import time
import traceback
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionInfo
from celery import states
from celery.app.task import Context
from celery.exceptions import Ignore, Reject, Retry

from mirepoix.celery import context, outcome, private, upcast
from mirepoix.celery.context import Attempt
from mirepoix.celery.pool_result import Reported, raised_in, readable
from mirepoix.celery.signatures import version_of
from mirepoix.celery.task_catalog import Incompatibility, incompatibility_inside, incompatibility_of
from mirepoix.errors import ConfigurationError, UpcastFailed
from mirepoix.protocol import payload
from mirepoix.protocol.lease import lease_in, without_lease
from mirepoix.records import VERSION_HEADER, AttemptFailure, Completion, IncompatibilityKind
from mirepoix.signatures.call_codec import Call, to_text
from mirepoix.signatures.shape import Shape

if TYPE_CHECKING:
    from mirepoix.celery.installation import Installation

logger = logging.getLogger("mirepoix.attempt")

KINDS_KEPT = 1_000
"""How many kinds of calls are remembered for each task, with whether they fit its signature."""


def guarded(task: Any, tracer: Any) -> Any:
    """Wrap Celery's *tracer* of *task*: a task that has a lease is refused, parked, or run and its outcome recorded."""

    def trace(uuid: str, args: Any, kwargs: Any, request: Any = None) -> Any:
        mark = lease_in(request)
        if mark is None:  # called eagerly: there is no lease and nothing to record
            return tracer(uuid, args, kwargs, request)
        installation: Installation = task.app.mirepoix
        lease = mark.lease
        worker = installation.worker
        if worker is not None and not worker.may_run(lease):
            return _ignored("its lease was handed back")
        refusal = None if worker is None or worker.lane is None else worker.lane.refusal(task)
        if refusal is not None:
            outcome.park(installation, lease, task.name, AttemptFailure(refusal), ConfigurationError(refusal))
            return _ignored(refusal)
        try:
            received = _received(task, args, kwargs, request)
            own = _custom_headers(request)
        except Exception as error:  # noqa: BLE001 (the row may hold anything; threads and greenlets report no error)
            received = Incompatibility(None, f"the message cannot be read: {type(error).__name__}: {error}")
        if isinstance(received, Incompatibility):
            shape = None if received.kind is None else Shape.of(args, kwargs)
            called = to_text(Call(task.name, payload.version_in(request), shape))
            outcome.park(
                installation, lease, task.name, AttemptFailure(received.reason), received.error, received.kind, called
            )
            return _ignored(received.reason)
        args, kwargs = received
        if worker is not None and worker.is_pool_process:
            if worker.lane is None and not worker.meter.mark_begun(lease.key):
                outcome.record_unseen_death(installation, lease, task.name)
                return _ignored("the process that began it died")
            worker.meter.note(peak_memory_kb())  # it may die before the parent measures it
        request["eta"] = mark.eta
        request["headers"] = without_lease(own)
        attempt = Attempt(
            lease,
            task.name,
            installation=installation,
            has_run=False,
            expires=mark.expires,
            queue=mark.queue,
            waited_s=mark.waited_s,
            taken_at=mark.taken_at,
        )
        try:
            result = _run(installation, attempt, task, request, lambda: tracer(uuid, args, kwargs, request))
        finally:
            installation.source.leave()
        return readable(result) if worker is not None and worker.is_pool_process else result

    return trace


def _custom_headers(request: dict[str, Any]) -> dict[str, Any]:
    """The headers that the caller added. Celery decides that by the names, and most calls have the same."""
    custom = _custom_names(frozenset(request))
    return {name: request[name] for name in custom}


@lru_cache(KINDS_KEPT)
def _custom_names(names: frozenset[str]) -> tuple[str, ...]:
    return private.custom_names(names - {"headers"})


def peak_memory_kb() -> int:
    """The highest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


def _run(installation: Installation, attempt: Attempt, task: Any, request: Any, trace: Any) -> Any:
    with context.running(attempt):
        attempt.fail_now = partial(_fail_now, installation, attempt)
        attempt.is_traced = True
        try:
            result = trace()
        except outcome.Refused:
            return _ignored("its lease was lost")
        except Reject:
            _send_now(installation, attempt)
            raise  # the parent records it
        except Exception as error:  # noqa: BLE001
            attempt.is_traced = False
            # Celery ends the whole worker for a MemoryError. Pools without processes do not report that an errback
            # cannot be sent. In the ledger each of them is a failure of this attempt.
            info = ExceptionInfo()
            _store_failure(task, request, error, info)
            outcome.fail(installation, attempt, _broken_handling(attempt, error))
            return private.trace_result(info, states.FAILURE, error)
        finally:
            attempt.is_traced = False
            if attempt.transaction is not None:
                attempt.transaction.roll_back()
                attempt.transaction = None
        if installation.worker is not None:
            installation.worker.meter.note(peak_memory_kb())
        return _record(installation, attempt, result)


def _record(installation: Installation, attempt: Attempt, result: Any) -> Any:
    """Record the outcome here, or leave it to the worker's parent, which records successes in batches."""
    state = states.SUCCESS if result.info is None else result.info.state
    if attempt.is_over:
        return result._replace(retstr=Reported(result.retstr, is_recorded=True))
    if attempt.transaction is not None:  # a success would have committed it
        attempt.forget_success()
    if attempt.again is not None:
        reason = "replaced" if state == states.IGNORED else _words(result.info)
        outcome.run_again(
            installation, attempt, _failure_of(attempt, result.retval, result.info and result.info.retval, reason)
        )
    elif result.info is None and isinstance(result.retval, ExceptionInfo):
        # An error of Celery's own before the request was built: it is reported like a success.
        outcome.fail(installation, attempt, _failure_of(attempt, result.retval, result.retval.exception))
    elif state == states.SUCCESS:
        if not attempt.commits_here:
            return result._replace(retstr=Reported(result.retstr, attempt.results.values(), attempt.parts.values()))
        done = Completion(attempt.lease, result.runtime, peak_memory_kb(), pid=os.getpid())
        outcome.succeed(installation, attempt, done)
    elif state == states.IGNORED:
        done = Completion(attempt.lease, result.runtime, peak_memory_kb(), "ignored by the task", os.getpid())
        outcome.succeed(installation, attempt, done)
    elif state == states.REJECTED:
        _send_now(installation, attempt)
        return result  # the parent gives it back after a pause, or records the failure
    else:
        outcome.fail(installation, attempt, _failure_of(attempt, result.retval, result.info.retval))
    return result._replace(retstr=Reported(result.retstr, is_recorded=True))


def _send_now(installation: Installation, attempt: Attempt) -> None:
    """Send at once what the user's receivers and handlers sent: the parent records the outcome without it."""
    from mirepoix.celery.capture import write

    sent, attempt.continuations = attempt.continuations, []
    if sent:
        with context.outside():
            write(installation, sent)


def _fail_now(installation: Installation, attempt: Attempt) -> None:
    """Record the failure that is being handled."""
    error = sys.exception()
    if error is not None and not attempt.is_over and attempt.again is None:
        outcome.fail(installation, attempt, _failure_of(attempt, ExceptionInfo(), error))


def _store_failure(task: Any, request: Any, error: Exception, info: ExceptionInfo) -> None:
    """Store in the result backend a failure that Celery's tracer did not handle."""
    try:
        task.backend.mark_as_failure(
            request["id"], error, info.traceback, request=Context(request), call_errbacks=False
        )
    except Exception:
        logger.exception("the failure of task %s[%s] cannot be stored as its result", task.name, request["id"])


def _received(task: Any, args: Any, kwargs: Any, request: Any) -> Incompatibility | tuple[Any, Any]:
    """The arguments in the task's current version, or why the task cannot take them.

    Of the user's code this runs upcasters only.
    """
    if not isinstance(kwargs, dict) or not isinstance(args, (list, tuple)):
        return Incompatibility(None, "the arguments are no list and mapping")
    version, current = payload.version_in(request), version_of(task)
    if version != current:
        incompatibility = incompatibility_of(task, Call(task.name, version, Shape.of(args, kwargs)))
        if incompatibility is not None:
            return incompatibility
        try:
            args, kwargs = upcast.apply(task, version, args, kwargs)
        except UpcastFailed as error:
            return Incompatibility(IncompatibilityKind.UPCAST, str(error))
        request[VERSION_HEADER] = current  # a retry is sent with it
    versions = task.app.tasks.versions
    if versions:  # its sender marked what it carries, unless the sender had only the first version
        request.update(payload.marked(request, dict.fromkeys(versions, 1)))
    return _incompatibility(task, args, kwargs) or _incompatibility_in_map(task, kwargs) or (args, kwargs)


def _incompatibility_in_map(task: Any, kwargs: Any) -> Incompatibility | None:
    """Why a call that celery.map makes does not fit the task of that call; None if all fit. No upcaster changes it."""
    found = payload.call_in_map(task.name, kwargs)
    if found is None:
        return None
    called, calls = found
    incompatibilities = (
        incompatibility_inside(task.name, task.app.tasks.get(called.task), call) for call in calls or [called]
    )
    return next((incompatibility for incompatibility in incompatibilities if incompatibility is not None), None)


def _incompatibility(task: Any, args: Any, kwargs: Any) -> Incompatibility | None:
    """Why the arguments do not fit the task; None if they do. It is computed once for each kind of call."""
    judged: dict[tuple[int, frozenset[Any]], Incompatibility | None] = vars(task).setdefault("_mirepoix_judged", {})
    kind = (len(args), frozenset(kwargs))
    if kind not in judged:
        if len(judged) >= KINDS_KEPT:
            judged.clear()
        judged[kind] = incompatibility_of(task, Call(task.name, version_of(task), Shape.of(args, kwargs)))
    return judged[kind]


def _cause(error: Any) -> BaseException | None:
    """The exception that caused a Retry, if there is one."""
    cause: BaseException | None = vars(error).get("_mirepoix_cause") or error.exc
    return cause


def _failure_of(attempt: Attempt, info: Any, error: Any, reason: str | None = None) -> AttemptFailure:
    text = str(info.traceback) if isinstance(info, ExceptionInfo) else None
    if isinstance(error, Retry):
        error = _cause(error) or error
    elif text is not None and isinstance(error, BaseException) and type(raised_in(info)) is not type(error):
        text = "".join(traceback.format_exception(error))  # Celery's shows the base class that it can pickle
    return AttemptFailure(
        reason=reason or f"{type(error).__name__}: {error}",
        error_type=None if error is None else f"{type(error).__module__}.{type(error).__qualname__}",
        traceback=text,
        pid=os.getpid(),
        run_time_s=round(time.monotonic() - attempt.began_at, 6),
        peak_memory_kb=peak_memory_kb(),
        note=attempt.note,
        name=attempt.name,
    )


def _broken_handling(attempt: Attempt, error: Exception) -> AttemptFailure:
    """The failure of an attempt in which handling an error raised another error. Its reason names both in order."""
    chain: list[BaseException] = [error]
    while chain[0].__context__ is not None:
        chain.insert(0, chain[0].__context__)
    reasons = dict.fromkeys(f"{type(link).__name__}: {link}" for link in chain)
    return _failure_of(attempt, ExceptionInfo(), chain[0], "; then ".join(reasons))


def _words(info: Any) -> str:
    if info is None:
        return "asked to run again"
    cause = _cause(info.retval) if isinstance(info.retval, Retry) else None
    return "asked to run again" if cause is None else f"{type(cause).__name__}: {cause}"


def _ignored(why: str) -> Any:
    try:
        raise Ignore(why)
    except Ignore as error:
        return private.trace_result(ExceptionInfo(internal=True), states.IGNORED, error)
