"""The app of `benchmarks.deploys` in three releases, and who sends from one: ``python -m benchmarks.releases``.

Release 1 is the old one. Release 2 is 1 changed as nobody should: a task renamed, an argument added, one removed.
Release 3 changes these and more, with an alias, versions and upcasters; or, on stock Celery, with the means that it
has: the old name kept as a second task, and defaults.

Every task tells the effects file what it got. An amount is told in cents, whatever the task takes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.app import append, make_app
from celery import Celery, signals

OLD, BAD, NEW = 1, 2, 3


class Tells:
    """What the tasks of one release do."""

    def __init__(self, release: int, seconds: float) -> None:
        self.release, self.seconds = release, seconds

    def __call__(self, task: Any, **given: Any) -> None:
        self.line("begin", task, given)
        time.sleep(self.seconds)
        self.line("end", task, given)

    def line(self, what: str, task: Any, given: dict) -> None:
        told = {"what": what, "id": task.request.id, "release": self.release, "given": given, "at": time.time()}
        append(json.dumps(told) + "\n")


def register(app: Celery, release: int, seconds: float = 0.01) -> None:
    """Give *app* the tasks of that release."""
    does = Tells(release, seconds)
    {OLD: _old, BAD: _bad}.get(release, _new if hasattr(app, "mirepoix") else _new_on_stock)(app, does)


def _old(app: Celery, does: Tells) -> None:
    @app.task(bind=True, shared=False, name="bill")
    def bill(self, order):
        does(self, order=order)

    @app.task(bind=True, shared=False, name="charge")
    def charge(self, order):
        does(self, order=order)

    @app.task(bind=True, shared=False, name="ship")
    def ship(self, order, note):
        does(self, order=order, note=note)

    @app.task(bind=True, shared=False, name="refund")
    def refund(self, order):
        does(self, order=order)

    @app.task(bind=True, shared=False, name="pay")
    def pay(self, euros):
        does(self, cents=100 * euros)

    @app.task(bind=True, shared=False, name="pack")
    def pack(self, order):
        does(self, order=order)
        return order

    @app.task(bind=True, shared=False, name="label")
    def label(self, order, note):
        does(self, order=order, note=note)

    @app.task(bind=True, shared=False, name="remind", max_retries=1)
    def remind(self, order):
        if self.request.retries == 0:
            does.line("retry", self, {})
            raise self.retry(countdown=0)
        does(self, order=order)


def _bad(app: Celery, does: Tells) -> None:
    @app.task(bind=True, shared=False, name="invoice")
    def invoice(self, order):
        does(self, order=order)

    @app.task(bind=True, shared=False, name="charge")
    def charge(self, order, currency):
        does(self, order=order, currency=currency)

    @app.task(bind=True, shared=False, name="ship")
    def ship(self, order):
        does(self, order=order)


def _new(app: Celery, does: Tells) -> None:
    @app.task(bind=True, shared=False, name="invoice", aliases=["bill"])
    def invoice(self, order):
        does(self, order=order)

    @app.task(bind=True, shared=False, name="charge", version=2)
    def charge(self, order, currency):
        does(self, order=order, currency=currency)

    @charge.upcast(from_version=1)
    def _(order):
        return {"order": order, "currency": "EUR"}

    @app.task(bind=True, shared=False, name="ship", version=2)
    def ship(self, order):
        does(self, order=order)

    @ship.upcast(from_version=1)
    def _(order, note):
        return {"order": order}

    @app.task(bind=True, shared=False, name="refund")
    def refund(self, order, reason="none"):
        does(self, order=order, reason=reason)

    @app.task(bind=True, shared=False, name="pay", version=2)
    def pay(self, cents):
        does(self, cents=cents)

    @pay.upcast(from_version=1)
    def _(euros):
        return {"cents": 100 * euros}

    @app.task(bind=True, shared=False, name="pack", version=2)
    def pack(self, order, is_gift):
        does(self, order=order, is_gift=is_gift)
        return order

    @pack.upcast(from_version=1)
    def _(order):
        return {"order": order, "is_gift": False}

    @app.task(bind=True, shared=False, name="label", version=2)
    def label(self, order):
        does(self, order=order)

    @label.upcast(from_version=1)
    def _(order, note):
        return [order], {}

    @app.task(bind=True, shared=False, name="remind", version=2, max_retries=1)
    def remind(self, order, language):
        if self.request.retries == 0:
            does.line("retry", self, {})
            raise self.retry(countdown=0)
        does(self, order=order, language=language)

    @remind.upcast(from_version=1)
    def _(order):
        return {"order": order, "language": "en"}


def _new_on_stock(app: Celery, does: Tells) -> None:
    @app.task(bind=True, shared=False, name="invoice")
    def invoice(self, order):
        does(self, order=order)

    @app.task(bind=True, shared=False, name="bill")
    def bill(self, order):
        does(self, order=order)

    @app.task(bind=True, shared=False, name="charge")
    def charge(self, order, currency="EUR"):
        does(self, order=order, currency=currency)

    @app.task(bind=True, shared=False, name="ship")
    def ship(self, order, note=None):
        does(self, order=order)

    @app.task(bind=True, shared=False, name="refund")
    def refund(self, order, reason="none"):
        does(self, order=order, reason=reason)

    @app.task(bind=True, shared=False, name="pay")
    def pay(self, cents):
        does(self, cents=cents)

    @app.task(bind=True, shared=False, name="pack")
    def pack(self, order, is_gift=False):
        does(self, order=order, is_gift=is_gift)
        return order

    @app.task(bind=True, shared=False, name="label")
    def label(self, order, note=None):
        does(self, order=order)

    @app.task(bind=True, shared=False, name="remind", max_retries=1)
    def remind(self, order, language="en"):
        if self.request.retries == 0:
            does.line("retry", self, {})
            raise self.retry(countdown=0)
        does(self, order=order, language=language)


CALLS: dict[str, dict[int, tuple[str, Callable[[int], tuple[list, dict]]]]] = {
    "renamed": {OLD: ("bill", lambda n: ([n], {})), NEW: ("invoice", lambda n: ([n], {}))},
    "added": {OLD: ("charge", lambda n: ([n], {})), NEW: ("charge", lambda n: ([n, "USD"], {}))},
    "removed": {OLD: ("ship", lambda n: ([n, "fragile"], {})), NEW: ("ship", lambda n: ([n], {}))},
    "defaulted": {OLD: ("refund", lambda n: ([n], {})), NEW: ("refund", lambda n: ([n], {"reason": "broken"}))},
    "meaning": {OLD: ("pay", lambda n: ([n], {})), NEW: ("pay", lambda n: ([100 * n], {}))},
    "retried": {OLD: ("remind", lambda n: ([n], {})), NEW: ("remind", lambda n: ([n], {"language": "fr"}))},
}
"""What each release sends, by the kind of change; a chain besides."""

KINDS = (*CALLS, "chain")


def send(app: Celery, release: int, kind: str, number: int) -> list[tuple[str, str]]:
    """Send one call, or one chain, as that release does; the id and the kind of each task."""
    if kind != "chain":
        name, arguments = CALLS[kind][release]
        args, kwargs = arguments(number)
        return [(app.tasks[name].apply_async(args, kwargs).id, kind)]
    pack, label = app.tasks["pack"], app.tasks["label"]
    if release == OLD:
        last = (pack.s(number) | label.s("fragile")).apply_async()
    else:
        last = (pack.s(number, is_gift=True) | label.s()).apply_async()
    return [(last.parent.id, "chain"), (last.id, "chain's second")]


def right(kind: str, number: int, sender: int, runner: int) -> dict | None:
    """What the code of *runner* must get of a call of *sender*; None: it must not run there."""
    if sender not in (OLD, runner):
        return None
    is_old, is_new = sender == OLD, runner == NEW
    more: dict[str, dict] = {
        "renamed": {},
        "added": {"currency": "EUR" if is_old else "USD"} if is_new else {},
        "removed": {} if is_new else {"note": "fragile"},
        "defaulted": {"reason": "none" if is_old else "broken"} if is_new else {},
        "retried": {"language": "en" if is_old else "fr"} if is_new else {},
        "chain": {"is_gift": not is_old} if is_new else {},
        "chain's second": {} if is_new else {"note": "fragile"},
    }
    return {"cents": 100 * number} if kind == "meaning" else {"order": number, **more[kind]}


def produce(url: str, broker_url: str | None, release: int, rate: float, sent: Path, go: Path, stop: Path) -> None:
    """Send one call after another at that rate, between the making of two files, and note each once it was accepted."""
    app = make_app(url, broker_url=broker_url)
    register(app, release)
    app.finalize()
    with sent.open("a", buffering=1) as notes:
        print("ready", file=notes)
        while not go.exists():
            time.sleep(0.01)
        began, number = time.monotonic(), 0
        while not stop.exists():
            kind = KINDS[number % len(KINDS)]
            for id, part in send(app, release, kind, number):
                print(json.dumps({"id": id, "kind": part, "number": number, "release": release}), file=notes)
            number += 1
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
    app.close()


if __name__ == "__main__":
    url, broker_url, release, rate, sent, go, stop = sys.argv[1:]
    produce(url, broker_url or None, int(release), float(rate), Path(sent), Path(go), Path(stop))
elif "RELEASE" in os.environ:
    from benchmarks.app import app

    register(app, int(os.environ["RELEASE"]))

    @signals.worker_ready.connect
    def _ready(**_: object) -> None:
        append(json.dumps({"what": "ready", "pid": os.getpid()}) + "\n")
