"""A backend of ``django.tasks`` (Django 6) and its backport ``django-tasks``: the ledger stores, Celery runs the tasks.

::

    TASKS = {"default": {"BACKEND": "mirepoix.django.backend.LedgerBackend"}}

Each function with ``@task`` is a Celery task of the same name. So everything that the documentation says about Celery
tasks, from the signature lock to the admin, is true of it too.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from importlib.util import find_spec
from typing import Any
from weakref import WeakSet

from asgiref.sync import sync_to_async
from celery import shared_task
from celery.exceptions import TaskPredicate
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import close_old_connections
from django.utils import timezone
from django.utils.module_loading import import_string

from mirepoix.celery.installation import Installation
from mirepoix.django import project
from mirepoix.errors import ConfigurationError
from mirepoix.ledger.query.task_detail import AttemptLine, TaskDetail, task_detail
from mirepoix.states import HELD, WAITING, State

if find_spec("django.tasks") is not None:
    from django.tasks import DEFAULT_TASK_QUEUE_NAME, TaskContext, TaskResult, TaskResultStatus
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import DEFAULT_TASK_PRIORITY, Task, TaskError
    from django.tasks.exceptions import TaskResultDoesNotExist
    from django.tasks.signals import task_enqueued, task_finished, task_started
    from django.utils.json import normalize_json
elif find_spec("django_tasks") is not None:
    from django_tasks import DEFAULT_TASK_QUEUE_NAME, TaskContext, TaskResult, TaskResultStatus
    from django_tasks.backends.base import BaseTaskBackend
    from django_tasks.base import DEFAULT_TASK_PRIORITY, Task, TaskError
    from django_tasks.exceptions import TaskResultDoesNotExist
    from django_tasks.signals import task_enqueued, task_finished, task_started
    from django_tasks.utils import normalize_json
else:
    raise ImproperlyConfigured(
        "LedgerBackend needs django.tasks, which Django has from 6.0 on. Before that: pip install django-tasks"
    )

_OURS = ("name", "bind", "ignore_result")
"""Options of a Celery task that the backend sets itself."""

_LOST = "billiard.exceptions.WorkerLostError"

_ENDS = {
    State.CANCELLED: "celery.exceptions.TaskRevokedError",
    State.EXPIRED: "celery.exceptions.TaskRevokedError",
    State.QUARANTINED: _LOST,
    State.PARKED: "celery.exceptions.NotRegistered",
    State.FAILED: "celery.exceptions.TaskError",
}
"""The exception of a task that did not succeed, if none of its attempts raised one."""

_functions: WeakSet[Callable[..., Any]] = WeakSet()
"""The functions that are Celery tasks already."""


class LedgerBackend(BaseTaskBackend):  # type: ignore[misc]  # neither brings types
    """A backend with every capability of the interface: deferred tasks, coroutines, results anywhere, priorities.

    ``enqueue()`` writes into the ledger as ``delay()`` does: inside ``atomic()`` it is part of that transaction. A
    task whose worker dies is run again, so a function may run more than once unless it is transactional.
    ``QUEUES`` are Celery's queues. The queue ``"default"`` is the queue that Celery chooses for the task.
    ``OPTIONS`` are options of a Celery task (``transactional``, ``time_limit``, ``version``, …) for all tasks of this
    backend. Raises ImproperlyConfigured for options that the backend sets itself.

    Results are stored as long as other results (``result_expires``, ``prune``). With ``delivery="broker"`` the
    broker has ten priorities: RabbitMQ treats all below 0 as equal, and Redis all above 0.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        refused = [name for name in _OURS if name in self.options]
        if refused:
            raise ImproperlyConfigured(
                f"TASKS[{alias!r}]['OPTIONS'] may not have {', '.join(refused)}, because the backend sets it. Use "
                "options of a Celery task, such as transactional, time_limit or version."
            )

    def validate_task(self, task: Any) -> None:
        """Make *task* a Celery task. Raises the interface's errors if it cannot be a task."""
        super().validate_task(task)
        if task.func not in _functions:
            _functions.add(task.func)
            options = {**self.options, "name": task.module_path, "ignore_result": False}
            shared_task(bind=True, **options)(_as_celery_calls(task, self.alias))

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Write the call into the ledger. Raises what ``apply_async()`` raises; then nothing is written."""
        self.validate_task(task)
        installation = _installation()
        args, kwargs = normalize_json(list(args)), normalize_json(dict(kwargs))
        options: dict[str, Any] = {}
        if task.queue_name != DEFAULT_TASK_QUEUE_NAME:
            options["queue"] = task.queue_name
        if task.priority != DEFAULT_TASK_PRIORITY:
            options["priority"] = _priority(installation, task.priority)
        if task.run_after is not None:
            options["eta"] = (
                timezone.make_aware(task.run_after) if timezone.is_naive(task.run_after) else task.run_after
            )
        sent = installation.app.tasks[task.module_path].apply_async(args, kwargs, **options)
        result = _new(task, sent.id, args, kwargs, self.alias)
        task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> Any:
        """Return the task's result from the ledger. Raises TaskResultDoesNotExist if the id is unknown or pruned.

        Failed, expired, cancelled, quarantined and parked tasks are FAILED. They are READY again when they are
        requeued.
        """
        installation = _installation()
        with installation.source.reading() as tx:
            detail = task_detail(tx, str(result_id))
        task = None if detail is None else _task_of(detail.name)
        if detail is None or task is None:
            raise TaskResultDoesNotExist(result_id)
        return self._result(installation, task, detail)

    def _result(self, installation: Installation, task: Any, detail: TaskDetail) -> Any:
        begun = [attempt for attempt in detail.attempts if attempt.started_at is not None]
        status = _status(detail.state)
        args, kwargs = detail.arguments or ([], {})
        result = TaskResult(
            task=self._as_sent(installation, task, detail),
            id=detail.id,
            status=status,
            enqueued_at=_local(detail.created_at),
            started_at=_local(begun[0].started_at if begun else detail.started_at),
            last_attempted_at=_local(begun[-1].started_at if begun else detail.started_at),
            finished_at=_local(detail.finished_at),
            args=args,
            kwargs=kwargs,
            backend=self.alias,
            errors=_errors(detail, status),
            worker_ids=[attempt.worker or attempt.worker_id or "" for attempt in detail.attempts],
        )
        if status == TaskResultStatus.SUCCESSFUL:
            _set(result, _return_value=installation.app.AsyncResult(detail.id).result)
        return result

    def _as_sent(self, installation: Installation, task: Any, detail: TaskDetail) -> Any:
        """Return *task* with the options of that call."""
        changed: dict[str, Any] = {}
        if detail.queue in self.queues or (
            not self.queues and detail.queue != installation.app.conf.task_default_queue
        ):
            changed["queue_name"] = detail.queue
        if installation.delivery != "broker":
            changed["priority"] = detail.priority
        return task.using(run_after=_local(detail.eta), backend=self.alias, **changed)

    def running(self, celery_task: Any, task: Any) -> Any:
        """Return the result for the function that is running. *celery_task* is ``self`` of Celery's task."""
        request, now = celery_task.request, timezone.now()
        try:
            result = self.get_result(request.id)
        except TaskResultDoesNotExist:  # a coroutine in a test, which does not see the test's transaction
            result = _new(task, request.id, request.args, request.kwargs, self.alias)
        if not result.worker_ids:  # run by a test, which is no worker
            result.worker_ids.append(str(request.hostname or ""))
        _set(
            result,
            status=TaskResultStatus.RUNNING,
            started_at=result.started_at or now,
            last_attempted_at=now,
            finished_at=None,
        )
        return result


