"""A ledger in which everything happens: tasks wait, run, fail, are killed and parked. Some of the text attacks."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from typing import Any

from driver import Ledger, envelope
from mirepoix.daemons.held import HeldLeases
from mirepoix.daemons.limited import Limited
from mirepoix.ledger import alerts, chords, enqueue, finish, limits, operate, take, workers
from mirepoix.ledger import schedules as books
from mirepoix.ledger.limits import Bounds
from mirepoix.records import Alert, AttemptFailure, Chord, IncompatibilityKind, Part, Worker
from mirepoix.schedules import by_hand, changing
from mirepoix.schedules.definition import DATABASE, Definition
from mirepoix.schedules.firing import Firing, Nothing
from mirepoix.schedules.plan import Plan

SECRET = "hunter2-is-secret"
EVIL = """<script>alert(1)</script>"><img src=x onerror=alert(2)>'{{7*7}}"""
TRACEBACK = """Traceback (most recent call last):
  File "/srv/venv/lib/python3.12/site-packages/celery/app/trace.py", line 453, in trace_task
    R = retval = fun(*args, **kwargs)
  File "/srv/shop/payments.py", line 41, in charge
    gateway.send(card)
  File "/srv/shop/gateway.py", line 12, in send
    raise Declined(f"card {card} was declined")
shop.payments.Declined: card 4242 was declined
"""


def body(*args: Any, **kwargs: Any) -> str:
    """A message's body."""
    return json.dumps([list(args), kwargs, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])


