"""A shop of several tenants: the tenant is in force while a task runs, and goes along with what is sent meanwhile.

As tenant-schemas-celery, Sentry and OpenTelemetry do it. A copy of this file is put beside `shop.py`.
"""

from __future__ import annotations

import threading
from typing import Any

from celery import signals
from shop import app, run, tell, wait_for

_of_thread = threading.local()


def tenant() -> str:
    """The tenant that is in force in this thread."""
    return getattr(_of_thread, "tenant", "public")


@signals.task_prerun.connect(weak=False)
def _enter(task: Any, **_: Any) -> None:
    _of_thread.tenant = task.request.get("tenant") or "public"


@signals.task_postrun.connect(weak=False)
def _leave(**_: Any) -> None:
    _of_thread.tenant = "public"


@signals.before_task_publish.connect(weak=False)
def _mark(headers: dict[str, Any], **_: Any) -> None:
    headers.setdefault("tenant", tenant())


@signals.after_task_publish.connect(weak=False)
def _tell(headers: dict[str, Any], **_: Any) -> None:
    tell(whose, "published", sent=headers["task"], to=headers["id"], tenant=tenant())


@app.task(bind=True, name="shop.whose")
def whose(self: Any, *values: Any, wait: str | None = None) -> str:
    """Return the tenant that is in force, once the test has made a file of the name *wait*."""
    with run(self, values=values):
        if wait is not None:
            wait_for(wait)
        return tenant()


@app.task(bind=True, name="shop.broken")
def broken(self: Any) -> None:
    """Raise."""
    with run(self):
        raise ValueError("no stock")


@app.task(bind=True, name="shop.slow")
def slow(self: Any) -> None:
    """Run into the hard time limit."""
    with run(self):
        wait_for("never")
