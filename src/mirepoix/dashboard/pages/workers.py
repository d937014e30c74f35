"""The workers: who is alive, what each runs now and for how long, and who died lately and why."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from mirepoix.dashboard.pages.needs import site_of
from mirepoix.dashboard.render import render
from mirepoix.ledger.query.tasks import Filters, TaskLine, search
from mirepoix.operations.health import by_life
from mirepoix.states import HELD

HELD_MOST = 1_000
OF_EACH = 8


def show(request: Request) -> Response:
    """Show all of them, the silent first."""
    site = site_of(request)
    seen = site.snapshot.get()
    with site.reading() as tx:
        held = search(tx, Filters(states=HELD), HELD_MOST, oldest_first=True)
    by_worker: dict[str | None, list[TaskLine]] = {}
    for line in held:
        by_worker.setdefault(line.worker_id, []).append(line)
    slow = {one.task.id: one.usual_s for one in seen.slow}
    workers = [(line, by_worker.get(line.worker.id, [])[:OF_EACH]) for line in by_life(seen.overview.workers)]
    return render(request, "workers.html", seen=seen, workers=workers, slow=slow)
