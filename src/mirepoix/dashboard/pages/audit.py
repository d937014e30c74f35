"""Who did what, when and why."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from mirepoix.dashboard.errors import BadAddress
from mirepoix.dashboard.pages.needs import site_of
from mirepoix.dashboard.pages.paused import without_values
from mirepoix.dashboard.render import render
from mirepoix.ledger.query.audit import acts, decided

SHOWN = 200


def show(request: Request) -> Response:
    """Show the latest acts, or the decisions about tasks before a row."""
    text = request.query_params.get("before", "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 19):  # noqa: PLR2004
        raise BadAddress("This address names no page of the list. Begin at its first page.")
    before = int(text) if text else None
    with site_of(request).reading() as tx:
        older = decided(tx, before)
        shown = list(older.acts) if before else acts(tx, SHOWN)
    return render(
        request, "audit.html", acts=without_values(request, shown), before=older.before, is_first=before is None
    )
