"""Open and close alerts as the conditions are now, in one transaction. Several watchers may do this at once."""

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
    """Open new alerts and close those that are over; return how many were opened.

    *channels* are the labels of the channels that are notified of the new alerts. Two watchers open an alert once. An
    alert that was opened within *steady_s* (half an interval) is not closed, because this watcher's look may be older.
    """
    steady_s = settings.alerts_interval_s / 2 if steady_s is None else steady_s
    counting.catch_up(connection)
    with connection.reading() as tx:
        due = conditions(tx, settings)
        is_open = {opened.alert.id for opened in alerts.all_open(tx)}
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


def _by_id(due: tuple[Alert, float]) -> str:
    """Sort by id, so that two watchers that open the same alerts cannot deadlock."""
    return due[0].id
