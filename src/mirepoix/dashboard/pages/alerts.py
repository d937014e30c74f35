"""The alerts: those that are open, whom they reached or why not, and those that are over."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from mirepoix.alerts.deliver import SUMMARY_S
from mirepoix.dashboard.pages.needs import shown_text, site_of
from mirepoix.dashboard.render import render
from mirepoix.ledger.alerts import held_back
from mirepoix.ledger.query import alerts
from mirepoix.ledger.query.alerts import AlertLine

OPEN = 100
ENDED = 50


def show(request: Request) -> Response:
    """Show them."""
    site = site_of(request)
    settings = site.installation.settings
    with site.reading() as tx:
        opened = alerts.opened(tx, held_back(tx, settings.alerts_per_hour, SUMMARY_S), OPEN)
        ended = alerts.ended(tx, ENDED)

    def notified(alert: AlertLine) -> list[tuple[str, str]]:
        is_over = alert.closed_at is not None
        return [(note.channel, became(request, note, is_over=is_over)) for note in alert.notifications]

    def lines(found: list[AlertLine]) -> list[tuple[AlertLine, str, list[tuple[str, str]]]]:
        return [(one, where(one), notified(one)) for one in found]

    return render(request, "alerts.html", opened=lines(opened), ended=lines(ended), channels=bool(settings.alerts))


def where(alert: AlertLine) -> str:
    """Return the page of what an alert is about."""
    if alert.kind in ("new_failure", "regression"):
        return f"/failures/{alert.subject}"
    if alert.task_id:
        return f"/tasks/{alert.task_id}"
    return "/queues" if alert.queue else "/"


def became(request: Request, note: alerts.Notification, *, is_over: bool) -> str:
    """Write what became of a notification, without the time."""
    if note.told_at is not None:
        return "in a summary" if note.is_summed else "delivered"
    if note.trouble:
        return f"not delivered after {note.tries} tries: {shown_text(request, note.trouble)}"
    return "not delivered" if is_over else "not delivered yet"
