"""The app that the real workers run: every task writes what it does to an effects file.

A copy of this file is put beside each test's ledger. Its settings come from the environment, as JSON.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from celery import Celery, signals
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.worker.request import Request

import mirepoix

FOLDER = Path(__file__).parent
PACE = float(os.environ.get("MIREPOIX_TESTS_PACE", "1"))

app = Celery("shop", broker=os.environ["SHOP_BROKER"])
app.conf.update(json.loads(os.environ.get("SHOP_CONF", "{}")))
if "SHOP_STOCK" not in os.environ:  # Celery as it is
    mirepoix.install(app, os.environ["SHOP_LEDGER"], **json.loads(os.environ.get("SHOP_SETTINGS", "{}")))


def tell(task: Any, what: str, **more: Any) -> None:
    """Append one line to the effects file: at once, and whole."""
    mark = getattr(task.request, "mirepoix", None) or {}
    line = {
        "at": time.monotonic(),  # the same clock in every process
        "what": what,
        "id": task.request.id,
        "name": task.name,
        "retries": task.request.retries,
        "fence": mark.get("fence"),
        "pid": os.getpid(),
        **more,
    }
    file = os.open(FOLDER / "effects.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, json.dumps(line).encode() + b"\n")
    os.close(file)


@contextmanager
def run(task: Any, **more: Any) -> Iterator[None]:
    """Tell when it begins and ends, and whether another run of the same task is under way.

    The kernel frees the lock when the process dies: whoever finds it taken overlaps with a run that lives.
    """
    lock = os.open(FOLDER / "runs" / str(task.request.id), os.O_WRONLY | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        tell(task, "overlap")
    try:
        tell(task, "begin", **more)
        yield
        tell(task, "end")
    except BaseException as error:
        tell(task, "raise", error=type(error).__name__)
        raise
    finally:
        os.close(lock)


def wait_for(name: str, timeout_s: float = 60.0 * PACE) -> None:
    """Wait until the test makes a file of that name."""
    until = time.monotonic() + timeout_s
    while not (FOLDER / name).exists():
        if time.monotonic() > until:
            raise TimeoutError(f"the test never made {name}")
        time.sleep(0.01)


def taken(name: str) -> bool:
    """Take a file that the test made; True for one process only."""
    try:
        (FOLDER / name).unlink()
    except FileNotFoundError:
        return False
    return True


@app.task(bind=True)
def note(self: Any, *_: Any, **__: Any) -> None:
    """Tell that it ran."""
    with run(self):
        pass


@app.task(bind=True, max_retries=1)
def headed(self: Any) -> Any:
    """Return the headers of its message that are the caller's, after a retry."""
    with run(self):
        if not self.request.retries:
            raise self.retry(countdown=0)
        return self.request.headers


@app.task(bind=True)
def spin(self: Any, seconds: float) -> None:
    """Take that long."""
    with run(self):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.01)


@app.task(bind=True)
def gate(self: Any, name: str) -> str:
    """Run until the test makes a file of that name."""
    with run(self):
        wait_for(name)
    return name


@app.task(bind=True)
def add(self: Any, x: float, y: float) -> float:
    """Return a sum."""
    with run(self, x=x, y=y):
        return x + y


@app.task(bind=True)
def two(self: Any, a: int, *, b: int) -> None:
    """Take one argument each way."""
    with run(self, a=a, b=b):
        pass


@app.task(bind=True)
def fail(self: Any, words: str = "no stock") -> None:
    """Raise."""
    with run(self):
        raise ValueError(words)


@app.task(bind=True, max_retries=5)
def again(self: Any, times: int, countdown: float = 0.0) -> None:
    """Ask for so many retries, then succeed."""
    with run(self):
        if self.request.retries < times:
            raise self.retry(countdown=countdown, exc=KeyError("not yet"))


@app.task(bind=True, autoretry_for=(KeyError,), default_retry_delay=0, max_retries=2)
def again_by_itself(self: Any) -> None:
    """Raise what is retried automatically, for ever."""
    with run(self):
        raise KeyError("not yet")


@app.task(bind=True)
def soft(self: Any) -> None:
    """Run into the soft time limit and say so."""
    with run(self):
        try:
            wait_for("never")
        except SoftTimeLimitExceeded:
            tell(self, "soft limit")
            raise


class HookedRequest(Request):
    """Tell what the worker itself hears of a task."""

    def on_failure(self, *args: Any, **kwargs: Any) -> Any:
        """It raised, or worse."""
        super().on_failure(*args, **kwargs)
        tell_of(self.task, self.id, "request.on_failure")

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """A time limit passed."""
        super().on_timeout(soft, timeout)
        tell_of(self.task, self.id, f"request.on_timeout {soft}")


class Hooked(app.Task):
    """Tell what a task hears of its own failure."""

    Request = HookedRequest

    def on_failure(self, *_: Any) -> None:
        """It failed."""
        tell(self, "on_failure")

    def after_return(self, status: str, *_: Any) -> None:
        """It is over."""
        tell(self, f"after_return {status}")


def tell_of(task: Any, id: str, what: str) -> None:
    """Tell it of a task that does not run here."""
    task.push_request(id=id)
    tell(task, what)
    task.pop_request()


