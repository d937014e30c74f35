"""The demo's shop: an ordinary Celery app with one line for Mirepoix (or, for comparison, without it)."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery

from mirepoix.celery.app import install
from mirepoix.demo.folder import Folder, append

CHARGE_S = 0.08
RECEIPT_S = 0.04


def make_app(folder: Folder) -> Celery:
    """Create the shop's app. The two sides differ only in where the tasks go."""
    app = Celery("shop", set_as_current=False)
    if folder.is_stock:
        app.conf.broker_url = "filesystem://"
        app.conf.broker_transport_options = {
            "data_folder_in": str(folder.broker / "queue"),
            "data_folder_out": str(folder.broker / "queue"),
            "control_folder": str(folder.broker / "control"),
        }
    else:
        install(app, f"sqlite:///{folder.database}")
    _define_tasks(app, folder)
    return app


def _define_tasks(app: Any, folder: Folder) -> None:
    @app.task(bind=True, shared=False, name="shop.charge")
    def charge(self: Any, order: str) -> str:
        """Take the money."""
        with _noted(folder, self.request, "charge", order):
            time.sleep(CHARGE_S)
        return order

    @app.task(bind=True, shared=False, name="shop.receipt")
    def receipt(self: Any, order: str) -> None:
        """Send the receipt: the second step of the chain."""
        with _noted(folder, self.request, "receipt", order):
            time.sleep(RECEIPT_S)

    @app.task(bind=True, shared=False, name="shop.poison")
    def poison(self: Any, order: str) -> None:
        """Kill the process that runs it, each time, as a bug in a C library or too much memory does."""
        with _noted(folder, self.request, "poison", order):
            time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGKILL)

    @app.task(bind=True, shared=False, name="shop.broken")
    def broken(self: Any, order: str) -> None:
        """Raise an exception each time."""
        with _noted(folder, self.request, "broken", order):
            raise RuntimeError(f"no such product in order {order}")

    @app.task(bind=True, shared=False, name="shop.flaky", max_retries=3, default_retry_delay=0.5)
    def flaky(self: Any, order: str) -> None:
        """Fail the first time and ask for a retry."""
        try:
            with _noted(folder, self.request, "flaky", order):
                if not self.request.retries:
                    raise ConnectionError("the bank does not answer")
        except ConnectionError as error:
            raise self.retry(exc=error) from error

    @app.task(bind=True, shared=False, name="shop.reminder")
    def reminder(self: Any, order: str) -> None:
        """Run some time after it was sent."""
        with _noted(folder, self.request, "reminder", order):
            pass


@contextmanager
def _noted(folder: Folder, request: Any, step: str, order: str) -> Iterator[None]:
    """Record on disk that user code begins and how it ends. Times are of the machine's monotonic clock."""
    fact = {
        "task": request.id,
        "step": step,
        "order": order,
        "pid": os.getpid(),
        "parent": os.getppid(),
        "worker": request.hostname.partition("@")[0],
    }
    append(folder.effects, {"what": "begin", "at": time.monotonic(), **fact})
    try:
        yield
    except Exception:
        append(folder.effects, {"what": "raised", "at": time.monotonic(), **fact})
        raise
    append(folder.effects, {"what": "end", "at": time.monotonic(), **fact})
