"""Tasks of the shop with retry policies, for workers that are told to include it. A copy is put beside `shop.py`."""

from __future__ import annotations

import os
import signal
from email.message import Message
from io import BytesIO
from typing import Any
from urllib.error import HTTPError

from shop import FOLDER, app, run, taken, wait_for_note

import mirepoix
from mirepoix import RetryPolicy

QUICK = RetryPolicy(base_s=0.05, max_delay_s=0.1, max_attempts=4, budget="100/s", destination="bank")


class Away(ConnectionError):
    """Of the bank."""


def call(task: Any, what: str) -> None:
    """Do what the word says, or call a bank that is away until a test makes a file."""
    if what == "die" and taken("die-now"):
        wait_for_note(task)
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "wrong":
        raise ValueError(what)
    if what == "refused":
        raise HTTPError("http://bank.example/", 503, "Service Unavailable", Message(), BytesIO())  # of no pickle
    if what == "after" and task.request.retries == 0:
        error = Away("in a while")
        error.retry_after = 0.7  # type: ignore[attr-defined]
        raise error
    if what in ("never", "die") or (what == "open" and not (FOLDER / "bank-open").exists()):
        raise Away("the bank is away")


@app.task(bind=True, retries=QUICK)
def pay_bank(self: Any, what: str) -> None:
    """Plain."""
    with run(self):
        call(self, what)


@app.task(bind=True, retries=QUICK)
async def pay_bank_async(self: Any, what: str) -> None:
    """A coroutine."""
    with run(self):
        call(self, what)


@app.task(bind=True, retries=QUICK, transactional=True)
def pay_bank_transactional(self: Any, what: str) -> None:
    """Its writes are rolled back with each attempt."""
    with run(self):
        mirepoix.transaction()
        call(self, what)


@app.task(bind=True, retries=RetryPolicy(base_s=0.05, max_delay_s=0.1, max_age_s=0.5, max_attempts=None))
def pay_bank_soon(self: Any) -> None:
    """Given up by its age."""
    with run(self):
        raise Away("the bank is away")


@app.task(bind=True, retries=RetryPolicy(base_s=300.0, jitter=False))
def pay_bank_later(self: Any) -> None:
    """Waits long."""
    with run(self):
        raise Away("the bank is away")


@app.task(bind=True, retries=QUICK, autoretry_for=(Away,), default_retry_delay=0, max_retries=1)
def pay_bank_as_celery_does(self: Any) -> None:
    """Celery's own retry goes first, and when it gives up that is the end."""
    with run(self):
        raise Away("the bank is away")
