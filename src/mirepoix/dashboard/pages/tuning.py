"""Tuning: what each change of workers and queues would do to the waiting times, as ``mirepoix tune`` says it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from mirepoix.connect.source import OwnConnection
from mirepoix.dashboard.access import Role
from mirepoix.dashboard.errors import BadAddress, NoSuchThing
from mirepoix.dashboard.gate import visit_of
from mirepoix.dashboard.jobs import Job
from mirepoix.dashboard.pages.needs import require, site_of
from mirepoix.dashboard.render import render
from mirepoix.ledger.query.recorded import recorded
from mirepoix.operations.format import count
from mirepoix.tuning.advise import QueueStudy, Study, study
from mirepoix.tuning.plot import rows, svg
from mirepoix.tuning.workload import Waits, wait_words

PERIODS = {"1h": 3_600.0, "24h": 86_400.0, "7d": 7 * 86_400.0}
MOST_TASKS = 20_000
"""The most tasks that a study reads, the newest: the simulations then take seconds, which other pages share."""
PREFETCH = 1
"""The prefetch multiplier that Mirepoix sets for its workers, unless the app sets another."""


@dataclass(frozen=True, slots=True)
class Studied:
    """A study, and what it was asked for."""

    study: Study
    since: str
    user: str
    at: datetime


def show(request: Request) -> Response:
    """Show the latest study of this dashboard's process."""
    found = site_of(request).studied
    tables = [] if found is None else [_table(one) for one in found.study.queues]
    return render(request, "tuning.html", found=found, tables=tables, periods=tuple(PERIODS), most=MOST_TASKS)


def plot(request: Request) -> Response:
    """Return the plot of the latest study."""
    found = site_of(request).studied
    if found is None:
        raise NoSuchThing("Nothing was studied yet.")
    return Response(svg(found.study), media_type="image/svg+xml")


def run(request: Request) -> Response:
    """Study the record of a period. If a study runs already, show that one and start no other."""
    user, visit, site = require(request, Role.ACT), visit_of(request), site_of(request)
    since = visit.first("since")
    if since not in PERIODS:
        raise BadAddress(f"A study is of {', '.join(PERIODS)}.")
    app, settings = site.installation.app, site.installation.settings
    prefetch = int(app.conf.worker_prefetch_multiplier) if site.has_app else PREFETCH

    def work(connection: OwnConnection, job: Job) -> None:
        job.can_stop = False
        with connection.reading() as tx:
            found = recorded(tx, PERIODS[since], MOST_TASKS)
        job.lines.append(f"{count(len(found.runs), 'task')} were read. The simulations run.")
        made = study(found, dict(settings.queue_objectives_s or {}), prefetch)
        site.studied = Studied(made, since, user.name, datetime.now(UTC))
        job.lines.append("The study is done.")

    title = "Study of waiting times"
    job = next((job for job in site.jobs.running() if job.title == title), None)
    job = job or site.jobs.begin(title, user.name, "/tuning", 0, work)
    to = "/tuning" if job.is_over and not job.error else f"/jobs/{job.id}"
    return RedirectResponse(f"{request.scope['root_path']}{to}", 303)


def _table(one: QueueStudy) -> tuple[QueueStudy, list[tuple[str, Waits, tuple[str, ...], bool]]]:
    """Return the queue, and for each change its words, its waiting times, these in words, and if that is too late."""
    found = []
    for words, waits in rows(one):
        told = tuple(wait_words(seconds) for seconds in (waits.p50_s, waits.p95_s, waits.p99_s))
        found.append((words, waits, told, one.objective_s is not None and waits.p95_s > one.objective_s))
    return one, found
