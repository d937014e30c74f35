"""Tell one channel what it is to hear: claimed, sent, noted; as a summary when it has heard enough for an hour."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from urllib.parse import quote

from mirepoix.alerts.channels import Channel
from mirepoix.config import Settings
from mirepoix.connect.source import OwnConnection
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.ledger import alerts
from mirepoix.ledger.alerts import Telling
from mirepoix.records import Alert

logger = logging.getLogger("mirepoix.telling")  # not below the one that tells: its handlers would get this too

FIRST_RETRY_S, LONGEST_RETRY_S = 5.0, 600.0
_QUOTED_BY_ADMIN = frozenset(':/_#?;@&=+$,"[]<>%\n\\')

_FRAME = re.compile(r'^(  File ".*", line \d+, in .*)(?:\n(    \S.*))?', re.MULTILINE)


def tell_due(connection: OwnConnection, settings: Settings, channel: Channel) -> int:
    """Tell *channel* all that is due; return how many alerts it was told of. Stops at the first that it refuses.

    Any number may do so at once. A channel that fails is tried again after 5 s, twice as long each time, up to 10
    minutes, as long as the alert is open.
    """
    told = 0
    while True:
        with connection.reading() as tx:
            due = alerts.due(tx, channel.label)
            messages, has_summary = alerts.told_within_the_hour(tx, channel.label)
        if not due or (messages >= settings.alerts_per_hour and has_summary):
            return told
        batch = due[:1] if messages < settings.alerts_per_hour else due
        with connection.transaction() as tx:
            claimed = [one for one in batch if alerts.claim(tx, one)]
        reached(Crashpoint.TELL_AFTER_CLAIM)
        if not claimed:
            return told
        is_summed = messages >= settings.alerts_per_hour
        if not _send(connection, settings, channel, claimed, is_summed=is_summed):
            return told
        told += len(claimed)


def _send(
    connection: OwnConnection, settings: Settings, channel: Channel, claimed: list[Telling], *, is_summed: bool
) -> bool:
    first = claimed[0].alert
    alert = summary([one.alert for one in claimed]) if claimed[1:] else _described(connection, settings, first)
    try:
        channel.tell(alert)
    except Exception as error:  # noqa: BLE001 (a channel may be anybody's code)
        # Only the type: an error's message may have the address, which may be a secret.
        delay_s = min(FIRST_RETRY_S * 2 ** min(claimed[0].tries, 10), LONGEST_RETRY_S)
        logger.warning("%s could not be told of an alert, again in %.0f s: %s", channel.label, delay_s, _type(error))
        with connection.transaction() as tx:
            for one in claimed:
                alerts.note_untold(tx, one, _type(error), delay_s)
        return False
    reached(Crashpoint.TELL_AFTER_SEND)
    with connection.transaction() as tx:
        for one in claimed:
            alerts.note_told(tx, one, is_summed=is_summed)
    return True


def summary(found: list[Alert]) -> Alert:
    """Several as one, with an id of its own."""
    id = f"summary:{found[0].id}/{found[0].occasion}"
    titles = "; ".join(alert.title for alert in found[:5]) + ("; ..." if found[5:] else "")
    return Alert(id, "summary", "", f"{len(found):,} more alerts: {titles}", opened_at=found[-1].opened_at)


def _described(connection: OwnConnection, settings: Settings, alert: Alert) -> Alert:
    """With its place in the admin, and the frames of the newest failure."""
    is_of_group = alert.kind in ("new_failure", "regression")
    model, id = ("failuregroup", alert.subject) if is_of_group else ("task", alert.task_id)
    url = None
    if settings.alerts_base_url and id:
        url = f"{settings.alerts_base_url.rstrip('/')}/mirepoix/{model}/{_in_admin(id)}/change/"
    traceback = None
    if is_of_group:
        with connection.reading() as tx:
            rows = tx.fetch("latest_failure", task_id=alert.task_id, failure_group=alert.subject)
        traceback = frames(rows[0][5]) if rows and rows[0][5] else None
    return replace(alert, url=url, traceback=traceback)


def _in_admin(id: str) -> str:
    """*id* as Django's admin has it in its addresses (``django.contrib.admin.utils.quote``), Django or not."""
    return quote("".join(f"_{ord(letter):02X}" if letter in _QUOTED_BY_ADMIN else letter for letter in id), safe="")


def frames(traceback: str) -> str | None:
    """The places of a traceback, without the exceptions' messages, which hold values."""
    found = [line for match in _FRAME.finditer(traceback) for line in match.groups() if line]
    return "\n".join(found) or None


def _type(error: Exception) -> str:
    status = getattr(error, "status", None) or getattr(error, "smtp_code", None)
    return type(error).__name__ + (f" {status}" if status else "")
