"""What the ledger needs and Celery before 5.7, or its kombu, lacks. From 5.7 on, Celery's own code does it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from celery import VERSION, chord, group, maybe_signature, states
from celery.app.task import Context
from celery.backends.base import Backend as CelerysBackend
from celery.exceptions import ChordError
from celery.utils.functional import arity_greater, maybe_list
from kombu.utils.uuid import uuid

from mirepoix.celery import private

logger = logging.getLogger("mirepoix.chord")


class FailingBackend(CelerysBackend):  # type: ignore[misc]
    """A result backend that fails all tasks that will not run after a failure, as Celery does from 5.7 on.

    Before 5.7, Celery failed the rest of a chain, but not the chords inside it, and not what follows a failed chord. A
    wait for such a task never ended. Celery 5.5 did not fail a chord's body that is a group, either.
    """

    def mark_as_failure(
        self,
        task_id: str,
        exc: Any,
        traceback: Any = None,
        request: Any = None,
        store_result: bool = True,
        call_errbacks: bool = True,
        state: str = states.FAILURE,
    ) -> None:
        super().mark_as_failure(
            task_id,
            exc,
            traceback=traceback,
            request=request,
            store_result=store_result,
            call_errbacks=call_errbacks,
            state=state,
        )
        for step in getattr(request, "chain", None) or ():
            self._fail_chain(_bodies(step), exc, traceback, store_result=store_result, state=state)

    def chord_error_from_stack(self, callback: Any, exc: Any = None) -> Any:
        """Fail the body of a chord, and what follows it in a chain."""
        returned = None
        if isinstance(callback, group):
            self._fail_group(callback, exc)
        else:
            if not callback.id:
                callback.options["task_id"] = uuid()
            returned = super().chord_error_from_stack(callback, exc)
        self._fail_chain(callback.options.get("chain"), exc)
        return returned

    def _fail_chain(
        self, chain: Any, exc: Any, traceback: Any = None, store_result: bool = True, state: str = states.FAILURE
    ) -> None:
        left = deque(chain or ())
        while left:
            step = left.popleft()
            options = step.get("options") or {}
            member = Context(
                {**step, **options, "id": options.get("task_id"), "group": options.get("group_id"), "options": options}
            )
            if store_result and member.id is not None:
                self.store_result(member.id, exc, state, traceback=traceback, request=member)
            if "chord" in options:
                self.on_chord_part_return(member, state, exc)
            left.extend(_bodies(step))

    def _fail_group(self, callback: Any, exc: Any) -> None:
        cause = (isinstance(exc, ChordError) and exc.__cause__) or exc
        frozen = callback.freeze()
        own = dict(_errbacks_by_id(callback.tasks, self.app))
        for result in frozen.results:
            # link_error() links a callback to the group and to its tasks, but it must be called only once.
            called = list(_once([*own.get(result.id, ()), *maybe_list(callback.options.get("link_error") or [])]))
            request = Context({"id": result.id, "errbacks": called, "delivery_info": {}, "task": "unknown"})
            try:
                self._call_task_errbacks(request, cause, None)
            except Exception:  # user code may raise anything, and the other callbacks must be called too
                logger.exception("an error callback of %s in the body of a chord failed", result.id)
            self.fail_from_current_stack(result.id, exc=cause)
        if frozen.id:
            self.mark_as_failure(frozen.id, cause)


Backend: Any = CelerysBackend if private.fails_chains(CelerysBackend) else FailingBackend
"""The base class of result backends, with what Celery's has from 5.7 on."""


def takes_more_than(backend: Any, errback: Any, count: int) -> bool:
    """Whether *errback* takes more than *count* arguments besides those that it has. Before 5.7 those counted too."""
    judge = private.errback_takes_more_than(backend)
    return bool(judge(errback, count) if judge is not None else arity_greater(errback.type.__header__, count))


@contextmanager
def keeping_running_jobs(pool: Any) -> Iterator[None]:
    """Let Celery close a connection inside the block, and keep the running jobs of its pool of processes.

    Before 5.7, Celery forgot which processes are busy, and the next task waited behind a task that may take hours.
    Celery 5.5 also forgot the running jobs, so that their outcomes were never reported.
    """
    processes = private.processes_of(pool)
    if VERSION >= (5, 7) or not private.knows_busy(processes):
        yield
        return
    jobs = private.jobs_of(processes)
    running = {number: job for number, job in jobs.items() if private.is_accepted(job)}
    busy = set(private.busy_descriptors(processes))
    yield
    if VERSION < (5, 6):
        for number, job in running.items():
            jobs.setdefault(number, job)
    for number, job in running.items():
        process = private.process_of(job)
        if number in jobs and process is not None and private.is_alive(process):
            private.busy_descriptors(processes).update({private.descriptor_of(process)} & busy)


def _bodies(step: Any) -> list[Any]:
    """The body of a step that is a chord, since the chord ends with its body. Empty for any other step."""
    if step.get("subtask_type") != "chord":
        return []
    body = (step.get("kwargs") or {}).get("body")
    return [] if body is None else [body]


def _errbacks_by_id(tasks: Iterable[Any], app: Any) -> Iterator[tuple[Any, list[Any]]]:
    """The id of each task's result, and its error callbacks. The result of a chord is the result of its body."""
    for task in tasks:
        signature = maybe_signature(task, app=app)
        found: list[Any] = []
        while isinstance(signature, chord) and signature.body is not None:
            found += maybe_list(signature.options.get("link_error")) or []
            signature = maybe_signature(signature.body, app=app)
        found += maybe_list(signature.options.get("link_error")) or []
        if isinstance(signature, group):
            for _, inside in _errbacks_by_id(signature.tasks, app):
                found += inside
        yield signature.options.get("task_id"), found


def _once(found: list[Any]) -> Iterator[Any]:
    seen: list[Any] = []
    for errback in found:
        if errback not in seen:
            seen.append(errback)
            yield errback
