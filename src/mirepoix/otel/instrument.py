"""Trace the tasks of an app: ``instrument(app)``, once in each process that sends or runs tasks.

A task has a span for its sending, for each wait and for each attempt. The process that finds that an attempt's process
or worker died writes the span of that attempt, after the commit that takes the task back. If this process dies between
the two, that span is missing, and nothing else is.

If ``opentelemetry-instrumentation-celery`` is active in the process, it makes the spans of sending and of running, and
its context is used. This module then adds the waits and the attempts that died.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from contextvars import ContextVar
from importlib.metadata import version
from typing import Any

from celery import signals, states
from opentelemetry import context, propagate, trace
from opentelemetry.trace import Span, TracerProvider

from mirepoix.celery import context as attempts
from mirepoix.celery.installation import Installation, installation_of
from mirepoix.errors import ConfigurationError
from mirepoix.ledger.query.attempts import AttemptEnded, attempts_ended
from mirepoix.otel import spans
from mirepoix.otel.ids import use_ids
from mirepoix.otel.spans import AttemptOf
from mirepoix.records import LostTask
from mirepoix.states import AttemptOutcome

logger = logging.getLogger("mirepoix.otel")

OTHER = "opentelemetry.instrumentation.celery"
OUTCOMES = {
    states.SUCCESS: AttemptOutcome.SUCCEEDED.value,
    states.RETRY: AttemptOutcome.RETRIED.value,
    states.REJECTED: AttemptOutcome.REJECTED.value,
    states.IGNORED: AttemptOutcome.SUCCEEDED.value,
    states.REVOKED: AttemptOutcome.CANCELLED.value,
}
"""The outcome of an attempt by Celery's state at the end of its code."""

DIED = frozenset({AttemptOutcome.KILLED, AttemptOutcome.LOST})

_sending: ContextVar[tuple[str, Span] | None] = ContextVar("mirepoix_sending", default=None)
_running: ContextVar[tuple[str, Span, Any] | None] = ContextVar("mirepoix_running_span", default=None)


def instrument(app: Any, tracer_provider: TracerProvider | None = None, *, record_exceptions: bool = False) -> None:
    """Trace the tasks of *app*, on which Mirepoix is installed.

    With *record_exceptions* a failed attempt's span has the exception's message and traceback. They may contain
    arguments, so the default has the exception's type only.
    """
    installation = installation_of(app)
    if _traced_of(installation) is not None:
        raise ConfigurationError(f"{app!r} is traced already. Call mirepoix.otel.instrument(app) once.")
    tracer = trace.get_tracer("mirepoix", version("mirepoix"), tracer_provider)
    use_ids(tracer)
    traced = _Traced(installation, tracer, record_exceptions=record_exceptions)
    for signal, receiver in traced.receivers:
        signal.connect(receiver, weak=False)
    installation.observers.append(traced)


def uninstrument(app: Any) -> None:
    """Stop tracing *app*, if it is traced."""
    installation = installation_of(app)
    traced = _traced_of(installation)
    if traced is not None:
        installation.observers.remove(traced)
        for signal, receiver in traced.receivers:
            signal.disconnect(receiver)


def _traced_of(installation: Installation) -> _Traced | None:
    return next((found for found in installation.observers if isinstance(found, _Traced)), None)


def is_instrumented_by_other() -> bool:
    """Whether OpenTelemetry's own instrumentation of Celery is active in this process."""
    other = sys.modules.get(OTHER)
    return other is not None and bool(other.CeleryInstrumentor().is_instrumented_by_opentelemetry)


