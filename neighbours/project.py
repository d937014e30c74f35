"""A Celery app as people have it, with its neighbours; what it does is written to files beside the ledger."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from celery import Celery, signals
from celery_batches import Batches

import mirepoix

FOLDER = Path(os.environ["NEIGHBOURS_FOLDER"])
NEIGHBOUR = os.environ.get("NEIGHBOUR", "")


def tell(file: str, **what: Any) -> None:
    """Append one line to a file."""
    with (FOLDER / file).open("a") as lines:
        lines.write(json.dumps(what) + "\n")


def observe() -> None:
    """Start OpenTelemetry or Sentry in this process, as their pages say."""
    if NEIGHBOUR == "opentelemetry":
        from opentelemetry import trace
        from opentelemetry.instrumentation.celery import CeleryInstrumentor
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

        class ToFile(SpanExporter):
            def export(self, spans: Any) -> Any:
                for span in spans:
                    tell("spans", name=span.name, trace=f"{span.context.trace_id:x}", pid=os.getpid())
                return SpanExportResult.SUCCESS

        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(ToFile()))
        trace.set_tracer_provider(provider)
        CeleryInstrumentor().instrument()
    if NEIGHBOUR == "sentry":
        import sentry_sdk
        from sentry_sdk.integrations.celery import CeleryIntegration

        def keep(event: Any, _hint: Any) -> None:
            found = (event.get("contexts") or {}).get("trace") or {}
            words = [one.get("value") for one in (event.get("exception") or {}).get("values") or ()]
            tell("events", name=event.get("transaction"), trace=found.get("trace_id"), errors=words)

        sentry_sdk.init(
            "https://key@sentry.invalid/1",
            traces_sample_rate=1.0,
            before_send=keep,
            before_send_transaction=keep,
            integrations=[CeleryIntegration()],
        )


@signals.worker_process_init.connect(weak=False)
def _begin(**_: Any) -> None:
    observe()


if NEIGHBOUR == "sentry":
    observe()

app = Celery("project")
app.conf.task_send_sent_event = True
if "NEIGHBOURS_REDBEAT" in os.environ:
    app.conf.redbeat_redis_url = os.environ["NEIGHBOURS_REDBEAT"]
mirepoix.install(app, os.environ["NEIGHBOURS_LEDGER"])


@app.task(base=Batches, flush_every=3, flush_interval=60)
def total(requests: list[Any]) -> None:
    """Take three calls at once, and answer each."""
    tell("batches", ids=[request.id for request in requests])
    for request in requests:
        app.backend.mark_as_done(request.id, request.args[0], request=request)


@app.task
def add(x: int, y: int) -> int:
    """Return a sum."""
    return x + y


@app.task
def collect(values: list[int]) -> list[int]:
    """Return what the members returned."""
    return values


@app.task
def fail() -> None:
    """Raise."""
    raise ValueError("no stock")
