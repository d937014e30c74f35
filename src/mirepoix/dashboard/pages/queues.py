"""The queues: how late each is, how fast it moves, when it will be empty, and who serves it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from mirepoix.dashboard.access import Role
from mirepoix.dashboard.pages.needs import site_of, user_of
from mirepoix.dashboard.pages.paused import paused_lines
from mirepoix.dashboard.render import render
from mirepoix.operations.look import queue_paces


def show(request: Request) -> Response:
    """Show all of them, the most urgent first."""
    site = site_of(request)
    seen = site.snapshot.get()
    queues = queue_paces(seen, site.installation.settings.queue_objectives_s or {})
    return render(
        request,
        "queues.html",
        seen=seen,
        queues=queues,
        paused=paused_lines(request, seen.overview.paused),
        may_act=user_of(request).may(Role.ACT),
    )
