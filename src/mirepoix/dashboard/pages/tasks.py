"""The list of tasks: every filter is in the address, and the next page begins after the last task of this one."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from mirepoix.dashboard.errors import BadAddress
from mirepoix.dashboard.filters import AMONG, filters_from, named
from mirepoix.dashboard.pages.needs import require_filters, shown_text, site_of
from mirepoix.dashboard.render import render
from mirepoix.ledger.query import pages
from mirepoix.ledger.query.tasks import TaskLine
from mirepoix.operations.format import SCHEDULED, one_line, when
from mirepoix.states import HELD, State

LIMITS = (50, 100, 200)

QUICK = (
    ("All", ""),
    ("Running", "running"),
    ("Waiting", "pending"),
    ("Scheduled", "scheduled"),
    ("Failed", "failed"),
    ("Quarantined", "quarantined"),
    ("Parked", "parked"),
    ("Succeeded", "succeeded"),
)


def show(request: Request) -> Response:
    """Show a page of it."""
    given = request.query_params
    filters = filters_from(given)
    is_oldest = given.get("order") == "oldest"
    limit = int(given.get("limit", "")) if given.get("limit", "") in map(str, LIMITS) else LIMITS[0]
    try:
        after = pages.from_text(given["after"]) if given.get("after") else None
    except ValueError as error:
        raise BadAddress(str(error)) from None
    require_filters(request, filters)
    with site_of(request).reading() as tx:
        page = pages.page(tx, filters, limit, after, oldest_first=is_oldest)
    wanted = named(given)
    return render(
        request,
        "tasks.html",
        rows=[(line, what(request, line)) for line in page.lines],
        given={name: [value for other, value in wanted if other == name] for name, _ in wanted},
        wanted=wanted,
        states=[SCHEDULED, *State],
        quick=QUICK,
        is_oldest=is_oldest,
        limit=limit,
        is_first=after is None,
        following=pages.as_text(page.following) if page.following else "",
        among=AMONG,
        is_narrow=filters.among is not None,
    )


def what(request: Request, line: TaskLine) -> str:
    """Return when the task is due, or who has it, and its reason."""
    words = []
    if line.state is State.PENDING and line.due_at is not None:
        words.append(f"due {when(line.due_at)}")
    elif line.state in HELD:
        words.append(f"on {one_line(line.worker or line.worker_id)}")
    if line.reason:
        words.append(one_line(shown_text(request, line.reason)))
    return " · ".join(words)
