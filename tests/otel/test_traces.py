"""Traces of real workers: every attempt has a span, also one whose process or worker was killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from workers import Process, Shop, until

import mirepoix.otel
from mirepoix.errors import ConfigurationError
from mirepoix.otel.ids import span_id

pytestmark = pytest.mark.slow


class Traced:
    """A shop with a traced client in this process, and traced workers."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.sent = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.sent))
        shutil.copyfile(Path(__file__).with_name("traced.py"), shop.folder / "traced.py")

    def worker(self, name: str = "w1", **options: Any) -> Process:
        return self.shop.worker(name, "--include", "traced", **options)

    def send(self, name: str, *args: Any) -> str:
        return self.shop.app.send_task(name, args=args).id

    def spans(self, task_id: str) -> list[dict[str, Any]]:
        """What the workers wrote of that task."""
        return [span for span in self.all() if span["attributes"].get("messaging.message.id") == task_id]

    def all(self) -> list[dict[str, Any]]:
        file = self.shop.folder / "spans.jsonl"
        whole = file.read_text().rpartition("\n")[0] if file.exists() else ""
        return [json.loads(line) for line in whole.splitlines()]

    def wait(self, task_id: str, **counts: int) -> dict[str, list[dict[str, Any]]]:
        """Wait for so many spans of each operation; return them by operation, in the order of attempts."""

        def found() -> dict[str, list[dict[str, Any]]]:
            by: dict[str, list[dict[str, Any]]] = {name: [] for name in counts}
            for span in sorted(self.spans(task_id), key=lambda span: span["attributes"].get("mirepoix.attempt", 0)):
                by.setdefault(span["name"].partition(" ")[0], []).append(span)
            return by

        until(
            lambda: all(len({s["context"]["span_id"] for s in found()[name]}) >= n for name, n in counts.items()),
            f"spans {counts}",
        )
        return found()


def tracing(shop: Shop) -> Iterator[Traced]:
    """The sender is traced by us."""
    traced = Traced(shop)
    mirepoix.otel.instrument(shop.app, traced.provider)
    yield traced
    mirepoix.otel.uninstrument(shop.app)


@pytest.fixture
def traced_anywhere(shop: Shop) -> Iterator[Traced]:
    """On each database: what reads an attempt's row."""
    yield from tracing(shop)


@pytest.fixture
def traced(shop_on_sqlite: Shop) -> Iterator[Traced]:
    """On SQLite: what does not depend on the database."""
    yield from tracing(shop_on_sqlite)


def hexadecimal(number: int, digits: int) -> str:
    return f"0x{number:0{digits}x}"


def test_a_task_has_a_span_for_its_sending_its_wait_and_its_attempt(traced: Traced) -> None:
    id = traced.send("traced.logs")
    (send,) = traced.sent.get_finished_spans()
    traced.worker()
    spans = traced.wait(id, wait=1, process=1)
    (wait,), (process,) = spans["wait"], spans["process"]
    assert send.name == "send celery"
    assert send.kind.name == "PRODUCER"
    for span in (wait, process):
        assert span["context"]["trace_id"] == hexadecimal(send.context.trace_id, 32)
        assert span["parent_id"] == hexadecimal(send.context.span_id, 16)
        assert span["attributes"]["messaging.system"] == "celery"
        assert span["attributes"]["messaging.destination.name"] == "celery"
        assert span["attributes"]["mirepoix.task.name"] == "traced.logs"
        assert span["attributes"]["mirepoix.attempt"] == 1
    assert process["context"]["span_id"] == hexadecimal(span_id("process", id, 1), 16)
    assert process["attributes"]["mirepoix.outcome"] == "succeeded"
    assert process["kind"] == "SpanKind.CONSUMER"
    assert wait["end_time"] <= process["start_time"]
    (inner,) = [span for span in traced.all() if span["name"] == "inner"]
    assert inner["parent_id"] == process["context"]["span_id"]


def test_log_records_name_the_task_and_the_trace(traced: Traced) -> None:
    id = traced.send("traced.logs")
    traced.worker()
    traced.shop.wait(id, "succeeded")
    (send,) = traced.sent.get_finished_spans()
    (line,) = (traced.shop.folder / "records.log").read_text().splitlines()
    found = line.split("|")
    assert found[:4] == [id, "traced.logs", "1", f"{send.context.trace_id:032x}"]
    assert found[5] == "works"


