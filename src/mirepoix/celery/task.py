"""Make a task's class ours: its tracer runs behind the lease, its request reports to the ledger."""

from __future__ import annotations

import os
import resource
import sys
import time
from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionInfo
from celery import states
from celery.app.trace import TraceInfo, trace_ok_t
from celery.exceptions import Ignore, Reject

from mirepoix.celery import attempt as attempts
from mirepoix.celery.attempt import Attempt
from mirepoix.records import LEASE_HEADER, Completion, Lease, Trouble

if TYPE_CHECKING:
    from mirepoix.celery.app import Installation


class LedgerTask:
    """Mixed into the class of every task of the app, in front of the user's own."""

    Request = "mirepoix.celery.request:LedgerRequest"

    @property
    def __trace__(self) -> Any:
        return self.__dict__.get("_mirepoix_trace")

    @__trace__.setter
    def __trace__(self, tracer: Any) -> None:
        # Whoever builds the tracer (the consumer, a pool process, trace_task) gets it wrapped: one seam for all pools.
        self.__dict__["_mirepoix_trace"] = None if tracer is None else guarded(self, tracer)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the user's code: what it sends by itself does not wait for the attempt's outcome."""
        with attempts.user_code():
            return super().__call__(*args, **kwargs)  # type: ignore[misc]

    def retry(self, *args: Any, **kwargs: Any) -> Any:
        """Celery's retry; what it sends is committed with the attempt's outcome."""
        with attempts.outcome_code():
            return super().retry(*args, **kwargs)  # type: ignore[misc]

    def replace(self, *args: Any, **kwargs: Any) -> Any:
        """Celery's replace; what it sends is committed with the attempt's outcome."""
        with attempts.outcome_code():
            return super().replace(*args, **kwargs)  # type: ignore[misc]


def adopt(task: Any) -> None:
    """Make *task* one of ours, whatever class its author gave it. Does nothing the second time."""
    cls = type(task)
    if not issubclass(cls, LedgerTask):
        task.__class__ = type(cls.__name__, (LedgerTask, cls), {"__module__": cls.__module__, "__doc__": cls.__doc__})


def adopting(registry_class: type) -> type:
    """*registry_class* (of the app's tasks) with every task that is registered, now or later, made one of ours."""

    class AdoptingRegistry(registry_class):  # type: ignore[misc]
        def __setitem__(self, name: str, task: Any) -> None:
            adopt(task)
            super().__setitem__(name, task)

    return AdoptingRegistry


def guarded(task: Any, tracer: Any) -> Any:
    """*tracer* as it runs under a lease: refused, parked, or run and its outcome recorded."""

    def trace(uuid: str, args: Any, kwargs: Any, request: Any = None) -> Any:
        mark = (request or {}).get(LEASE_HEADER)
        if mark is None:  # called eagerly: there is no lease and nothing to record
            return tracer(uuid, args, kwargs, request)
        installation: Installation = task.app.mirepoix
        lease = Lease(uuid, mark["fence"], mark["worker"])
        if not installation.may_run(lease):
            return _ignored("its lease was handed back")
        misfit = _misfit(task, args, kwargs)
        if misfit is not None:
            attempts.park(installation.source, lease, task.name, Trouble(misfit))
            return _ignored(misfit)
        if installation.is_pool_process and not installation.meter.begin(lease.key):
            attempts.lose(installation, lease, task.name)
            return _ignored("the process that began it died")
        request["eta"] = mark.get("eta")
        attempt = Attempt(lease, task.name, installation=installation)
        return _run(installation, attempt, mark, lambda: tracer(uuid, args, kwargs, request))

    return trace


def commits_in_the_pool(embed: dict[str, Any] | None) -> bool:
    """Whether the process that runs the task commits its success: it has something to send."""
    return bool(embed and (embed.get("callbacks") or embed.get("chain") or embed.get("chord")))


def peak_memory_kb() -> int:
    """The highest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


def _run(installation: Installation, attempt: Attempt, mark: dict[str, Any], trace: Any) -> Any:
    source = installation.source
    with attempts.running(attempt):
        try:
            result = trace()
        except Reject as error:
            attempts.fail(source, attempt, _trouble(attempt, ExceptionInfo(), error))
            raise
        except Exception as error:  # noqa: BLE001
            # MemoryError, for which Celery ends the whole worker, or an errback that cannot be sent, which pools
            # without processes report to nobody: to the ledger each is a failure of this attempt.
            attempts.fail(source, attempt, _broken_handling(attempt, error))
            return trace_ok_t(ExceptionInfo(), TraceInfo(states.FAILURE, error), 0.0, None)
    installation.meter.note(peak_memory_kb())
    _record(installation, attempt, result, commits=bool(mark.get("commits")))
    return result


def _record(installation: Installation, attempt: Attempt, result: Any, *, commits: bool) -> None:
    source = installation.source
    state = states.SUCCESS if result.info is None else result.info.state
    if attempt.again is not None:
        reason = "replaced" if state == states.IGNORED else _words(result.info)
        attempts.run_again(
            source, attempt, _trouble(attempt, result.retval, result.info and result.info.retval, reason)
        )
    elif result.info is None and isinstance(result.retval, ExceptionInfo):
        # An error of Celery's own before the request was built: it is reported like a success.
        attempts.fail(source, attempt, _trouble(attempt, result.retval, result.retval.exception))
    elif state == states.SUCCESS:
        if commits or attempt.continuations:
            done = Completion(attempt.lease, result.runtime, peak_memory_kb(), pid=os.getpid())
            attempts.succeed(source, attempt, done)
    elif state == states.IGNORED:
        done = Completion(attempt.lease, result.runtime, peak_memory_kb(), "ignored by the task", os.getpid())
        attempts.succeed(source, attempt, done)
    elif state == states.REJECTED and result.info.retval.requeue:
        return  # the parent hands it back, at a pace
    else:
        attempts.fail(source, attempt, _trouble(attempt, result.retval, result.info.retval))


def _misfit(task: Any, args: Any, kwargs: Any) -> str | None:
    """Why these arguments cannot be given to the task, or None. User code is not run to find out."""
    if not isinstance(kwargs, dict) or not isinstance(args, (list, tuple)):
        return "the arguments are no list and mapping"
    header = getattr(task, "__header__", None)
    if header is None:
        return None
    try:
        header(*args, **kwargs)
    except TypeError as error:
        return f"the arguments do not fit the task's signature: {error}"
    return None


def _trouble(attempt: Attempt, info: Any, error: Any, reason: str | None = None) -> Trouble:
    error = getattr(error, "exc", None) or error
    return Trouble(
        reason=reason or f"{type(error).__name__}: {error}",
        error_type=None if error is None else f"{type(error).__module__}.{type(error).__qualname__}",
        traceback=str(info.traceback) if isinstance(info, ExceptionInfo) else None,
        pid=os.getpid(),
        run_time_s=round(time.monotonic() - attempt.began_at, 6),
        peak_memory_kb=peak_memory_kb(),
    )


def _broken_handling(attempt: Attempt, error: Exception) -> Trouble:
    """An error in handling an error: both are told, the first one first."""
    chain: list[BaseException] = [error]
    while chain[0].__context__ is not None:
        chain.insert(0, chain[0].__context__)
    said = dict.fromkeys(f"{type(one).__name__}: {one}" for one in chain)
    return _trouble(attempt, ExceptionInfo(), chain[0], "; then ".join(said))


def _words(info: Any) -> str:
    if info is None:
        return "asked to run again"
    cause = getattr(info.retval, "exc", None)
    return "asked to run again" if cause is None else f"{type(cause).__name__}: {cause}"


def _ignored(why: str) -> Any:
    try:
        raise Ignore(why)
    except Ignore as error:
        return trace_ok_t(ExceptionInfo(internal=True), TraceInfo(states.IGNORED, error), 0.0, None)
