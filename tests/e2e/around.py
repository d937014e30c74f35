"""Tasks of the shop with code of their own around them, and those that ask for a retry without raising it.

A copy of this file is put beside `shop.py`.
"""

from __future__ import annotations

from typing import Any

from celery import Task, signals
from celery.exceptions import Ignore, Reject
from shop import app, note, run


def send(task: Any, what: str) -> None:
    """Send a task that says by its id what sent it."""
    note.apply_async(task_id=f"{task.request.id} {what} {task.request.retries}")


class Around(Task):  # type: ignore[misc]
    """Sends a task before it begins."""

    def before_start(self, *_: Any) -> None:
        """Send a task."""
        send(self, "before")


@signals.task_prerun.connect(weak=False)
def _prerun(task: Any, **_: Any) -> None:
    if task.name == "shop.around":
        send(task, "prerun")


@signals.task_postrun.connect(weak=False)
def _postrun(task: Any, **_: Any) -> None:
    if task.name == "shop.around":
        send(task, "postrun")


@app.task(bind=True, base=Around, name="shop.around")
def around(self: Any, how: str) -> None:
    """End in that way."""
    with run(self):
        if how == "raise":
            raise ValueError(how)
        if how == "reject":
            raise Reject(how, requeue=False)
        if how == "ignore":
            raise Ignore(how)
        if how == "retry" and self.request.retries == 0:
            raise self.retry(countdown=0)


@app.task(bind=True, name="shop.softly")
def softly(self: Any, size: int, error: str = "") -> str:
    """Ask for a retry without raising it, then return so much, or raise."""
    with run(self):
        if self.request.retries == 0:
            self.retry(countdown=0, throw=False)
            if error:
                raise ValueError(error)
        return "x" * size
