"""Make the open alerts those that ought to be: one transaction, safe for any number of watchers at once."""

from __future__ import annotations

from collections.abc import Sequence

from mirepoix.alerts.conditions import conditions
from mirepoix.config import Settings
from mirepoix.connect.source import OwnConnection
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.ledger import alerts, counting
from mirepoix.records import Alert


def sync_open(
    connection: OwnConnection, settings: Settings, channels: Sequence[str], steady_s: float | None = None
) -> int:
    """Look, open what is new, close what is over; return how many were opened.

    *channels* are the labels of those that hear of what this opens. Two watchers open an alert once. What was opened
    within *steady_s* (the interval of watching) is not closed: the other's look may be older than that.
    """
    steady_s = settings.alerts_interval_s / 2 if steady_s is None else steady_s
    counting.catch_up(connection)
    with connection.reading() as tx:
        due = conditions(tx, settings)
        is_open = {one.alert.id for one in alerts.all_open(tx)}
    ids = {alert.id for alert, _ in due}
    news = [(alert, delay_s) for alert, delay_s in due if alert.id not in is_open]
    over = is_open - ids
    if not news and not over:
        return 0
    with connection.transaction() as tx:
        opened = sum(alerts.open_(tx, alert, channels, delay_s) for alert, delay_s in sorted(news, key=_by_id))
        for id in sorted(over):
            alerts.close(tx, id, steady_s)
        reached(Crashpoint.ALERT_BEFORE_COMMIT)
    reached(Crashpoint.ALERT_AFTER_COMMIT)
    return opened


def _by_id(one: tuple[Alert, float]) -> str:
    """Two watchers that open the same wait for each other, and never in a ring."""
    return one[0].id
