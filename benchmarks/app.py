"""The Celery app of the benchmarks: the same tasks and settings on every system."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from benchmarks.slots import add
from celery import Celery

import mirepoix

CAUSES = 200
"""By how many causes `fails` can fail."""


def make_app(url: str, results_url: str | None = None, broker_url: str | None = None) -> Celery:
    """An app whose tasks go to *url*: a ledger (with a broker in front of it at *broker_url*), or a broker as Celery
    has it.

    Results are ignored, or kept at *results_url* (``mirepoix://``: in the ledger).
    """
    options = {}
    is_ledger = url.startswith(("postgresql:", "mysql:", "sqlite:"))
    if url.startswith("amqp:"):
        options["broker_transport_options"] = {"confirm_publish": True}
    broker = broker_url if is_ledger else url
    app = Celery("benchmarks", broker=broker, backend=results_url, set_as_current=False)
    app.conf.update(
        task_ignore_result=results_url is None,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        **options,
    )
    if os.environ.get("BENCHMARK_VISIBILITY_S"):
        app.conf.broker_transport_options = {
            "visibility_timeout": float(os.environ["BENCHMARK_VISIBILITY_S"]),
            **dict.fromkeys(("unacked_restore_interval", "unacked_restore_throttle"), 1),
        }
    if os.environ.get("BENCHMARK_PREFETCH"):
        app.conf.worker_prefetch_multiplier = int(os.environ["BENCHMARK_PREFETCH"])
    if is_ledger:
        settings = {}
        if broker_url:
            settings["delivery"] = "broker"
            app.conf.task_default_queue = "celery-ledger"
        if os.environ.get("BENCHMARK_ASYNCIO_PROCESSES"):
            settings["asyncio_processes"] = int(os.environ["BENCHMARK_ASYNCIO_PROCESSES"])
        if os.environ.get("BENCHMARK_LEASE_TTL_S"):
            settings["lease_ttl_s"] = float(os.environ["BENCHMARK_LEASE_TTL_S"])
        mirepoix.install(app, url, **settings)
    for function in (noop, anoop, answer, moment, latest, stamp, rest, rest_long, effect, fetch, poison, fails):
        app.task(name=function.__name__)(function)
    return app


def noop() -> None:
    """Only counts itself, in a page that is shared with whoever measures."""
    add()


async def anoop() -> None:
    """As `noop`, as a coroutine."""
    add()


def answer() -> int:
    """Counts itself, and returns something small."""
    add()
    return 42


def moment(number: int) -> float:
    """A member of a chord: returns when it ran."""
    return time.time()


def latest(moments: list[float]) -> tuple[int, float, float]:
    """The body of a chord: how many members there were, when the last of them ran, and when this began."""
    began_at = time.time()
    return len(moments), max(moments), began_at


def stamp(sent_at: float) -> None:
    """Notes how long ago it was sent."""
    append(f"{time.time() - sent_at}\n")


def rest(seconds: float) -> None:
    """Waits, as for the answer of a service."""
    time.sleep(seconds)


def rest_long(seconds: float) -> None:
    """Waits for longer, under a name of its own."""
    time.sleep(seconds)


def effect(key: str, seconds: float) -> None:
    """Notes when it begins and ends: the side effect that is counted after processes were killed."""
    append(f"start {key} {os.getpid()} {time.time()}\n")
    time.sleep(seconds)
    append(f"end {key} {os.getpid()} {time.time()}\n")


async def fetch(key: str, port: int) -> None:
    """Asks an HTTP server that takes its time, and notes when it begins and ends."""
    append(f"start {key} {os.getpid()} {time.time()}\n")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = await reader.read()
    writer.close()
    if not answer.endswith(b"ok"):
        raise RuntimeError(answer)
    append(f"end {key} {os.getpid()} {time.time()}\n")


def poison(key: str) -> None:
    """Kills the process it runs in."""
    append(f"start {key} {os.getpid()} {time.time()}\n")
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)


def append(line: str) -> None:
    """Add a line to the effects file, at once and whole."""
    file = os.open(os.environ["BENCHMARK_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)


def fails(cause: int) -> None:
    """Counts itself and fails, by the cause of that number."""
    add()
    raise _ERRORS[cause]("it cannot be")


_ERRORS = [
    type(f"Error{chr(65 + n // 20)}{chr(65 + n % 20)}", (Exception,), {"__module__": __name__}) for n in range(CAUSES)
]


if "BENCHMARK_URL" in os.environ:
    app = make_app(
        os.environ["BENCHMARK_URL"], os.environ.get("BENCHMARK_RESULTS_URL"), os.environ.get("BENCHMARK_BROKER")
    )