def _new(task: Any, id: str, args: Sequence[Any], kwargs: Mapping[str, Any], alias: str) -> Any:
    """Return the result of a task that was sent a moment ago."""
    return TaskResult(
        task=task,
        id=id,
        status=TaskResultStatus.READY,
        enqueued_at=timezone.now(),
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        args=args,
        kwargs=kwargs,
        backend=alias,
        errors=[],
        worker_ids=[],
    )


def _set(result: Any, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(result, name, value)  # the class is frozen


def _succeeded(result: Any, returned: Any) -> Any:
    _set(result, status=TaskResultStatus.SUCCESSFUL, finished_at=timezone.now(), _return_value=returned)
    return result


def _failed(result: Any) -> Any:
    _set(result, status=TaskResultStatus.FAILED, finished_at=timezone.now())
    return result


def _as_celery_calls(task: Any, alias: str) -> Callable[..., Any]:
    """Wrap the function of *task* for Celery: it gets the Celery task first, and returns only JSON."""
    function, takes_context = task.func, task.takes_context

    def begin(celery_task: Any) -> tuple[Any, list[Any]]:
        result = _backends()[alias].running(celery_task, task)
        return result, [TaskContext(task_result=result)] if takes_context else []

    @functools.wraps(function)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        result, first = begin(self)
        _send(task_started, result)
        try:
            returned = normalize_json(function(*first, *args, **kwargs))
        except TaskPredicate:  # Celery's Retry, Ignore and Reject do not end the task with an error
            raise
        except Exception:
            _send(task_finished, _failed(result))
            raise
        _send(task_finished, _succeeded(result, returned))
        return returned

    @functools.wraps(function)
    async def arun(self: Any, *args: Any, **kwargs: Any) -> Any:
        result, first = begin(self)
        await _asend(task_started, result)
        try:
            returned = normalize_json(await function(*first, *args, **kwargs))
        except TaskPredicate:
            raise
        except Exception:
            await _asend(task_finished, _failed(result))
            raise
        await _asend(task_finished, _succeeded(result, returned))
        return returned

    wrapper: Any = arun if inspect.iscoroutinefunction(function) else run
    own = inspect.signature(function)
    if not takes_context:
        first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        own = own.replace(parameters=[first, *own.parameters.values()])
    wrapper.__signature__ = own
    return wrapper  # type: ignore[no-any-return]


def _send(signal: Any, result: Any) -> None:
    signal.send(LedgerBackend, task_result=result)


async def _asend(signal: Any, result: Any) -> None:
    """Send a signal from a coroutine. Then close the connections that receivers opened in their thread."""

    def send() -> None:
        try:
            _send(signal, result)
        finally:
            close_old_connections()

    await sync_to_async(send)()


def _backends() -> Any:
    module = BaseTaskBackend.__module__.partition(".backends")[0]
    return import_string(f"{module}.task_backends")


def _installation() -> Installation:
    installation = project.installation()
    if not project.has_ledger_of(installation):
        raise ConfigurationError(
            f"TASKS needs the ledger in Django's database, and it is in {installation.source.label}. Call "
            "mirepoix.install(app) without a URL."
        )
    return installation


def _priority(installation: Installation, wanted: int) -> int:
    """Convert a priority from -100 to 100 for Celery: unchanged in the ledger, and 0 to 9 for a broker."""
    if installation.delivery != "broker":
        return wanted
    scaled = math.ceil(abs(wanted) * 9 / 100)
    is_amqp = str(installation.app.conf.broker_url or "").startswith(("amqp", "pyamqp"))
    return scaled if (wanted > 0) == is_amqp else 0  # kombu's other transports take 0 for the most urgent


def _task_of(name: str) -> Any:
    """Return the task of ``django.tasks`` with that name, or None."""
    try:
        found = import_string(name)
    except ImportError:
        return None
    return found if isinstance(found, Task) else None


def _status(state: State) -> Any:
    if state in WAITING or state is State.LEASED:
        return TaskResultStatus.READY
    if state in HELD:
        return TaskResultStatus.RUNNING
    return TaskResultStatus.SUCCESSFUL if state is State.SUCCEEDED else TaskResultStatus.FAILED


def _errors(detail: TaskDetail, status: Any) -> list[Any]:
    raised = [_error(attempt) for attempt in detail.attempts if attempt.error_type or attempt.outcome == "lost"]
    if status == TaskResultStatus.FAILED and not raised:
        raised.append(TaskError(exception_class_path=_ENDS[detail.state], traceback=detail.reason or ""))
    return raised


def _error(attempt: AttemptLine) -> Any:
    raised = attempt.error_type
    # The ledger records the death of a process as an error without a module.
    path = raised if raised and raised != "WorkerLostError" else _LOST
    return TaskError(exception_class_path=path, traceback=attempt.traceback or attempt.error or "")


def _local(moment: datetime | None) -> datetime | None:
    """Return *moment* as the project represents times: naive without ``USE_TZ``."""
    return moment if moment is None or settings.USE_TZ else timezone.make_naive(moment)
