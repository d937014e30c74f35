"""Log records and structlog's events name the task that runs, and nothing outside of a task."""

from __future__ import annotations

import io
import json
import logging
import re
from pathlib import Path

import structlog
from opentelemetry.sdk.trace import TracerProvider

from mirepoix.celery import context
from mirepoix.celery.context import Attempt
from mirepoix.celery.logs import FIELDS, TaskFilter, add_task
from mirepoix.records import Lease

ATTEMPT = Attempt(Lease("id-1", 3, "w1"), "shop.pay")


def record(**extra: object) -> dict[str, object]:
    """The fields of a record that passes the filter."""
    made = logging.makeLogRecord({"msg": "x", **extra})
    assert TaskFilter().filter(made)
    return {name: getattr(made, name) for name in FIELDS}


def test_outside_of_a_task_the_fields_are_none():
    assert record() == dict.fromkeys(FIELDS)


def test_within_a_task_they_are_its_own():
    with context.running(ATTEMPT):
        assert record() == {
            **dict.fromkeys(FIELDS),
            "task_id": "id-1",
            "task_name": "shop.pay",
            "attempt": 3,
        }


def test_what_the_caller_says_stays():
    with context.running(ATTEMPT):
        assert record(task_id="other")["task_id"] == "other"


def test_the_current_span_is_named():
    tracer = TracerProvider().get_tracer("test")
    with tracer.start_as_current_span("s") as span:
        found = record()
    assert found["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert found["span_id"] == f"{span.get_span_context().span_id:016x}"


def test_structlog_writes_the_fields_that_are_known():
    written = io.StringIO()
    log = structlog.wrap_logger(
        structlog.PrintLogger(written), processors=[add_task, structlog.processors.JSONRenderer()]
    )
    log.info("before")
    with context.running(ATTEMPT):
        log.info("within", attempt="mine")
    before, within = (json.loads(line) for line in written.getvalue().splitlines())
    assert before == {"event": "before"}
    assert within == {"event": "within", "task_id": "id-1", "task_name": "shop.pay", "attempt": "mine"}


def test_the_code_of_the_page_runs():
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "traces.md").read_text("utf-8")
    assert len(page.split()) < 1_200
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks[1:]:
        exec(compile(block, "traces.md", "exec"), {})
    structlog.reset_defaults()