@app.task(bind=True, base=Hooked)
def hooked(self: Any, name: str) -> None:
    """Run until the test makes a file of that name."""
    with run(self):
        wait_for(name)


@signals.task_failure.connect(sender=hooked)
def hear_of_failure(sender: Any, **_: Any) -> None:
    """The signal."""
    tell(sender, "task_failure")


@app.task(bind=True)
def die(self: Any, number: int = signal.SIGKILL, after_s: float = 0.0) -> None:
    """Kill the process it runs in, each time."""
    with run(self):
        time.sleep(after_s)
        os.kill(os.getpid(), number)
        wait_for("never")


@app.task(bind=True)
def die_once(self: Any, token: str) -> None:
    """Kill the process it runs in if the test's token is there."""
    with run(self):
        if taken(token):
            wait_for_note(self)
            os.kill(os.getpid(), signal.SIGKILL)


def wait_for_note(task: Any) -> None:
    """Wait until the ledger says that this task runs: from then on a death is its own."""
    from mirepoix import installation_of

    until = time.monotonic() + 30 * PACE
    while time.monotonic() < until:
        with installation_of(app).source.transaction() as tx:
            ((state,),) = tx.query("SELECT state FROM mirepoix_task WHERE id = :id", id=task.request.id)
        if state == "running":
            return
        time.sleep(0.01)
    raise TimeoutError("the ledger never said that this task runs")


@app.task(bind=True)
def leave(self: Any, code: int = 3) -> None:
    """Call sys.exit."""
    with run(self):
        sys.exit(code)


@app.task(bind=True)
def out_of_memory(self: Any) -> None:
    """Raise MemoryError."""
    with run(self):
        raise MemoryError("a list of everything")


@app.task(bind=True)
def eat(self: Any, megabytes: int) -> None:
    """Use that much memory."""
    with run(self):
        bytearray(megabytes * 1024 * 1024)


@app.task(bind=True)
def reject(self: Any, requeue: bool, times: int | None = None) -> None:
    """Reject itself: each time, or until it was rejected so often."""
    with run(self):
        told = (FOLDER / "effects.jsonl").read_text().splitlines()
        done = sum('"begin"' in line and self.request.id in line for line in told)
        if times is None or done <= times:
            raise Reject("not here", requeue=requeue)


class UnreadableError(Exception):
    """What can be pickled, and not be read again."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


@app.task(bind=True)
def unreadable(self: Any, how: str) -> None:
    """End by what a pool process cannot tell its parent of."""
    with run(self):
        if how == "retry with an argument":
            raise self.retry(args=(object(),))
        if how == "retry in a queue":
            raise self.retry(queue="q" * 300)
        error = UnreadableError("one", "two")
        raise {"reject": Reject(error), "ignore": Ignore(error), "raise": error}[how]


@app.task(bind=True)
def ignore(self: Any) -> None:
    """Raise Ignore."""
    with run(self):
        raise Ignore


@app.task(bind=True)
def parent(self: Any, *children: str) -> None:
    """Send a task for each id, then end."""
    with run(self):
        for child in children:
            note.apply_async(task_id=child)


@app.task(bind=True)
def replaced_by_task(self: Any) -> None:
    """Give way to another task."""
    with run(self):
        raise self.replace(add.s(20, 22))


@app.task(bind=True)
def replaced_by_chain(self: Any) -> None:
    """Give way to a chain."""
    with run(self):
        raise self.replace(add.s(1, 2) | add.s(3))


@app.task(bind=True)
def old_errback(self: Any, failed_id: str) -> None:
    """Take the id of what failed, as errbacks of old did."""
    with run(self, failed=failed_id):
        pass


@app.task
def new_errback(request: Any, exc: BaseException, traceback: Any) -> None:
    """Take what failed itself, and look what the ledger knows of that by now."""
    with app.mirepoix.source.reading() as tx:
        known = tx.query("SELECT state FROM mirepoix_task WHERE id = :id", id=request.id)
    told = {"failed": request.id, "error": repr(exc), "args": request.args, "is_traced": "shop.py" in (traceback or "")}
    tell(new_errback, "errback", known=[state for (state,) in known], **told)


@app.task(bind=True, max_retries=5)
def pay(self: Any, then: str = "", during: str = "") -> None:
    """Charge once, in a step (which waits for a file of the name *during*); then retry twice, or fail until mended."""

    def charge() -> dict[str, Any]:
        tell(self, "charge", key=mirepoix.idempotency_key("charge"))
        if during:
            wait_for(during)
        return {"amount": Decimal("9.90"), "by": mirepoix.idempotency_key("charge"), "pid": os.getpid()}

    with run(self):
        paid = mirepoix.step("charge", charge)
        tell(self, "paid", by=paid["by"], in_process=paid["pid"], kind=type(paid["amount"]).__name__)
        if then == "retry" and self.request.retries < 2:
            raise self.retry(countdown=0)
        if then == "fail" and not (FOLDER / "mended").exists():
            raise ValueError("out of stock")


import around  # noqa: E402, F401
import asynchronous  # noqa: E402, F401  (the tasks there are made with what is above)
import canvas  # noqa: E402, F401
