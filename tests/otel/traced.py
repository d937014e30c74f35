"""What a traced worker includes: it writes each span that ends to a file, at once. A copy is put beside the ledger."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import shop
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

import mirepoix.otel
from mirepoix.celery.logs import FIELDS, TaskFilter

FOLDER = Path(__file__).parent


class ToFile(SpanExporter):
    """Appends each span as one line of JSON."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        file = os.open(FOLDER / "spans.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        for span in spans:
            os.write(file, span.to_json(indent=None).encode() + b"\n")
        os.close(file)
        return SpanExportResult.SUCCESS


provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ToFile()))
trace.set_tracer_provider(provider)
if os.environ.get("TRACED_BY_OTHER"):
    from opentelemetry.instrumentation.celery import CeleryInstrumentor

    CeleryInstrumentor().instrument(tracer_provider=provider)
mirepoix.otel.instrument(shop.app)

handler = logging.FileHandler(FOLDER / "records.log")
handler.addFilter(TaskFilter())
handler.setFormatter(logging.Formatter("|".join(f"%({name})s" for name in (*FIELDS, "message"))))
logging.getLogger("traced").addHandler(handler)
logging.getLogger("traced").setLevel(logging.INFO)


@shop.app.task(bind=True)
def logs(self) -> str:
    """Log a line within a span of its own, and return the trace's id."""
    with trace.get_tracer("user").start_as_current_span("inner"):
        logging.getLogger("traced").info("works")
    return f"{trace.get_current_span().get_span_context().trace_id:032x}"


@shop.app.task(bind=True, max_retries=1)
def again(self) -> None:
    """Retry once."""
    if not self.request.retries:
        raise self.retry(countdown=0)


@shop.app.task(bind=True)
def inner_then_gate(self, name: str) -> None:
    """End a span of its own, and then wait to be killed."""
    with trace.get_tracer("user").start_as_current_span("inner"):
        pass
    with shop.run(self):
        shop.wait_for(name)
