"""Open and close alerts, and record their notifications: one for each channel and occasion.

A process claims a notification, sends it, and records that it was sent. If the process dies before it records that,
another sends the notification again when the claim ends. So each notification is sent at least once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mirepoix.ledger.query.values import known_moment, moment, seconds
from mirepoix.ledger.text import storable
from mirepoix.ledger.tx import Tx
from mirepoix.records import Alert
from mirepoix.sql.columns import Row

CLAIM_S = 60.0
"""How long a process has to send one notification before another process may send it."""


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """An open alert, with the time of its last notification and the error of a channel that could not be notified."""

    alert: Alert
    open_s: float
    told_at: datetime | None
    trouble: str | None
    held_until: datetime | None = None
    """Until when the alert is held back, because a channel has reached its limit. It is in the next summary."""


@dataclass(frozen=True, slots=True)
class Telling:
    """A notification that a channel is due to get. *tries* counts the tries before."""

    alert: Alert
    channel: str
    tries: int


def open_(tx: Tx, alert: Alert, channels: Sequence[str], delay_s: float = 0.0) -> bool:
    """Open the alert, and plan to notify *channels* after *delay_s*. False if it was open already."""
    words = {
        "id": alert.id,
        "title": storable(alert.title),
        "name": alert.name,
        "task_id": alert.task_id,
        "queue": alert.queue,
        "in_release": alert.release,
    }
    is_opened = tx.run("reopen_alert", **words) or tx.run("open_alert", kind=alert.kind, subject=alert.subject, **words)
    if is_opened != 1:
        return False
    for channel in channels:
        tx.run("plan_telling", id=alert.id, channel=channel, delay_s=delay_s)
    return True


def close(tx: Tx, alert_id: str, steady_s: float = 0.0) -> bool:
    """Close the alert, unless it was opened within *steady_s*. Its notifications that are still due are not sent."""
    return tx.run("close_alert", id=alert_id, steady_s=steady_s) == 1


def prune(tx: Tx, older_than_s: float) -> int:
    """Delete the alerts that have been over for longer; return how many."""
    return tx.run("prune_alerts", seconds=older_than_s)


def all_open(tx: Tx, held: Mapping[str, datetime] | None = None) -> list[OpenAlert]:
    """Return every open alert, the latest first. *held* says until when alerts are held back (see `held_back`)."""
    held = held or {}
    return [
        OpenAlert(_alert(row), seconds(row.open_s) or 0.0, moment(row.told_at), row.trouble, held.get(row.id))
        for row in tx.fetch("alerts")
    ]


def held_back(tx: Tx, per_hour: int, summary_s: float) -> dict[str, datetime]:
    """Return until when open alerts are held back, because a channel that is due to get them has reached its limit."""
    found: dict[str, datetime] = {}
    until: dict[str, datetime | None] = {}
    for row in tx.fetch("held_tellings"):
        if row.channel not in until:
            (lately,) = tx.fetch("told_lately", channel=row.channel)
            last = moment(lately.summed_at) if int(lately.messages) >= per_hour else None
            until[row.channel] = None if last is None else last + timedelta(seconds=summary_s)
        moment_ = until[row.channel]
        if moment_ is not None:
            found[row.id] = max(moment_, found.get(row.id, moment_))
    return found


def ended_channels(tx: Tx) -> set[str]:
    """Return the channels that were notified of an alert that is over now."""
    return {row.channel for row in tx.fetch("ended_channels")}


def ended(tx: Tx, channel: str) -> list[Telling]:
    """Return the alerts that are over and that *channel* got as single messages, the first to end first."""
    return [
        Telling(replace(_alert(row), closed_at=known_moment(row.closed_at)), channel, row.tries)
        for row in tx.fetch("ended_tellings", channel=channel)
    ]


def claim_end(tx: Tx, telling: Telling, claim_s: float = CLAIM_S) -> bool:
    """Claim the right to notify the channel that the alert is over."""
    return tx.run("claim_end", **_key(telling), tries=telling.tries, lease_s=claim_s) == 1


def note_end_told(tx: Tx, telling: Telling) -> None:
    """Record that the channel was notified that the alert is over."""
    tx.run("note_end_told", **_key(telling))


def due_channels(tx: Tx) -> set[str]:
    """Return the channels that have a notification due."""
    return {row.channel for row in tx.fetch("due_channels")}


def due(tx: Tx, channel: str) -> list[Telling]:
    """Return the notifications of *channel* that are due, the oldest first."""
    return [Telling(_alert(row), channel, row.tries) for row in tx.fetch("due_tellings", channel=channel)]


def told_within_the_hour(tx: Tx, channel: str) -> tuple[int, float | None]:
    """Return how many single messages *channel* got within the hour, and the age of its latest summary, or None."""
    (lately,) = tx.fetch("told_lately", channel=channel)
    return int(lately.messages), seconds(lately.summed_s)


def claim(tx: Tx, telling: Telling, claim_s: float = CLAIM_S) -> bool:
    """Claim the right to send the notification. False if another process has it, or if it was sent."""
    return tx.run("claim_telling", **_key(telling), tries=telling.tries, lease_s=claim_s) == 1


def note_told(tx: Tx, telling: Telling, *, is_summed: bool = False) -> None:
    """Record that the notification was sent, alone or in a summary."""
    tx.run("note_told", **_key(telling), is_summed=int(is_summed))


def note_untold(tx: Tx, telling: Telling, trouble: str, delay_s: float) -> None:
    """Record that the notification failed. It is due again after *delay_s*."""
    tx.run("note_untold", **_key(telling), tries=telling.tries + 1, trouble=storable(trouble), delay_s=delay_s)


def _key(telling: Telling) -> dict[str, object]:
    return {"alert_id": telling.alert.id, "occasion": telling.alert.occasion, "channel": telling.channel}


def _alert(row: Row) -> Alert:
    return Alert(
        id=row.id,
        kind=row.kind,
        subject=row.subject,
        title=row.title,
        occasion=row.occasion,
        opened_at=known_moment(row.opened_at),
        name=row.name,
        task_id=row.task_id,
        queue=row.queue,
        release=row.in_release,
    )
