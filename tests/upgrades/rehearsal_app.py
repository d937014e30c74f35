"""The app of the rehearsed upgrades. Old and new workers run this file, each with its own Mirepoix.

``python rehearsal_app.py backlog NAME`` sends one task of each kind. ``python rehearsal_app.py stream NAME`` sends
tasks until the file ``NAME.stop`` exists. A task appends a line to ``notes.jsonl`` when it begins and when its effect
happens.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from celery import Celery, chain, chord

import mirepoix

FOLDER = Path(__file__).parent
IS_NEW = hasattr(mirepoix, "Limit")
"""Whether this Mirepoix has limits, and with them schedules."""
HAS_GROWN = "REHEARSAL_GROWN" in os.environ
"""Whether the app itself has changed: it can take the call that was parked."""
SIDE = os.environ["REHEARSAL_SIDE"]
LONG_S = 24 * 3600.0

app = Celery("pantry", broker=os.environ.get("REHEARSAL_BROKER", "amqp://127.0.0.1:1//"))
settings: dict[str, Any] = {"look_at_broker": False}
if "REHEARSAL_BROKER" in os.environ:
    settings["delivery"] = "broker"
if "REHEARSAL_SCHEDULES" in os.environ:
    settings["schedules"] = True
    app.conf.beat_schedule = {"ticking": {"task": "pantry.note", "schedule": 1.0, "options": {"queue": "celery"}}}
mirepoix.install(app, os.environ["UPGRADE_APP_LEDGER"], **settings)
limited_options = {"limit": mirepoix.Limit(running=1, name="oven")} if IS_NEW else {}


def note(task: Any, what: str) -> None:
    """Append one line, whole and at once."""
    line = {"id": task.request.id, "what": what, "side": SIDE, "retries": task.request.retries}
    file = os.open(FOLDER / "notes.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, json.dumps(line).encode() + b"\n")
    os.close(file)


def wait_for(name: str) -> None:
    """Wait until somebody makes the file."""
    while not (FOLDER / name).exists():
        time.sleep(0.02)


@app.task(name="pantry.note", bind=True)
def plain(self: Any) -> None:
    """Have an effect."""
    note(self, "effect")


@app.task(name="pantry.gated", bind=True)
def gated(self: Any, gate: str) -> str:
    """Have an effect when the gate is open."""
    note(self, "begin")
    wait_for(gate)
    note(self, "effect")
    return gate


@app.task(name="pantry.add", bind=True)
def add(self: Any, x: int, y: int) -> int:
    """Return a sum."""
    note(self, "effect")
    return x + y


@app.task(name="pantry.total", bind=True)
def total(self: Any, numbers: list[int]) -> int:
    """Return the sum of all."""
    note(self, "effect")
    return sum(numbers)


@app.task(name="pantry.fussy", bind=True, max_retries=3)
def fussy(self: Any) -> None:
    """Ask for one retry, far away."""
    note(self, "begin")
    if not self.request.retries:
        raise self.retry(countdown=LONG_S)
    note(self, "effect")


@app.task(name="pantry.spill", bind=True)
def spill(self: Any) -> None:
    """Fail until somebody has mended it."""
    note(self, "begin")
    if not (FOLDER / "mended").exists():
        raise ValueError("on the floor")
    note(self, "effect")


if HAS_GROWN:

    @app.task(name="pantry.grow", bind=True)
    def grow(self: Any, size: int, colour: str) -> None:
        """Have an effect."""
        note(self, "effect")

else:

    @app.task(name="pantry.grow", bind=True)
    def grow(self: Any, size: int) -> None:
        """Have an effect."""
        note(self, "effect")


@app.task(name="pantry.limited", bind=True, **limited_options)
def limited(self: Any, gate: str) -> None:
    """Have an effect when the gate is open. In new code only one at a time runs."""
    note(self, "begin")
    wait_for(gate)
    note(self, "effect")


@app.task(name="pantry.pausable", bind=True)
def pausable(self: Any) -> None:
    """Have an effect."""
    note(self, "effect")


def backlog(name: str) -> None:
    """One task of each kind. Those in the queue ``shelf`` wait until a worker consumes it."""
    plain.apply_async(task_id=f"{name}-done")
    gated.apply_async((f"{name}-running.go",), task_id=f"{name}-running")
    spill.apply_async(task_id=f"{name}-failed")
    misfit = (1, "red", "round") if HAS_GROWN else (1, "red")
    app.send_task("pantry.grow", misfit, task_id=f"{name}-parked")
    fussy.apply_async(task_id=f"{name}-retried")
    plain.apply_async(task_id=f"{name}-later", countdown=LONG_S)
    for number in range(3):
        plain.apply_async(task_id=f"{name}-waiting-{number}", queue="shelf")
    header = [add.s(i, 1).set(task_id=f"{name}-part-{i}", queue="celery" if i < 2 else "shelf") for i in range(3)]
    chord(header, total.s().set(task_id=f"{name}-body")).apply_async()
    chain(
        add.s(1, 2).set(task_id=f"{name}-first", queue="shelf"),
        add.s(3).set(task_id=f"{name}-second"),
        add.s(4).set(task_id=f"{name}-third"),
    ).apply_async()


def stream(name: str) -> None:
    """A sender that lives through the upgrade."""
    number = 0
    with (FOLDER / f"{name}.sent").open("a", buffering=1) as sent:
        while not (FOLDER / f"{name}.stop").exists():
            plain.apply_async(task_id=f"{name}-{number}")
            sent.write(f"{name}-{number}\n")
            number += 1
            time.sleep(0.05)


if __name__ == "__main__":
    sys.modules["rehearsal_app"] = sys.modules["__main__"]
    {"backlog": backlog, "stream": stream}[sys.argv[1]](sys.argv[2])
