"""Send, run, wait, retry, end a chord, survive a killed process: on SQLite, in the pools of processes and in threads.

This file is also the app that the worker runs. It needs nothing but pytest, Mirepoix and Celery.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from celery import Celery, chord, current_task

import mirepoix
from pace import DEADLINE_S, until

FOLDER = Path(__file__).parent

app = Celery("smoke", set_as_current=False)
if "SMOKE_LEDGER" in os.environ:
    mirepoix.install(app, f"sqlite:///{os.environ['SMOKE_LEDGER']}")


@app.task(name="smoke.add")
def add(a: int, b: int) -> int:
    return a + b


@app.task(name="smoke.total")
def total(values: list[int]) -> int:
    return sum(values)


@app.task(name="smoke.later", bind=True, default_retry_delay=0)
async def later(self) -> list[str]:
    """Retry once; then return who it is, also as an asyncio task of it sees that."""

    async def look() -> str:
        await asyncio.sleep(0.01)
        return current_task.request.id

    await asyncio.sleep(0.01)
    if not self.request.retries:
        raise self.retry()
    return [self.request.id, await asyncio.create_task(look())]


@app.task(name="smoke.again", bind=True, default_retry_delay=0)
def again(self) -> int:
    if self.request.retries < 2:
        raise self.retry()
    return self.request.retries


@app.task(name="smoke.fail")
def fail() -> None:
    raise ValueError("it went wrong")


@app.task(name="smoke.die_once")
def die_once(mark: str) -> str:
    """Kill the pool's process, the first time."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a ledger."""
    return tmp_path_factory.mktemp("smoke") / "ledger.db"


@pytest.fixture(scope="module")
def client(ledger: Path) -> Iterator[Celery]:
    """An app that only sends."""
    client = Celery("client", set_as_current=False)
    mirepoix.install(client, f"sqlite:///{ledger}")
    yield client
    client.mirepoix.source.close()
    client.close()


@pytest.fixture(scope="module", params=["prefork", "mirepoix", "mirepoix-asyncio", "threads"])
def pool(request: pytest.FixtureRequest, ledger: Path) -> Iterator[str]:
    """The pool of a worker that runs; afterwards it stops as it should."""
    log = ledger.with_name(f"{request.param}.log")
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "test_smoke",
        "worker",
        "-n",
        f"{request.param}@smoke",
        "-l",
        "info",
    ]
    command += ["-P", request.param, "-c", "2", "--without-mingle", "--without-gossip"]
    with log.open("w") as file:
        worker = subprocess.Popen(
            command,
            cwd=FOLDER,
            env={**os.environ, "SMOKE_LEDGER": str(ledger), "PYTHONWARNINGS": "ignore"},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until(lambda: " ready." in log.read_text() or worker.poll() is not None, "the worker is ready")
        assert worker.poll() is None, log.read_text()
        yield request.param
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(DEADLINE_S) == 0, log.read_text()
    finally:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        print(log.read_text()[-20_000:])


def row(ledger: Path, id: str) -> tuple:
    """The state of a task, and how many processes died with it."""
    with closing(sqlite3.connect(ledger)) as connection:
        return connection.execute("SELECT state, deaths FROM mirepoix_task WHERE id = ?", [id]).fetchone()


def test_a_task_is_run_and_its_result_is_kept(client: Celery, ledger: Path, pool: str):
    sent = client.send_task("smoke.add", (2, 3))
    assert sent.get(timeout=DEADLINE_S) == 5
    assert row(ledger, sent.id) == ("succeeded", 0)


def test_a_failure_is_raised_where_it_is_waited_for(client: Celery, ledger: Path, pool: str):
    sent = client.send_task("smoke.fail")
    with pytest.raises(ValueError, match="it went wrong"):
        sent.get(timeout=DEADLINE_S)
    assert row(ledger, sent.id) == ("failed", 0)


def test_a_task_is_retried(client: Celery, ledger: Path, pool: str):
    sent = client.send_task("smoke.again")
    assert sent.get(timeout=DEADLINE_S) == 2
    assert row(ledger, sent.id) == ("succeeded", 0)


def test_coroutines_know_who_they_are(client: Celery, ledger: Path, pool: str):
    sent = [client.send_task("smoke.later") for _ in range(5)]
    for one in sent:
        assert one.get(timeout=DEADLINE_S) == [one.id, one.id]
        assert row(ledger, one.id) == ("succeeded", 0)


def test_the_body_of_a_chord_gets_what_its_members_return(client: Celery, pool: str):
    members = [client.signature("smoke.add", (number, number)) for number in range(5)]
    assert chord(members, app=client)(client.signature("smoke.total")).get(timeout=DEADLINE_S) == 20


def test_a_task_whose_process_is_killed_runs_again(client: Celery, ledger: Path, pool: str, tmp_path: Path):
    if pool == "threads":
        pytest.skip("a pool of threads has no process of its own")
    sent = client.send_task("smoke.die_once", (str(tmp_path / "died"),))
    assert sent.get(timeout=DEADLINE_S) == "survived"
    assert row(ledger, sent.id) == ("succeeded", 1)
