"""The tasks that go wrong in `benchmarks.incidents`, with Mirepoix or as stock Celery."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

from celery import Celery

LEDGER = os.environ.get("INCIDENTS_LEDGER")
FOLDER = Path(os.environ.get("INCIDENTS_FOLDER", "."))
RELEASE = os.environ.get("INCIDENTS_RELEASE", "1")
SCHEDULE = bool(os.environ.get("INCIDENTS_SCHEDULE"))

app = Celery("incidents", broker=os.environ.get("INCIDENTS_BROKER", "memory://"))
app.conf.update(worker_send_task_events=True, task_send_sent_event=True, result_extended=True)
if LEDGER:
    import mirepoix

    mirepoix.install(app, LEDGER, release=RELEASE, lease_ttl_s=3.0, look_at_broker=False, schedules=SCHEDULE)
else:
    app.conf.result_backend = os.environ.get("INCIDENTS_BROKER")
    app.conf.broker_transport_options = {"visibility_timeout": int(os.environ.get("INCIDENTS_VISIBILITY", "3600"))}

if SCHEDULE:
    app.conf.beat_schedule = {"report": {"task": f"{__name__}.add", "schedule": 2.0, "args": (1, 2)}}

task = partial(app.task, shared=False)


@task
def call_api(n: int) -> int:
    if n % 10 < 3 and not (FOLDER / "api is well").exists():
        raise ConnectionError(f"the bank did not answer for order {n}: 503")
    return n


@task
def ship(order: int) -> None:
    """Callers of the next release also give *express*."""


@task
def sleep(seconds: float) -> None:
    time.sleep(seconds)


@task(acks_late=True, reject_on_worker_lost=True)
def grow(n: int) -> None:
    """The kernel kills the first attempt, as it does when memory ends."""
    seen = FOLDER / f"grow {n}"
    if not seen.exists():
        seen.touch()
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)


@task(acks_late=True)
def poison() -> None:
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)


@task
def query(seconds: float) -> None:
    """A statement of the shop's own database."""
    if not LEDGER:
        time.sleep(seconds)
        return
    import psycopg

    with psycopg.connect(LEDGER) as connection:
        connection.execute("SELECT pg_sleep(%s)", [seconds])


@task(acks_late=True)
def hold(file: str) -> None:
    """Run until the file is made."""
    (FOLDER / f"begun {os.getpid()}").touch()
    until = time.monotonic() + 120
    while not (FOLDER / file).exists() and time.monotonic() < until:
        time.sleep(0.05)


@task
def price(order: int) -> int:
    """The next release reads a field that orders do not have."""
    order_ = {"cents": order}
    return order_["price" if RELEASE == "2" else "cents"]


@task
def add(x: int, y: int) -> int:
    return x + y


@task
def total(values: list[int]) -> int:
    return sum(values)
