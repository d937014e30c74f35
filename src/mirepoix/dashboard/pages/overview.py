"""The first page: how the ledger is in one sentence, what is behind that, and what to do."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from mirepoix.dashboard.access import Role
from mirepoix.dashboard.pages.needs import shown_text, site_of, user_of
from mirepoix.dashboard.pages.paused import paused_lines, without_values
from mirepoix.dashboard.render import render
from mirepoix.ledger.query.audit import Act, acts
from mirepoix.operations.findings import Failing, Finding, Named
from mirepoix.operations.health import by_life, by_urgency
from mirepoix.operations.look import LATE_AFTER_S, Seen
from mirepoix.operations.verdict import sentence
from mirepoix.states import State

CAUSES = 5
QUEUES = 12
WORKERS = 12
ACTS = 5
SHARES = 6
RELEASES = 5
SCHEDULES = 8
READ = 200
"""The most decisions about tasks that are read for the latest acts."""


def show(request: Request) -> Response:
    """Show it."""
    site = site_of(request)
    seen = site.snapshot.get()
    with site.reading() as tx:
        done: list[Act] = acts(tx, ACTS, READ)
    overview = seen.overview
    workers = by_life(overview.workers)
    queues = by_urgency(overview.queues)
    rates = seen.pace.rates()
    return render(
        request,
        "overview.html",
        seen=seen,
        others=[(finding, sentence(finding, LATE_AFTER_S), where(finding, seen)) for finding in seen.findings[1:8]],
        worst_where=where(seen.findings[0], seen) if seen.findings else None,
        queues=[(load, rates.get(load.queue, 0.0)) for load in queues[:QUEUES]],
        more_queues=len(queues[QUEUES:]),
        causes=seen.groups[:CAUSES],
        more_causes=len(seen.groups[CAUSES:]),
        shares=seen.shares[:SHARES],
        releases=[
            (release, sum(group.first_release == release.name for group in seen.groups))
            for release in seen.releases[:RELEASES]
        ],
        kept=[(kept, shown_text(request, kept.newest_reason)) for kept in overview.kept],
        workers=workers[:WORKERS],
        more_workers=len(workers[WORKERS:]),
        last_hour=[(state, number) for state, number in overview.last_hour.items()],
        acts=without_values(request, done),
        jobs=site.jobs.running(),
        paused=paused_lines(request, overview.paused),
        schedules=[line for line in seen.schedules if not line.is_well or line.state == "paused"][:SCHEDULES],
        next_schedule=min(
            (line for line in seen.schedules if line.state == "active" and line.next_fire_at),
            key=lambda line: line.next_fire_at or seen.at,
            default=None,
        ),
        may_act=user_of(request).may(Role.ACT),
    )


@dataclass(frozen=True, slots=True)
class Place:
    """A page and its parameters."""

    path: str
    given: dict[str, str] = field(default_factory=dict)


def where(finding: Finding, seen: Seen) -> Place:
    """Return the page that shows what a finding is about."""
    if isinstance(finding, Failing):
        return _where_it_fails(finding, seen)
    if isinstance(finding, Named):
        return Place(f"/tasks/{finding.task_id}" if finding.task_id else f"/schedules/{finding.name}")
    match finding.kind:
        case "lost" | "dead":
            return Place("/workers")
        case "late" | "paused":
            return Place("/queues")
        case "chord":
            return Place("/chords")
        case "failed":
            return Place("/failures")
        case _:
            return Place("/waiting" if finding.state in (State.PARKED, State.QUARANTINED) else "/")


def _where_it_fails(finding: Failing, seen: Seen) -> Place:
    """Return its worst cause. Attempts that died and were tried again have none: then its tasks with several tries."""
    causes = [group for group in seen.groups if group.name == finding.name and group.last_hour]
    if causes:
        return Place(f"/failures/{max(causes, key=lambda group: group.last_hour).id}")
    return Place("/tasks", {"name": finding.name, "min_tries": "2"})
