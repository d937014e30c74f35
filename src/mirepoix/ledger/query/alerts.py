"""Read alerts for people: those that are open or over, and what became of each notification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from mirepoix.ledger.alerts import all_open
from mirepoix.ledger.query.values import known_moment, moment
from mirepoix.ledger.tx import Tx


@dataclass(frozen=True, slots=True)
class Notification:
    """One channel's notification. *tries* counts the tries that failed; *trouble* is the last error."""

    channel: str
    due_at: datetime
    tries: int
    told_at: datetime | None
    is_summed: bool
    trouble: str | None
    end_told_at: datetime | None


@dataclass(frozen=True, slots=True)
class AlertLine:
    """An alert. *held_until* says until when it is held back from a channel that has reached its limit."""

    id: str
    kind: str
    subject: str
    title: str
    name: str | None
    task_id: str | None
    queue: str | None
    release: str | None
    opened_at: datetime
    closed_at: datetime | None
    held_until: datetime | None
    notifications: tuple[Notification, ...]


def opened(tx: Tx, held: Mapping[str, datetime], most: int) -> list[AlertLine]:
    """Return the open alerts, the latest first. *held* is what `mirepoix.ledger.alerts.held_back` returns."""
    found = []
    for one in all_open(tx, held)[:most]:
        alert = one.alert
        found.append(
            AlertLine(
                alert.id,
                alert.kind,
                alert.subject,
                alert.title,
                alert.name,
                alert.task_id,
                alert.queue,
                alert.release,
                known_moment(alert.opened_at),
                None,
                one.held_until,
                _notifications(tx, alert.id, alert.occasion),
            )
        )
    return found


def ended(tx: Tx, most: int) -> list[AlertLine]:
    """Return the alerts that are over, the latest first."""
    return [
        AlertLine(
            row.id,
            row.kind,
            row.subject,
            row.title,
            row.name,
            row.task_id,
            row.queue,
            row.in_release,
            known_moment(row.opened_at),
            moment(row.closed_at),
            None,
            _notifications(tx, row.id, row.occasion),
        )
        for row in tx.fetch("ended_alerts", most=most)
    ]


def _notifications(tx: Tx, alert_id: str, occasion: int) -> tuple[Notification, ...]:
    return tuple(
        Notification(
            row.channel,
            known_moment(row.due_at),
            row.tries,
            moment(row.told_at),
            bool(row.is_summed),
            row.trouble,
            moment(row.end_told_at),
        )
        for row in tx.fetch("tellings_of_alert", alert_id=alert_id, occasion=occasion)
    )
