"""Neighbours of a Celery app without Django."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from celery import chord

from conftest import DEADLINE_S, Place, until


def state_of(project: Any, task_id: str) -> str:
    with project.app.mirepoix.source.transaction() as tx:
        ((state,),) = tx.query("SELECT state FROM mirepoix_task WHERE id = :id", id=task_id)
    return str(state)


def test_celery_batches(place: Place, project: Any) -> None:
    place.worker()
    sent = [project.total.delay(n) for n in range(6)]
    assert [one.get(timeout=DEADLINE_S) for one in sent] == list(range(6))
    until(lambda: {state_of(project, one.id) for one in sent} == {"succeeded"}, "each call is recorded")
    assert [len(batch["ids"]) for batch in place.told("batches")] == [3, 3]


def test_opentelemetry(place: Place, project: Any) -> None:
    place.worker(NEIGHBOUR="opentelemetry")
    trace = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
    members = [project.add.s(n, n).set(headers=trace) for n in range(3)]
    assert chord(members)(project.collect.s()).get(timeout=DEADLINE_S) == [0, 2, 4]
    until(lambda: any(span["name"] == "run/project.collect" for span in place.told("spans")), "the body's span")
    spans = [span for span in place.told("spans") if "collect" in span["name"]]
    assert {span["name"] for span in spans} == {"apply_async/project.collect", "run/project.collect"}
    assert {span["trace"] for span in spans} == {"ab" * 16}


def test_sentry(place: Place, project: Any) -> None:
    place.worker(NEIGHBOUR="sentry")
    trace = {"sentry-trace": f"{'ab' * 16}-{'cd' * 8}-1"}
    members = [project.add.s(n, n).set(headers=trace) for n in range(3)]
    assert chord(members)(project.collect.s()).get(timeout=DEADLINE_S) == [0, 2, 4]
    project.fail.delay()

    def bodies() -> list[Any]:
        return [event["trace"] for event in place.told("events") if event["name"] == "project.collect"]

    until(bodies, "the body's transaction")
    assert bodies() == ["ab" * 16]
    until(lambda: any(event["errors"] == ["no stock"] for event in place.told("events")), "the error")


def test_flower(place: Place, project: Any) -> None:
    place.worker()
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    place.start(
        "celery", "-A", "project", "flower", f"--port={port}", "--address=127.0.0.1",
        FLOWER_UNAUTHENTICATED_API="true", says="Connected to",
    )  # fmt: skip

    def asked(path: str) -> Any:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{path}") as answer:
                return json.load(answer)
        except OSError:
            return None

    until(lambda: asked("workers?refresh=1"), "Flower sees the worker")
    sent = project.add.delay(1, 2)
    found = until(lambda: (asked("tasks") or {}).get(sent.id), "Flower sees the task")
    until(lambda: (asked("tasks") or {}).get(sent.id, {}).get("state") == "SUCCESS", "it has succeeded")
    assert found["name"] == "project.add"


REDBEAT = """
from datetime import timedelta
from celery.schedules import crontab, schedule
from redbeat import RedBeatSchedulerEntry
from project import app
app.conf.redbeat_redis_url = URL
RedBeatSchedulerEntry("sum", "project.add", schedule(timedelta(seconds=90)), args=[1, 2], app=app).save()
RedBeatSchedulerEntry("night", "project.add", crontab(hour=3, minute=0), args=[1, 2], enabled=False, app=app).save()
"""


def answers(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


def test_the_entries_of_redbeat_are_taken_over(place: Place, tmp_path: Path) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    redis = subprocess.Popen(["redis-server", "--port", str(port), "--save", "", "--dir", str(tmp_path)])
    try:
        until(lambda: answers(port), "Redis answers")
        url = f"redis://127.0.0.1:{port}/0"
        (tmp_path / "fill.py").write_text(REDBEAT.replace("URL", repr(url)))
        place.run("fill")
        command = ("celery", "-A", "project", "mirepoix", "schedules")
        said = place.run(*command, "import", "redbeat", NEIGHBOURS_REDBEAT=url)
    finally:
        redis.kill()
        redis.wait()
    assert "added: sum: project.add, every 1m" in said
    assert "added: night: project.add, 0 3 * * *, paused" in said
