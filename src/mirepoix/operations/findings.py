"""Find problems in an overview: what is lost, late, stuck, failed or dead, and how serious that is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from mirepoix.ledger.holds import Kind
from mirepoix.ledger.query.health import HOUR_S, WorkerSeen
from mirepoix.ledger.query.pace import Share
from mirepoix.operations import steering
from mirepoix.operations.health import Overview, is_unserved
from mirepoix.operations.schedules import ScheduleLine
from mirepoix.operations.slow import Slow
from mirepoix.states import State

FAILING_LEAST = 5
FAILING_SHARE = 0.1
"""A task is failing if so many attempts, and such a share of them, did not succeed lately."""


class Severity(StrEnum):
    """The severity of a finding. Programs can rely on these three words."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem. *kind* is ``lost``, ``late``, ``stuck``, ``failed``, ``dead`` or ``paused``: for more than a day.

    The dashboard and ``mirepoix top`` also have ``failing``, ``chord``, ``schedule`` and ``slow``.
    """

    kind: str
    severity: Severity
    count: int
    queue: str | None = None
    worker: str | None = None
    age_s: float | None = None
    state: State | None = None
    is_served: bool = True
    """For a queue: whether a live worker consumes it. For dead workers: whether one of that name is alive again."""


@dataclass(frozen=True, slots=True)
class Failing(Finding):
    """A task of which *count* of the latest *ended* attempts did not succeed. *died* of these lost their process."""

    name: str = ""
    ended: int = 0
    died: int = 0


@dataclass(frozen=True, slots=True)
class Named(Finding):
    """A schedule that missed *count* fire times, or is overdue for *age_s*; or the slowest of *count* slow tasks."""

    name: str = ""
    task_id: str = ""


@dataclass(frozen=True, slots=True)
class Forgotten(Finding):
    """Something that has been paused for more than a day and has tasks. *words* say what, by whom and since when."""

    words: str = ""
    resume: str = ""
    """The arguments of the command that resumes it."""


def findings(overview: Overview) -> list[Finding]:
    """Return all problems, the critical first. Kinds that may have many findings come last."""
    found = [*_lost(overview), *_kept(overview), *_dead(overview), *_forgotten(overview), *_late(overview)]
    return sorted(found, key=lambda finding: finding.severity is not Severity.CRITICAL)


def failing(shares: Iterable[Share]) -> list[Failing]:
    """Return the tasks of which many attempts fail now, even if their retries succeed."""
    return [
        Failing(
            "failing", Severity.WARNING, share.failed + share.died, name=share.name, ended=share.ended, died=share.died
        )
        for share in shares
        if share.failed + share.died >= FAILING_LEAST and share.failing >= FAILING_SHARE
    ]


def stuck_chords(number: int) -> list[Finding]:
    """Return the finding that chords wait for members that wait for a person."""
    return [Finding("chord", Severity.WARNING, number)] if number else []


def late_schedules(lines: Iterable[ScheduleLine]) -> list[Named]:
    """Return the schedules that no worker fires, and those that missed fire times lately, the worst first."""
    found = [
        Named(
            "schedule", Severity.WARNING, line.missed, age_s=line.overdue_s if line.is_overdue else None, name=line.name
        )
        for line in lines
        if line.is_overdue or line.missed
    ]
    return sorted(found, key=lambda one: (-(one.age_s or 0.0), -one.count))


def slow_tasks(found: Sequence[Slow]) -> list[Named]:
    """Return the finding that tasks run longer than usual. *found* has the slowest first."""
    if not found:
        return []
    task = found[0].task
    return [Named("slow", Severity.WARNING, len(found), age_s=task.running_s, name=task.name, task_id=task.id)]


def severity(found: list[Finding]) -> Severity:
    """Return the worst severity."""
    levels = {finding.severity for finding in found}
    return next((level for level in (Severity.CRITICAL, Severity.WARNING) if level in levels), Severity.OK)


def _lost(overview: Overview) -> list[Finding]:
    return [
        Finding("lost", Severity.CRITICAL, held.count, worker=held.worker or held.worker_id, age_s=held.oldest_s)
        for held in overview.stranded
    ]


def _late(overview: Overview) -> list[Finding]:
    found = []
    for load in overview.queues:
        if is_unserved(load):
            late = Finding(
                "late", Severity.CRITICAL, load.waiting, queue=load.queue, age_s=load.oldest_s, is_served=False
            )
            found.append(late)
        elif load.late and load.paused is None:
            found.append(Finding("late", Severity.WARNING, load.late, queue=load.queue, age_s=load.oldest_s))
        if load.late_taken:
            late = Finding("late", Severity.WARNING, load.late_taken, queue=load.queue, age_s=load.oldest_taken_s)
            found.append(replace(late, state=State.LEASED))
    return found


def _forgotten(overview: Overview) -> list[Finding]:
    return [
        Forgotten(
            "paused",
            Severity.WARNING,
            paused.tasks or 0,
            queue=paused.hold.value if paused.hold.kind is Kind.QUEUE else None,
            age_s=paused.hold.paused_s,
            words=steering.sentence(shown),
            resume=steering.command(shown.hold),
        )
        for paused in overview.paused
        if paused.is_forgotten
        for shown in (replace(paused, hold=steering.without_value(paused.hold)),)  # everybody may read findings
    ]


def _kept(overview: Overview) -> list[Finding]:
    found = []
    for kept in overview.kept:
        if kept.state is State.FAILED:
            # Old failures wait for a decision too, but they are not urgent.
            if lately := overview.last_hour[State.FAILED]:
                found.append(Finding("failed", Severity.WARNING, lately, age_s=kept.newest_s, state=kept.state))
        else:
            found.append(Finding("stuck", Severity.WARNING, kept.count, age_s=kept.newest_s, state=kept.state))
    return found


def _dead(overview: Overview) -> list[Finding]:
    if not overview.alive:
        return [Finding("dead", Severity.CRITICAL, len(overview.gone))]
    deaths: dict[str, list[WorkerSeen]] = {}
    for worker in overview.gone:
        if worker.ended_s is None or worker.ended_s < HOUR_S:
            deaths.setdefault(worker.name, []).append(worker)
    alive = {worker.name for worker in overview.alive}
    return [
        Finding("dead", Severity.WARNING, len(died), worker=name, age_s=_latest(died), is_served=name in alive)
        for name, died in deaths.items()
    ]


def _latest(died: list[WorkerSeen]) -> float | None:
    ages = [worker.ended_s for worker in died]
    return None if None in ages else min(age for age in ages if age is not None)
