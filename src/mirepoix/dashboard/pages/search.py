"""The search box: an id or its beginning, a part of a name, an argument, or the id of a cause or a group."""

from __future__ import annotations

import re
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from mirepoix.dashboard.filters import LONGEST
from mirepoix.dashboard.pages.needs import site_of
from mirepoix.ledger.query.failures import groups
from mirepoix.ledger.query.tasks import beginning_with

SHORTEST_ID = 4
"""The beginning of an id must be so long to be searched as such."""


def search(request: Request) -> Response:
    """Go to the page of what was typed."""
    typed = request.query_params.get("q", "").strip().replace("\x00", "")[:LONGEST]
    root = request.scope["root_path"]
    if not typed:
        return RedirectResponse(f"{root}/tasks", 303)
    if re.fullmatch(r"[A-Za-z_]\w*=.+", typed, re.DOTALL):
        return RedirectResponse(f"{root}/tasks?{urlencode({'arg': typed})}", 303)
    with site_of(request).reading() as tx:
        found = beginning_with(tx, typed, 2) if len(typed) >= SHORTEST_ID else []
        causes = groups(tx, typed.lower()) if len(typed) >= SHORTEST_ID and not found else []
    if len(found) == 1:
        return RedirectResponse(f"{root}/tasks/{quote(found[0][0], safe='')}", 303)
    if len(causes) == 1:
        return RedirectResponse(f"{root}/failures/{quote(causes[0].id, safe='')}", 303)
    name = typed if "*" in typed or "?" in typed else f"*{typed}*"
    return RedirectResponse(f"{root}/tasks?{urlencode({'name': name})}", 303)
