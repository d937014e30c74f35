"""Open and close alerts, and keep who was told of them: each channel once for each occasion.

A telling is claimed, then sent, then noted. A process that dies between the last two has it told again when its claim
ends: at least once, and once more for each such death.
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
"""How long a teller has to send one message, before another may."""


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """One that is open, with when somebody was last told, and what keeps a channel from being told."""

    alert: Alert
    open_s: float
    told_at: datetime | None
    trouble: str | None
    held_until: datetime | None = None
    """Until when nobody is told, as a channel has heard enough for now: it is in the next summary."""


@dataclass(frozen=True, slots=True)
class Telling:
    """A channel is to be told of an alert; so many *tries* were begun before."""

    alert: Alert
    channel: str
    tries: int


def open_(tx: Tx, alert: Alert, channels: Sequence[str], delay_s: float = 0.0) -> bool:
    """Open it unless it is open, and have *channels* told after *delay_s*. False: it was open already."""
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
    """Say that it is over, unless it was opened within *steady_s*. What was not told of it will not be."""
    return tx.run("close_alert", id=alert_id, steady_s=steady_s) == 1


def prune(tx: Tx, older_than_s: float) -> int:
    """Forget what has been over for so long."""
    return tx.run("prune_alerts", seconds=older_than_s)


def all_open(tx: Tx, held: Mapping[str, datetime] | None = None) -> list[OpenAlert]:
    """Every open alert, the latest first; with until when it is *held* back (see `held_back`)."""
    held = held or {}
    return [
        OpenAlert(_alert(row), seconds(row.open_s) or 0.0, moment(row.told_at), row.trouble, held.get(row.id))
        for row in tx.fetch("alerts")
    ]


def held_back(tx: Tx, per_hour: int, summary_s: float) -> dict[str, datetime]:
    """Until when the open alerts are held back that a channel is to be told of and that has heard enough for now."""
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
    """The channels that were told of something that is over now."""
    return {row.channel for row in tx.fetch("ended_channels")}


def ended(tx: Tx, channel: str) -> list[Telling]:
    """What *channel* was told of, by itself, and is over since; the first to end first."""
    return [
        Telling(replace(_alert(row), closed_at=known_moment(row.closed_at)), channel, row.tries)
        for row in tx.fetch("ended_tellings", channel=channel)
    ]


def claim_end(tx: Tx, telling: Telling, claim_s: float = CLAIM_S) -> bool:
    """Take the right to tell that it is over."""
    return tx.run("claim_end", **_key(telling), tries=telling.tries, lease_s=claim_s) == 1


def note_end_told(tx: Tx, telling: Telling) -> None:
    """It was told that it is over."""
    tx.run("note_end_told", **_key(telling))


def due_channels(tx: Tx) -> set[str]:
    """The channels that are to be told of something now."""
    return {row.channel for row in tx.fetch("due_channels")}


def due(tx: Tx, channel: str) -> list[Telling]:
    """What *channel* is to be told of now, the oldest first."""
    return [Telling(_alert(row), channel, row.tries) for row in tx.fetch("due_tellings", channel=channel)]


def told_within_the_hour(tx: Tx, channel: str) -> tuple[int, float | None]:
    """How many messages *channel* got one by one, and how long ago it got its latest summary, if it did."""
    (lately,) = tx.fetch("told_lately", channel=channel)
    return int(lately.messages), seconds(lately.summed_s)


def claim(tx: Tx, telling: Telling, claim_s: float = CLAIM_S) -> bool:
    """Take the right to tell it. False: somebody else has it, or it was told."""
    return tx.run("claim_telling", **_key(telling), tries=telling.tries, lease_s=claim_s) == 1


def note_told(tx: Tx, telling: Telling, *, is_summed: bool = False) -> None:
    """It was told, alone or in a summary."""
    tx.run("note_told", **_key(telling), is_summed=int(is_summed))


def note_untold(tx: Tx, telling: Telling, trouble: str, delay_s: float) -> None:
    """The claimed telling failed: again after *delay_s*."""
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
