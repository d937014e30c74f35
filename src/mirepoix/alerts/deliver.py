"""Deliver the notifications of one channel: claim, send, record. Above the hourly limit, send a summary."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import quote

from mirepoix.alerts.channels import Channel
from mirepoix.config import Settings
from mirepoix.connect.source import OwnConnection
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.ledger import alerts
from mirepoix.ledger.alerts import Telling
from mirepoix.ledger.query import failures
from mirepoix.records import Alert

logger = logging.getLogger("mirepoix.telling")  # not below mirepoix.alerts, whose handlers may be a channel

SUMMARY_S = 600.0
"""A channel above its hourly limit gets a summary of the other alerts, and the next summary after so long."""

LISTED = 50
"""The most alerts that a summary lists, each in a line."""

FIRST_RETRY_S, LONGEST_RETRY_S = 5.0, 600.0
_QUOTED_BY_ADMIN = frozenset(':/_#?;@&=+$,"[]<>%\n\\')

_FRAME = re.compile(r'^(  File ".*", line \d+, in .*)(?:\n(    \S.*))?', re.MULTILINE)


def deliver_due(connection: OwnConnection, settings: Settings, channel: Channel) -> int:
    """Send *channel* all alerts that are due; return how many it got. It stops at the first that fails.

    Several processes may do this at once. A channel that fails is tried again after 5 s. The pause doubles each time,
    up to 10 minutes, as long as the alert is open.
    """
    sent = 0
    if channel.tells_ends:
        _deliver_ends(connection, channel)
    while True:
        with connection.reading() as tx:
            due = alerts.due(tx, channel.label)
            messages, summed_s = alerts.told_within_the_hour(tx, channel.label)
        is_enough = messages >= settings.alerts_per_hour and summed_s is not None and summed_s < SUMMARY_S
        if not due or is_enough:
            return sent
        batch = due[:1] if messages < settings.alerts_per_hour else due
        with connection.transaction() as tx:
            claimed = [telling for telling in batch if alerts.claim(tx, telling)]
        reached(Crashpoint.TELL_AFTER_CLAIM)
        if not claimed:
            return sent
        is_summed = messages >= settings.alerts_per_hour
        if not _send(connection, settings, channel, claimed, is_summed=is_summed):
            return sent
        sent += len(claimed)


def _deliver_ends(connection: OwnConnection, channel: Channel) -> None:
    """Notify *channel* of the end of alerts that it got as single messages. It stops at the first that fails."""
    with connection.reading() as tx:
        ended = alerts.ended(tx, channel.label)
    for telling in ended:
        with connection.transaction() as tx:
            is_claimed = alerts.claim_end(tx, telling)
        if not is_claimed:
            continue
        reached(Crashpoint.TELL_END_AFTER_CLAIM)
        try:
            channel.tell(telling.alert)
        except Exception as error:  # noqa: BLE001 (a channel may be anybody's code)
            logger.warning("%s could not be notified that an alert is over: %s", channel.label, _type(error))
            return
        reached(Crashpoint.TELL_END_AFTER_SEND)
        with connection.transaction() as tx:
            alerts.note_end_told(tx, telling)


def _send(
    connection: OwnConnection, settings: Settings, channel: Channel, claimed: list[Telling], *, is_summed: bool
) -> bool:
    first = claimed[0].alert
    alert = _summary(connection, claimed) if claimed[1:] else _described(connection, settings, first)
    try:
        channel.tell(alert)
    except Exception as error:  # noqa: BLE001 (a channel may be anybody's code)
        # Only the type is logged: the message may contain the address, which may be a secret.
        delay_s = min(FIRST_RETRY_S * 2 ** min(claimed[0].tries, 10), LONGEST_RETRY_S)
        logger.warning(
            "%s could not be notified of an alert, trying again in %.0f s: %s", channel.label, delay_s, _type(error)
        )
        with connection.transaction() as tx:
            for telling in claimed:
                alerts.note_untold(tx, telling, _type(error), delay_s)
        return False
    reached(Crashpoint.TELL_AFTER_SEND)
    with connection.transaction() as tx:
        for telling in claimed:
            alerts.note_told(tx, telling, is_summed=is_summed)
    return True


def _summary(connection: OwnConnection, claimed: list[Telling]) -> Alert:
    with connection.reading() as tx:
        counted = {group.id: group.failures for group in failures.groups(tx)}
    return summary([telling.alert for telling in claimed], counted)


def summary(found: list[Alert], counted: Mapping[str, int]) -> Alert:
    """Make one alert of several, with its own id. The groups with the most failures, by *counted*, come first."""
    id = f"summary:{found[0].id}/{found[0].occasion}"
    worst = sorted(found, key=lambda alert: -counted.get(alert.subject, 0))
    lines = [
        f"{alert.title} ({counted[alert.subject]:,} failed attempts)" if alert.subject in counted else alert.title
        for alert in worst
    ]
    titles = "; ".join(lines[:5]) + ("; ..." if lines[5:] else "")
    more = (f"... and {len(lines) - LISTED:,} more: mirepoix alerts",) if lines[LISTED:] else ()
    title = f"{len(found):,} more alerts: {titles}"
    return Alert(id, "summary", "", title, opened_at=found[-1].opened_at, lines=(*lines[:LISTED], *more))


def _described(connection: OwnConnection, settings: Settings, alert: Alert) -> Alert:
    """Return *alert* with its page in the admin and the frames of the latest failure."""
    is_of_group = alert.kind in ("new_failure", "regression")
    model, id = ("failuregroup", alert.subject) if is_of_group else ("task", alert.task_id)
    url = None
    if settings.alerts_base_url and id:
        url = f"{settings.alerts_base_url.rstrip('/')}/mirepoix/{model}/{_in_admin(id)}/change/"
    traceback = None
    if is_of_group:
        with connection.reading() as tx:
            rows = tx.fetch("latest_failure", task_id=alert.task_id, failure_group=alert.subject)
        traceback = frames(rows[0].traceback) if rows and rows[0].traceback else None
    return replace(alert, url=url, traceback=traceback)


def _in_admin(id: str) -> str:
    """Quote *id* as Django's admin does in its URLs (``django.contrib.admin.utils.quote``), without Django."""
    return quote("".join(f"_{ord(letter):02X}" if letter in _QUOTED_BY_ADMIN else letter for letter in id), safe="")


def frames(traceback: str) -> str | None:
    """Return the lines of code of a traceback without the exceptions' messages, which contain values."""
    found = [line for match in _FRAME.finditer(traceback) for line in match.groups() if line]
    return "\n".join(found) or None


def _type(error: Exception) -> str:
    status = getattr(error, "status", None) or getattr(error, "smtp_code", None)
    return type(error).__name__ + (f" {status}" if status else "")
