"""What waits for a person: parked calls, quarantined tasks and tasks that failed for good."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from mirepoix.dashboard.pages.needs import shown_text, site_of
from mirepoix.dashboard.render import render
from mirepoix.ledger.query.parked import ParkedCall, parked
from mirepoix.ledger.query.tasks import Filters, search
from mirepoix.signatures.lacking import LACKING
from mirepoix.states import State

CALLS = 50
TASKS = 50


def show(request: Request) -> Response:
    """Show all of it."""
    site = site_of(request)
    seen = site.snapshot.get()
    with site.reading() as tx:
        found = parked(tx)
        quarantined = search(tx, Filters(states=frozenset({State.QUARANTINED})), TASKS)
    catalog = site.installation.catalog if site.has_app else None

    def of_this_code(call: ParkedCall) -> str:
        """Return what the app's own code says about the call."""
        if catalog is None:
            return ""
        lacks = catalog.incompatibility(call.call)
        return "can take it: its workers resume it" if lacks is None else f"cannot take it: {lacks.reason}"

    return render(
        request,
        "waiting.html",
        parked=found,
        calls=[
            (call, shown_text(request, call.reason), LACKING[call.lacking], of_this_code(call))
            for call in found.calls[:CALLS]
        ],
        more_calls=len(found.calls[CALLS:]),
        quarantined=[(line, shown_text(request, line.reason)) for line in quarantined],
        failed=next((kept for kept in seen.overview.kept if kept.state is State.FAILED), None),
        causes=[group for group in seen.groups if group.kept],
    )
