"""Make the spans of a task: its sending, each wait for a worker, and each attempt.

The attributes follow OpenTelemetry's semantic conventions for messaging. ``mirepoix.attempt`` is the attempt's number
in ``mirepoix show``. No span has a task's arguments, or the message of an exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer

from mirepoix.otel.ids import giving, span_id

SYSTEM = "celery"
SEND, WAIT, PROCESS = "send", "wait", "process"


@dataclass(frozen=True, slots=True)
class AttemptOf:
    """An attempt to make spans of. Times are seconds since 1970 by the clock of one host."""

    task_id: str
    fence: int
    name: str
    queue: str
    retries: int
    headers: Mapping[str, Any]
    """The message's headers, with the context that its sender injected."""
    taken_at: float | None = None
    waited_s: float | None = None


def send(tracer: Tracer, name: str, queue: str, task_id: str) -> Span:
    """Start the span of a sending."""
    return tracer.start_span(
        f"{SEND} {queue}", kind=SpanKind.PRODUCER, attributes=_attributes(SEND, name, queue, task_id)
    )


def wait(tracer: Tracer, attempt: AttemptOf) -> None:
    """Write the span of the wait before an attempt, if it is known how long that was."""
    if attempt.taken_at is None or attempt.waited_s is None:
        return
    attributes = _attributes("receive", attempt.name, attempt.queue, attempt.task_id)
    with giving(span_id(WAIT, attempt.task_id, attempt.fence)):
        span = tracer.start_span(
            f"{WAIT} {attempt.queue}",
            context=parent_of(attempt),
            kind=SpanKind.CONSUMER,
            attributes={**attributes, **_own(attempt)},
            start_time=_ns(attempt.taken_at - attempt.waited_s),
        )
    span.end(_ns(attempt.taken_at))


def process(tracer: Tracer, attempt: AttemptOf, start_at: float | None = None) -> Span:
    """Start the span of an attempt, now or at *start_at*. It links to the attempt before."""
    attributes = _attributes(PROCESS, attempt.name, attempt.queue, attempt.task_id)
    parent = parent_of(attempt)
    with giving(span_id(PROCESS, attempt.task_id, attempt.fence)):
        return tracer.start_span(
            f"{PROCESS} {attempt.queue}",
            context=parent,
            kind=SpanKind.CONSUMER,
            attributes={**attributes, **_own(attempt)},
            links=_to_earlier(attempt, parent),
            start_time=None if start_at is None else _ns(start_at),
        )


def died(tracer: Tracer, attempt: AttemptOf, outcome: str, start_at: float, end_at: float, error: str) -> None:
    """Write the span of an attempt that cannot write its own, because its process or its worker died."""
    span = process(tracer, attempt, start_at)
    span.set_attribute("mirepoix.outcome", outcome)
    fail(span, error, f"the attempt was {outcome}")
    span.end(_ns(max(start_at, end_at)))


def fail(span: Span, error_type: str, words: str | None = None) -> None:
    """Say that what the span stands for failed."""
    span.set_attribute("error.type", error_type)
    span.set_status(Status(StatusCode.ERROR, words or error_type))


def parent_of(attempt: AttemptOf) -> Context:
    """Return the context that the sender injected. An attempt without it begins a trace of its own."""
    headers = {name: value for name, value in attempt.headers.items() if isinstance(value, str)}
    return propagate.extract(headers, context=Context())


def _to_earlier(attempt: AttemptOf, parent: Context) -> list[Link]:
    of_sender = trace.get_current_span(parent).get_span_context()
    if attempt.fence <= 1 or not of_sender.is_valid:
        return []
    earlier = SpanContext(
        of_sender.trace_id,
        span_id(PROCESS, attempt.task_id, attempt.fence - 1),
        is_remote=True,
        trace_flags=TraceFlags(of_sender.trace_flags),
    )
    return [Link(earlier, {"mirepoix.link": "earlier attempt"})]


def _attributes(operation: str, name: str, queue: str, task_id: str) -> dict[str, Any]:
    return {
        "messaging.system": SYSTEM,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": queue,
        "messaging.message.id": task_id,
        "mirepoix.task.name": name,
    }


def _own(attempt: AttemptOf) -> dict[str, Any]:
    return {"mirepoix.attempt": attempt.fence, "mirepoix.retries": attempt.retries}


def _ns(seconds: float) -> int:
    return int(seconds * 1_000_000_000)