@pytest.mark.parametrize("kill", ["process", "worker"])
def test_an_attempt_that_was_killed_has_a_span_and_the_next_links_to_it(traced_anywhere: Traced, kill: str) -> None:
    traced = traced_anywhere
    worker = traced.worker(concurrency=1)
    id = traced.send("traced.inner_then_gate", "open")
    traced.shop.begun(id)
    if kill == "process":
        os.kill(traced.shop.effects(id, "begin")[0].pid, signal.SIGKILL)
    else:
        until(lambda: traced.shop.state(id) == "running", "the ledger knows that it runs")
        worker.remove()
        traced.worker("w2", concurrency=1)
    traced.shop.begun(id, 2)
    traced.shop.make("open")
    first, second = traced.wait(id, process=2)["process"]
    assert first["attributes"]["mirepoix.outcome"] == ("killed" if kill == "process" else "lost")
    assert first["status"]["status_code"] == "ERROR"
    assert first["attributes"]["error.type"] == ("signal 9" if kill == "process" else "WorkerLostError")
    assert first["start_time"] < first["end_time"] <= second["end_time"]
    assert second["attributes"]["mirepoix.outcome"] == "succeeded"
    (link,) = second["links"]
    assert link["context"]["span_id"] == first["context"]["span_id"]
    assert first["parent_id"] == second["parent_id"]
    inner = [span for span in traced.all() if span["name"] == "inner"]
    assert {span["parent_id"] for span in inner} == {first["context"]["span_id"], second["context"]["span_id"]}


def test_a_retry_is_in_the_same_trace_and_links_to_the_attempt_before(traced: Traced) -> None:
    traced.worker()
    id = traced.send("traced.again")
    (send,) = traced.sent.get_finished_spans()
    spans = traced.wait(id, process=2, wait=2, send=1)
    first, second = spans["process"]
    assert first["attributes"]["mirepoix.outcome"] == "retried"
    assert second["attributes"]["mirepoix.retries"] == 1
    assert second["links"][0]["context"]["span_id"] == first["context"]["span_id"]
    assert {span["context"]["trace_id"] for found in spans.values() for span in found} == {
        hexadecimal(send.context.trace_id, 32)
    }
    assert spans["send"][0]["parent_id"] == first["context"]["span_id"]
    assert second["parent_id"] == spans["send"][0]["context"]["span_id"]


def test_a_failure_has_the_type_of_its_exception_and_not_its_message(traced: Traced) -> None:
    traced.worker()
    id = traced.send("shop.fail")
    (process,) = traced.wait(id, process=1)["process"]
    assert process["attributes"]["mirepoix.outcome"] == "failed"
    assert process["attributes"]["error.type"] == "builtins.ValueError"
    assert process["status"]["status_code"] == "ERROR"
    assert process["events"] == []


def test_beside_opentelemetrys_own_instrumentation_each_thing_has_one_span(shop_on_sqlite: Shop) -> None:
    shop = shop_on_sqlite
    from opentelemetry.instrumentation.celery import CeleryInstrumentor

    traced = Traced(shop)
    other = CeleryInstrumentor()
    other.instrument(tracer_provider=traced.provider)
    mirepoix.otel.instrument(shop.app, traced.provider)
    try:
        with traced.provider.get_tracer("request").start_as_current_span("request") as request:
            id = traced.send("shop.die_once", "die")
        shop.make("die")
        headers = (
            json.loads(shop.row(id)["headers"]) if isinstance(shop.row(id)["headers"], str) else shop.row(id)["headers"]
        )
        trace_id = f"{request.get_span_context().trace_id:032x}"
        assert headers["traceparent"].split("-")[1] == trace_id
        traced.worker(env={"TRACED_BY_OTHER": "1"})
        shop.wait(id, "succeeded")
        spans = traced.wait(id, process=1, wait=2)
        (killed,) = spans["process"]
        assert killed["attributes"]["mirepoix.outcome"] == "killed"
        until(lambda: [s for s in traced.all() if s["name"] == "run/shop.die_once"], "the other wrote the second run")
        (run,) = [span for span in traced.all() if span["name"] == "run/shop.die_once"]
        found = {span["context"]["trace_id"] for span in [run, killed, *spans["wait"]]}
        assert found == {f"0x{trace_id}"}
        assert run["parent_id"] == killed["parent_id"] == "0x" + headers["traceparent"].split("-")[2]
    finally:
        mirepoix.otel.uninstrument(shop.app)
        other.uninstrument()


def test_an_app_is_traced_once(traced: Traced) -> None:
    with pytest.raises(ConfigurationError, match="is traced already"):
        mirepoix.otel.instrument(traced.shop.app)
