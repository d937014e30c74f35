"""Deliver starts and signals of workflows to Temporal: tasks of our own, which may run twice and have one effect.

The request id is the task's id, so Temporal knows a repetition. What is more, a start has the workflow's id.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from temporalio.api.common.v1 import Payloads, WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import WorkflowIdConflictPolicy, WorkflowIdReusePolicy
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    SignalWithStartWorkflowExecutionRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
)
from temporalio.client import Client
from temporalio.common import RetryPolicy as TemporalRetryPolicy
from temporalio.service import RPCError, RPCStatusCode

from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.errors import ConfigurationError, TemporalAway
from mirepoix.retries.policy import RetryPolicy
from mirepoix.temporal.loop import ClientLoop

START = "mirepoix.start_workflow"
SIGNAL = "mirepoix.signal_workflow"

PASSES = frozenset(
    {
        RPCStatusCode.CANCELLED,
        RPCStatusCode.UNKNOWN,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.ABORTED,
        RPCStatusCode.INTERNAL,
        RPCStatusCode.UNAVAILABLE,
    }
)
"""What Temporal's server says while it is away, starts or is too busy."""

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0

RETRIES = RetryPolicy(
    transient=(TemporalAway,),
    base_s=0.5,
    max_delay_s=30.0,
    max_attempts=None,
    max_age_s=30 * 24 * 3600.0,
    retry_after=None,
)
"""For a month. After that the task has failed, and is kept until somebody requeues it."""


def install(
    app: Any,
    address: str = "localhost:7233",
    *,
    namespace: str = "default",
    connect: Callable[[], Awaitable[Client]] | None = None,
) -> None:
    """Let *app* start and signal workflows of Temporal at *address*: its workers deliver them.

    *connect* makes the client in place of address and namespace: an async function, for TLS, API keys or a data
    converter of your own. Nothing is connected before a worker delivers. Raises ConfigurationError without
    `mirepoix.install`.
    """
    if getattr(app, "mirepoix", None) is None:
        raise ConfigurationError("Call mirepoix.install(app, ...) before mirepoix.temporal.install(app, ...).")

    async def connect_to_address() -> Client:
        return await Client.connect(address, namespace=namespace)

    loop = ClientLoop(connect or connect_to_address, f"Temporal at {address}")

    @app.task(name=START, bind=True, shared=False, typing=False, retries=RETRIES)  # type: ignore[untyped-decorator]
    def start_workflow(self: Any, **call: Any) -> str:
        task_id = self.request.id  # of this thread
        return loop.run(lambda client: _start(client, task_id, call))

    @app.task(name=SIGNAL, bind=True, shared=False, typing=False, retries=RETRIES)  # type: ignore[untyped-decorator]
    def signal_workflow(self: Any, **call: Any) -> None:
        task_id = self.request.id
        try:
            loop.run(lambda client: _signal(client, task_id, call))
        except RPCError as error:
            # The workflow's start may have been sent in the same transaction, and be delivered a moment later.
            if error.status != RPCStatusCode.NOT_FOUND or call["waited_s"] >= call["wait_s"]:
                raise
            pause_s = min(max(FIRST_PAUSE_S, call["waited_s"]), LONGEST_PAUSE_S)
            again = {**call, "waited_s": call["waited_s"] + pause_s}
            raise self.retry(kwargs=again, countdown=pause_s, max_retries=None, exc=error) from error


async def _start(client: Client, request_id: str, call: Mapping[str, Any]) -> str:
    is_signalled = bool(call["start_signal"])
    request: Any = SignalWithStartWorkflowExecutionRequest() if is_signalled else StartWorkflowExecutionRequest()
    request.namespace = client.namespace
    request.identity = client.identity
    request.request_id = request_id
    request.workflow_id = call["id"]
    request.workflow_type.CopyFrom(WorkflowType(name=call["workflow"]))
    request.task_queue.CopyFrom(TaskQueue(name=call["task_queue"]))
    request.input.CopyFrom(await _payloads(client, call["args"]))
    request.workflow_id_reuse_policy = WorkflowIdReusePolicy.ValueType(call["id_reuse_policy"])
    request.workflow_id_conflict_policy = WorkflowIdConflictPolicy.ValueType(call["id_conflict_policy"])
    for name, field in _DURATIONS.items():
        if call[name] is not None:
            getattr(request, field).FromTimedelta(timedelta(seconds=call[name]))
    if call["retry_policy"] is not None:
        _retry_policy(call["retry_policy"]).apply_to_proto(request.retry_policy)
    for name, value in (call["memo"] or {}).items():
        (payload,) = await client.data_converter.encode([value])
        request.memo.fields[name].CopyFrom(payload)
    service = client.workflow_service
    reached(Crashpoint.WORKFLOW_BEFORE_SEND)
    try:
        if is_signalled:
            request.signal_name = call["start_signal"]
            request.signal_input.CopyFrom(await _payloads(client, call["start_signal_args"]))
            answer: Any = await service.signal_with_start_workflow_execution(request, retry=True)
        else:
            answer = await service.start_workflow_execution(request, retry=True)
        run_id = str(answer.run_id)
    except RPCError as error:
        is_there = error.status == RPCStatusCode.ALREADY_EXISTS and not is_signalled
        if not is_there or call["id_reuse_policy"] != WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE:
            raise _told(error) from error
        # The id stands for one workflow, which has ended meanwhile: it was started by an earlier run of this task, or
        # by whoever started the same before.
        run_id = (await client.get_workflow_handle(call["id"]).describe()).run_id
    reached(Crashpoint.WORKFLOW_AFTER_SEND)
    return run_id


async def _signal(client: Client, request_id: str, call: Mapping[str, Any]) -> None:
    request = SignalWorkflowExecutionRequest(
        namespace=client.namespace,
        identity=client.identity,
        request_id=request_id,
        workflow_execution=WorkflowExecution(workflow_id=call["workflow_id"], run_id=call["run_id"] or ""),
        signal_name=call["signal"],
        input=await _payloads(client, call["args"]),
    )
    try:
        await client.workflow_service.signal_workflow_execution(request, retry=True)
    except RPCError as error:
        raise _told(error) from error


async def _payloads(client: Client, values: Any) -> Payloads:
    return Payloads(payloads=await client.data_converter.encode(values))


def _told(error: RPCError) -> Exception:
    return TemporalAway("Temporal", error) if error.status in PASSES else error


def _retry_policy(told: Mapping[str, Any]) -> TemporalRetryPolicy:
    longest_s = told["maximum_interval_s"]
    return TemporalRetryPolicy(
        initial_interval=timedelta(seconds=told["initial_interval_s"]),
        backoff_coefficient=told["backoff_coefficient"],
        maximum_interval=None if longest_s is None else timedelta(seconds=longest_s),
        maximum_attempts=told["maximum_attempts"],
        non_retryable_error_types=told["non_retryable_error_types"],
    )


_DURATIONS = {
    "execution_timeout_s": "workflow_execution_timeout",
    "run_timeout_s": "workflow_run_timeout",
    "task_timeout_s": "workflow_task_timeout",
    "start_delay_s": "workflow_start_delay",
}