class _Traced:
    """One app's spans. The methods are receivers of Celery's signals. Celery does not say which app publishes."""

    def __init__(self, installation: Installation, tracer: Any, *, record_exceptions: bool) -> None:
        self._installation = installation
        self._tracer = tracer
        self._record_exceptions = record_exceptions
        self.receivers = (
            (signals.before_task_publish, self.before_publish),
            (signals.after_task_publish, self.after_publish),
            (signals.task_prerun, self.before_run),
            (signals.task_postrun, self.after_run),
            (signals.task_failure, self.failed),
            (signals.task_retry, self.retried),
        )

    def before_publish(
        self, sender: Any = None, headers: Any = None, routing_key: str | None = None, **more: Any
    ) -> None:
        if not isinstance(headers, dict) or is_instrumented_by_other():
            return
        self._end_send("the message was not sent")
        task_id = str(headers.get("id"))
        span = spans.send(self._tracer, str(sender), routing_key or "", task_id)
        propagate.inject(headers, context=trace.set_span_in_context(span))
        _sending.set((task_id, span))

    def after_publish(self, **_: Any) -> None:
        self._end_send(None)

    def before_run(self, task_id: str | None = None, task: Any = None, **_: Any) -> None:
        attempt = attempts.current()
        if attempt is None or attempt.installation is not self._installation or attempt.lease.task_id != task_id:
            return  # called eagerly: nothing waited, and no lease is held
        of = _attempt_of(attempt, task)
        spans.wait(self._tracer, of)
        if is_instrumented_by_other():
            return
        span = spans.process(self._tracer, of)
        _running.set((attempt.lease.task_id, span, context.attach(trace.set_span_in_context(span))))

    def after_run(self, task_id: str | None = None, state: str | None = None, **_: Any) -> None:
        running = _running.get()
        if running is None or running[0] != task_id:
            return
        ran, token = running[1:]
        _running.set(None)
        context.detach(token)
        ran.set_attribute("mirepoix.outcome", OUTCOMES.get(str(state), "failed"))
        ran.end()

    def failed(self, task_id: str | None = None, exception: Any = None, **_: Any) -> None:
        self._note(task_id, exception)

    def retried(self, request: Any = None, reason: Any = None, **_: Any) -> None:
        cause = getattr(reason, "exc", None) or reason
        self._note(getattr(request, "id", None), cause)

    def __call__(self, lost: Sequence[LostTask]) -> None:
        """Write the spans of attempts that died. The ledger has just committed their end."""
        try:
            with self._installation.source.reading() as tx:
                ended = attempts_ended(tx, [(task.task_id, task.fence) for task in lost])
        except self._installation.source.errors:
            logger.warning("the spans of %d attempt(s) that died cannot be written", len(lost), exc_info=True)
            return
        now = time.time()  # times of spans are by this host's clock
        for attempt in ended:
            if attempt.outcome in DIED:
                self._write_death(attempt, now)

    def _write_death(self, ended: AttemptEnded, now: float) -> None:
        ages = (ended.started_ago_s, ended.leased_ago_s, ended.finished_ago_s)
        began_ago_s = next(age for age in ages if age is not None)
        of = AttemptOf(
            task_id=ended.task_id,
            fence=ended.fence,
            name=ended.name,
            queue=ended.queue,
            retries=ended.retries,
            headers=ended.headers,
            taken_at=None if ended.leased_ago_s is None else now - ended.leased_ago_s,
            waited_s=ended.waited_s,
        )
        # The process that died may have written this span too. Both have the same id.
        spans.wait(self._tracer, of)
        error = f"signal {ended.signal}" if ended.signal else ended.error_type or "WorkerLostError"
        spans.died(self._tracer, of, ended.outcome, now - began_ago_s, now - ended.finished_ago_s, error)

    def _note(self, task_id: str | None, exception: Any) -> None:
        running = _running.get()
        if running is None or running[0] != task_id or not isinstance(exception, BaseException):
            return
        span = running[1]
        spans.fail(span, f"{type(exception).__module__}.{type(exception).__qualname__}")
        if self._record_exceptions:
            span.record_exception(exception)

    def _end_send(self, error: str | None) -> None:
        sending = _sending.get()
        if sending is not None:
            _sending.set(None)
            if error is not None:
                spans.fail(sending[1], "not_sent", error)
            sending[1].end()


def _attempt_of(attempt: attempts.Attempt, task: Any) -> AttemptOf:
    request = task.request
    return AttemptOf(
        task_id=attempt.lease.task_id,
        fence=attempt.lease.fence,
        name=task.name,
        queue=attempt.queue,
        retries=int(request.retries or 0),
        headers={**vars(request), **(request.headers or {})},
        taken_at=attempt.taken_at,
        waited_s=attempt.waited_s,
    )
