"""Find the alerts that should be open now, by queries on the ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterator

from mirepoix.config import Settings
from mirepoix.ledger import alerts
from mirepoix.ledger.query import failures, health
from mirepoix.ledger.query.planning import at_once
from mirepoix.ledger.tx import Tx
from mirepoix.operations.health import alive, overdue
from mirepoix.records import Alert

LETTERS = 200
"""The length of the longest id that is not hashed. MySQL limits the length of keys."""


def conditions(tx: Tx, settings: Settings) -> list[tuple[Alert, float]]:
    """Return each alert that should be open, with how long it must last before channels are notified. It only reads."""
    at_once(tx)
    grace_s = settings.alerts_grace_s
    quarantined = list(_kept(tx, "quarantined", "quarantine"))
    # A task that killed its workers gets one alert, by its name, and not another for the failure group of its deaths.
    names = {alert.name for alert in quarantined}
    return [
        *((alert, 0.0) for alert in _failures(tx, names)),
        *((alert, 0.0) for alert in quarantined),
        *((alert, grace_s) for alert in _kept(tx, "parked", "parked")),
        *((alert, 0.0) for alert in _late(tx, settings)),
        *((alert, grace_s) for alert in _no_workers(tx)),
    ]


def _failures(tx: Tx, quarantined: Container[str | None]) -> Iterator[Alert]:
    for group in failures.groups(tx):
        if group.title.startswith("WorkerLostError") and group.name in quarantined:
            continue
        if group.status is failures.GroupStatus.REGRESSED:
            kind, title, release = "regression", f"failed again: {group.title}", group.regressed_in
        elif group.status is failures.GroupStatus.OPEN:
            kind, title, release = "new_failure", group.title, group.first_release
        else:
            continue
        yield Alert(
            _id(kind, group.id),
            kind,
            group.id,
            f"{group.name}: {title}",
            1,
            None,
            group.name,
            group.last_task_id,
            None,
            release,
        )


def _kept(tx: Tx, state: str, kind: str) -> Iterator[Alert]:
    for row in tx.fetch("kept_names", state=state):
        title = f"{row.name}: {row.tasks:,} {'task is' if row.tasks == 1 else 'tasks are'} {state}, waiting for you"
        yield Alert(_id(kind, row.name), kind, row.name, title, name=row.name, task_id=row.task_id, queue=row.queue)


def _late(tx: Tx, settings: Settings) -> Iterator[Alert]:
    objectives = settings.queue_objectives_s or {}
    if not objectives:
        return
    for load, objective_s in overdue(health.queues(tx, min(objectives.values()), ()), objectives):
        title = f"Queue {load.queue} is late: its oldest task has waited over {objective_s:g} s, {load.waiting:,} wait"
        yield Alert(_id("late_queue", load.queue), "late_queue", load.queue, title, queue=load.queue)


def _no_workers(tx: Tx) -> Iterator[Alert]:
    """Yield an alert if no worker is alive and workers died lately or tasks wait. It is open until a worker lives."""
    seen = health.workers(tx)
    if alive(seen):
        return
    is_open = any(opened.alert.kind == "no_workers" for opened in alerts.all_open(tx))
    waiting = 0 if seen else sum(load.waiting for load in health.queues(tx, health.HOUR_S, ()))
    if seen or waiting or is_open:
        yield Alert("no_workers:", "no_workers", "", "No worker is alive: nothing runs until one is started")


def _id(kind: str, subject: str) -> str:
    if len(kind) + len(subject) >= LETTERS:
        subject = hashlib.sha256(subject.encode()).hexdigest()
    return f"{kind}:{subject}"
