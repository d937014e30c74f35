"""The app of the upgrade tests: it sends one call of each kind, and its tasks note what they were given.

``python upgrade_app.py`` sends them, with any Celery. A copy of this file is put beside each test's ledger.
"""

from __future__ import annotations

import json
import os
import sys
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

from celery import Celery, chain, chord, group

import mirepoix

FOLDER = Path(__file__).parent

app = Celery("pantry", broker=os.environ.get("UPGRADE_APP_BROKER", "amqp://127.0.0.1:1//"))
app.gen_task_name = lambda name, module: f"pantry.{name}"  # as in the recorded rows, whatever this module is called
mirepoix.install(app, os.environ["UPGRADE_APP_LEDGER"], **json.loads(os.environ.get("UPGRADE_APP_SETTINGS", "{}")))

TYPED = {
    "moment": datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=timezone(timedelta(hours=2))),
    "naive": datetime(2026, 2, 3, 4, 5, 6),  # noqa: DTZ001 (it has to come as it went)
    "day": date(2026, 2, 3),
    "clock": time(4, 5, 6, 7),
    "price": Decimal("10.10"),
    "key": uuid.UUID("12345678-1234-5678-1234-567812345678"),
    "text": b"caf\xc3\xa9",
    "raw": b"\xff\x00",
    "nested": {"jars": [{"filled": date(2026, 1, 1), "weights": [Decimal("0.1"), None, 1.5]}]},
    "words": "½ é ☕",
}


def note(task: Any, *args: Any, **kwargs: Any) -> None:
    """Append to the notes what the task was given, as Python writes it."""
    request = task.request
    line = {
        "id": request.id,
        "task": task.name,
        "args": repr(args),
        "kwargs": repr(dict(sorted(kwargs.items()))),
        "retries": request.retries,
        "root": request.root_id,
        "parent": request.parent_id,
        "group": request.group,
        "eta": request.eta,
        "expires": request.expires,
        "stamps": request.stamps,
        "limits": list(request.timelimit or ()),
        "header": getattr(request, "shelf", None),
    }
    file = os.open(FOLDER / "notes.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, json.dumps(line).encode() + b"\n")
    os.close(file)


@app.task(bind=True)
def keep(self: Any, *args: Any, **kwargs: Any) -> str:
    """Note what it was given."""
    note(self, *args, **kwargs)
    return "kept"


@app.task(bind=True)
def add(self: Any, x: int, y: int) -> int:
    """Return a sum."""
    note(self, x, y)
    return x + y


@app.task(bind=True)
def total(self: Any, numbers: list[int]) -> int:
    """Return the sum of all."""
    note(self, numbers)
    return sum(numbers)


@app.task(bind=True, max_retries=3)
def fussy(self: Any, wait_s: float) -> None:
    """Ask for one retry, after so long."""
    note(self, wait_s)
    if not self.request.retries:
        raise self.retry(countdown=wait_s)


@app.task(bind=True)
def spill(self: Any) -> None:
    """Fail."""
    note(self)
    raise ValueError("on the floor")


def send_all() -> None:
    """One call of each kind, under ids of their own."""
    keep.apply_async((1, "two"), task_id="plain")
    keep.apply_async((), TYPED, task_id="typed")
    keep.apply_async((TYPED["price"], TYPED["raw"]), task_id="typed-args")
    keep.apply_async((), {"at": "eta"}, task_id="eta", eta=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    keep.apply_async(task_id="later", eta=datetime(2096, 1, 2, tzinfo=UTC))
    keep.apply_async(task_id="expires", expires=datetime(2096, 1, 2, 3, 4, 5, tzinfo=UTC))
    keep.apply_async(task_id="priority", priority=7)
    keep.apply_async(task_id="limits", time_limit=500, soft_time_limit=400, headers={"shelf": "top"})
    keep.apply_async(task_id="zipped", args=("x" * 500,), compression="zlib")
    add.apply_async((1, 2), task_id="linked", link=keep.s().set(task_id="link"))
    spill.apply_async(task_id="spilt", link_error=keep.si("mop").set(task_id="errback"))
    chain(
        add.s(1, 2).set(task_id="chain-1"),
        add.s(3).set(task_id="chain-2"),
        keep.s(price=TYPED["price"]).set(task_id="chain-3"),
    ).apply_async()
    group(add.s(i, i).set(task_id=f"group-{i}") for i in range(3)).apply_async()
    chord([add.s(i, 10).set(task_id=f"header-{i}") for i in range(3)], total.s().set(task_id="body")).apply_async()
    stamped = keep.s("stamped").set(task_id="stamped")
    stamped.stamp(season="spring", lot=["a", "b"])
    stamped.apply_async()
    fussy.apply_async((float(os.environ.get("UPGRADE_APP_RETRY_S", "0")),), task_id="fussy", queue="fussy")


def send_failing() -> None:
    """A chord that fails, with a task after it, and one whose body is a group."""
    (
        group([spill.si(), add.si(1, 2)]) | total.s().set(task_id="unsent-body") | keep.s().set(task_id="unsent-end")
    ).apply_async()
    both = group([keep.s().set(task_id=f"unsent-{number}") for number in range(2)])
    chord([spill.si()], both).apply_async()


if __name__ == "__main__":
    sys.modules["upgrade_app"] = sys.modules["__main__"]
    send_all()