class Scenery:
    """The tasks by what happened to them."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.fill()

    def fill(self) -> None:
        ledger = self.ledger
        for n, name in enumerate(("celery@web-1", "celery@web-2")):
            seen = Worker(
                id=f"w{n}", name=name, host=f"web-{n + 1}", pid=800 + n, pool="prefork", concurrency=4,
                queues=("celery", "payments", "exports"),
                software={"mirepoix": "0.1.0", "celery": "5.6.3", "release": "2026.11.2"},
            )  # fmt: skip
            ledger.do(workers.register, seen, 10_000.0)
        dead = Worker(id="w9", name="celery@web-3", host="web-3", pid=900, pool="prefork", queues=("celery",))
        ledger.do(workers.register, dead, 10_000.0)
        ledger.send(*(f"done-{n}" for n in range(30)), name="shop.mail.receipt", body=body(n=1))
        for taken in ledger.take("w0"):
            ledger.start(taken.lease)
            ledger.succeed(taken.lease)
        self.failed = ["failed-1", "failed-2", "failed-3"]
        ledger.send(
            *self.failed, name="shop.payments.charge", queue="payments",
            body=body("order-1042", {"amount": 4200, "api_key": SECRET}, card="4242", password=SECRET, note="Grüße"),
        )  # fmt: skip
        trouble = AttemptFailure(
            f"Declined: card 4242 was declined, password={SECRET}", error_type="shop.payments.Declined",
            traceback=TRACEBACK, pid=812, run_time_s=0.213, peak_memory_kb=80_000, release="2026.11.2",
        )  # fmt: skip
        for taken in ledger.take("w1", queues=("payments",)):
            ledger.start(taken.lease)
            ledger.fail(taken.lease, trouble)
        self.evil = "evil-1"
        ledger.send(self.evil, name=EVIL, queue="payments", body=body(EVIL, k=EVIL))
        evil_failure = AttemptFailure(EVIL, error_type=EVIL, traceback=TRACEBACK + EVIL)
        for taken in ledger.take("w1", queues=("payments",)):
            ledger.start(taken.lease)
            ledger.fail(taken.lease, evil_failure)
        ledger.send("quarantined-1", name="shop.reports.export", body=body("2026-10"))
        lease = ledger.lease("w9")
        ledger.start(lease)
        ledger.write("UPDATE mirepoix_task SET deaths = 2 WHERE id = 'quarantined-1'")
        ledger.lose(lease)
        ledger.send("parked-1", "parked-2", name="shop.refunds.refund", body=body(4699, cents=1290))
        for taken in ledger.take("w0"):
            why = AttemptFailure("no task named 'shop.refunds.refund' is registered")
            ledger.do(finish.park, taken.lease, why, IncompatibilityKind.TASK)
        ledger.send("running-1", "running-2", name="shop.images.resize", body=body(7))
        for taken in ledger.take("w0"):
            ledger.start(taken.lease)
        ledger.send("leased-1", name="shop.images.resize", body=body(8))
        ledger.take("w1")
        ledger.die("w9", "hard")
        ledger.do(enqueue.add, [envelope(f"wait-{n}", name="shop.search.index", queue="payments") for n in range(8)])
        ledger.send("elsewhere-1", name="shop.video.encode", queue=f"video{EVIL}")
        ledger.send("elsewhere-2", name="shop.video.encode", queue="video")
        ledger.send("later-1", name="shop.mail.reminder", eta="2999-01-01T00:00:00+00:00")
        ledger.send("child-1", name="shop.mail.receipt", parent_id="done-1", root_id="done-1", queue="payments")
        self.workflow()
        self.schedules()
        ledger.count_failures()
        ledger.do(operate.requeue, ["failed-3"], "the bank is back")
        ledger.do(operate.note, ["failed-3"], "requeue", "ana", "the bank is back")

    def workflow(self) -> None:
        """A task that sent a chord of four: two returned, one waits, and one is parked. One returned sent a chain."""
        ledger = self.ledger
        ledger.send("flow", name="shop.reports.month", queue="reports")
        self.run_next("flow", "reports")
        ledger.do(chords.begin, Chord("flow-chord", 4))
        sent = {"parent_id": "flow", "root_id": "flow", "group_id": "flow-chord"}
        names = ("shop.reports.day", "shop.reports.day", "shop.reports.day", "shop.reports.gone")
        rows = [envelope(f"flow-{n}", name=name, queue="reports", **sent) for n, name in enumerate(names)]
        ledger.do(enqueue.add, rows)
        for task_id in ("flow-0", "flow-1"):
            self.run_next(task_id, "reports")
            ledger.do(chords.return_parts, [Part("flow-chord", task_id, 0, "SUCCESS", "1", {})])
        waits, parked = ledger.take("w1", queues=("reports",))
        ledger.do(
            finish.park, parked.lease, AttemptFailure("no task named 'shop.reports.gone'"), IncompatibilityKind.TASK
        )
        ledger.give_back("w1", [waits.lease])
        ledger.send("step-1", name="shop.mail.render", parent_id="flow-0", root_id="flow", queue="mail")
        self.run_next("step-1", "mail")
        ledger.send("step-2", name="shop.mail.send", parent_id="step-1", root_id="flow", queue="payments")
        late = Alert("late_queue:reports", "late_queue", "reports", "queue reports is late", queue="reports")
        ledger.do(alerts.open_, late, ["hook"])
        ledger.do(alerts.open_, Alert("parked:x", "parked", "x", "a task is parked"), ["hook"])
        ledger.do(alerts.close, "parked:x")

    def schedules(self) -> None:
        """A schedule of which a run failed and some fire times were not sent, a paused one, and one that attacks."""
        ledger, firing = self.ledger, Firing(Nothing())
        plan = Plan(cron="0 3 * * *", timezone="Europe/Berlin", overlap="skip")
        nightly = Definition("shop.reports.export", plan, ["2026-10"], {"password": SECRET}, {"queue": "reports"})
        put = partial(changing.put, ledger.connection, firing, owner=DATABASE, app="", by="ana")
        put("nightly", nightly)
        put("tidy", Definition("shop.tidy", Plan(every_s=300.0)))
        put(EVIL, Definition(EVIL, Plan(every_s=86_400.0)))
        by_hand.pause(ledger.connection, firing, "tidy", "ana", "the disk is full")
        with ledger.connection.transaction() as tx:
            row = books.find(tx, "nightly")
            assert row is not None
            fates = (
                ("ran", None),
                ("failed", f"OSError: disk 7 is full, password={SECRET}"),
                ("missed", "no worker ran"),
            )
            for days, (state, reason) in enumerate((*fates, ("skipped", "the run before had not ended"))):
                at = row.fired_until.replace(hour=2, minute=0, second=0, microsecond=0) - timedelta(days=days)
                task = "failed-1" if state == "failed" else "done-1" if state == "ran" else None
                books.decide(tx, row, books.Decision(at, at, state, reason, task), at + timedelta(seconds=3))

    def limits(self) -> None:
        """Tasks at the limits of their keys: at once, of a rate, and of a limit that the ledger does not have."""
        ledger = self.ledger
        ledger.do(limits.record, {"export": Bounds(10), "provider": Bounds(None, 3, 3600.0)}, "worker w1")
        ledger.do(limits.put, "export", Bounds(2), "ana")
        for key, tasks in (("acme", 4), ("globex", 1), (EVIL, 3)):
            ids = [f"{key[:6]}-{n}" for n in range(tasks)]
            ledger.send(*ids, name="shop.export", queue="exports", limit_key=f"export:{key}")
        ledger.send(*(f"asked-{n}" for n in range(4)), name="shop.ask", queue="exports", limit_key="provider")
        worker = Limited(HeldLeases(), has_notifications=True)
        worker.is_in_use = True
        worker.meet(ledger.connection, ["exports"])
        with ledger.connection.transaction() as tx:
            worker.take(tx, "w0", ["exports"], 100, take.take, may_be_suspect=True)
        ledger.send("gone-1", name="shop.ask", queue="exports", limit_key="gone:x")

    def run_next(self, task_id: str, queue: str) -> None:
        """Run one task to its end. It is the first of its queue."""
        (taken,) = self.ledger.take("w1", 1, queues=(queue,))
        assert taken.lease.task_id == task_id
        self.ledger.start(taken.lease)
        self.ledger.succeed(taken.lease)
