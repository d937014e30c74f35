"""Start and signal workflows in the caller's database transaction: a task of our own delivers it to Temporal once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from temporalio import workflow as workflows
from temporalio.common import RetryPolicy, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.converter import JSONPlainPayloadConverter

from mirepoix.errors import ConfigurationError
from mirepoix.temporal import private
from mirepoix.temporal.deliver import SIGNAL, START

if TYPE_CHECKING:
    from celery.result import AsyncResult


def start_workflow(
    app: Any,
    workflow: str | Callable[..., Any],
    *,
    args: Sequence[Any] = (),
    id: str,
    task_queue: str,
    id_conflict_policy: WorkflowIDConflictPolicy = WorkflowIDConflictPolicy.USE_EXISTING,
    id_reuse_policy: WorkflowIDReusePolicy = WorkflowIDReusePolicy.REJECT_DUPLICATE,
    execution_timeout: timedelta | None = None,
    run_timeout: timedelta | None = None,
    task_timeout: timedelta | None = None,
    start_delay: timedelta | None = None,
    retry_policy: RetryPolicy | None = None,
    memo: Mapping[str, Any] | None = None,
    start_signal: str | None = None,
    start_signal_args: Sequence[Any] = (),
    options: Mapping[str, Any] | None = None,
) -> AsyncResult[Any]:
    """Start a workflow when the caller's transaction commits, once; nothing is started if it is rolled back.

    What is sent is a Celery task of ours. Its `AsyncResult` is returned, and its result is the id of the run. *options*
    are those of ``apply_async``. With the policies that are the default a workflow id stands for one workflow: if there
    is one already, running or ended, it stays as it is, and the task succeeds.

    Raises ConfigurationError if `mirepoix.temporal.install` was not called on *app*, TypeError for arguments that are
    no JSON for Temporal's default converter.
    """
    call = {
        "workflow": _name(workflow),
        "args": _plain(args),
        "id": id,
        "task_queue": task_queue,
        "id_conflict_policy": int(id_conflict_policy),
        "id_reuse_policy": int(id_reuse_policy),
        "execution_timeout_s": _seconds(execution_timeout),
        "run_timeout_s": _seconds(run_timeout),
        "task_timeout_s": _seconds(task_timeout),
        "start_delay_s": _seconds(start_delay),
        "retry_policy": _retries(retry_policy),
        "memo": None if memo is None else dict(zip(memo, _plain([*memo.values()]), strict=True)),
        "start_signal": start_signal,
        "start_signal_args": _plain(start_signal_args),
    }
    return _task(app, START).apply_async((), call, **(options or {}))


def signal_workflow(
    app: Any,
    workflow_id: str,
    signal: str | Callable[..., Any],
    *,
    args: Sequence[Any] = (),
    run_id: str | None = None,
    wait_s: float = 60.0,
    options: Mapping[str, Any] | None = None,
) -> AsyncResult[Any]:
    """Signal a workflow when the caller's transaction commits, once for the run that gets it.

    As `start_workflow`. A workflow that does not run is waited for: its start may be on its way. After about *wait_s*
    the task fails. Two signals of one transaction may arrive in either order.
    """
    call = {
        "workflow_id": workflow_id,
        "signal": _name(signal),
        "args": _plain(args),
        "run_id": run_id,
        "wait_s": wait_s,
        "waited_s": 0.0,
    }
    return _task(app, SIGNAL).apply_async((), call, **(options or {}))


def _task(app: Any, name: str) -> Any:
    task = app.tasks.get(name)
    if task is None:
        raise ConfigurationError(
            "Call mirepoix.temporal.install(app, 'host:7233') where the Celery app is made: its workers deliver to "
            "Temporal."
        )
    return task


def _name(given: Any) -> str:
    if isinstance(given, str):
        return given
    for definition in private.definition_classes(workflows):
        found = definition.from_run_fn(given) if hasattr(definition, "from_run_fn") else definition.from_fn(given)
        if found is not None and found.name:
            return str(found.name)
    raise ConfigurationError(f"{given!r} is neither a name nor the run method or a signal of a workflow.")


def _plain(values: Sequence[Any]) -> list[Any]:
    """As Temporal's default converter writes them: a dataclass is a mapping."""
    converter = JSONPlainPayloadConverter()
    found = []
    for value in values:
        payload = converter.to_payload(value)
        if payload is None:
            raise TypeError(f"{type(value).__qualname__} is no JSON for Temporal's default converter.")
        found.append(json.loads(payload.data))
    return found


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()


def _retries(policy: RetryPolicy | None) -> dict[str, Any] | None:
    if policy is None:
        return None
    return {
        "initial_interval_s": policy.initial_interval.total_seconds(),
        "backoff_coefficient": policy.backoff_coefficient,
        "maximum_interval_s": _seconds(policy.maximum_interval),
        "maximum_attempts": policy.maximum_attempts,
        "non_retryable_error_types": [*(policy.non_retryable_error_types or ())],
    }
