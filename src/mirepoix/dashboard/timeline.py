"""Put the whole life of a task in order: what was sent, waited for, tried, killed, parked, edited and decided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from mirepoix.ledger.query.task_detail import AttemptLine, TaskDetail
from mirepoix.operations.format import duration, memory, one_line, run_time
from mirepoix.states import HELD


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened. *kind* chooses its colour: a state, an outcome, ``sent``, ``edit`` or ``decision``."""

    at: datetime
    kind: str
    title: str
    words: str = ""
    attempt: AttemptLine | None = None
    waited_s: float | None = None
    """How long the task had waited before, in seconds."""


def timeline(detail: TaskDetail) -> list[Moment]:
    """Return the moments, the first one first."""
    found = sorted(_moments(detail), key=lambda moment: moment.at)
    shown: list[Moment] = []
    idle_since: datetime | None = None
    for moment in found:
        waited_s = None
        if moment.kind == "taken" and idle_since is not None:
            waited_s = max(0.0, (moment.at - idle_since).total_seconds())
        if moment.kind != "taken":
            idle_since = moment.at
        shown.append(Moment(moment.at, moment.kind, moment.title, moment.words, moment.attempt, waited_s))
    return shown


def _moments(detail: TaskDetail) -> Iterator[Moment]:
    due = f"to run at {detail.eta:%Y-%m-%d %H:%M:%SZ}" if detail.eta and not detail.retries else ""
    yield Moment(
        detail.created_at, "sent", "Sent", " · ".join(filter(None, (f"to queue {one_line(detail.queue)}", due)))
    )
    for attempt in detail.attempts:
        yield from _of_attempt(attempt)
    for edit in detail.edits:
        yield Moment(edit.edited_at, "edit", f"Edited by {one_line(edit.edited_by)}", one_line(edit.reason))
    for decision in detail.decisions:
        who = one_line(decision.decided_by)
        yield Moment(decision.decided_at, "decision", f"{one_line(decision.verb)} by {who}", one_line(decision.reason))
    for step in detail.steps:
        took = f"took {run_time(step.run_time_s)}" if step.run_time_s is not None else ""
        yield Moment(step.done_at, "step", f"Step {one_line(step.name)}", took)
    is_told = any(attempt.fence == detail.fence and attempt.outcome == detail.state for attempt in detail.attempts)
    if detail.finished_at is not None and not is_told and detail.state not in HELD:
        yield Moment(detail.finished_at, detail.state.value, detail.state.value.capitalize())


def _of_attempt(attempt: AttemptLine) -> Iterator[Moment]:
    worker = one_line(attempt.worker or attempt.worker_id)
    if attempt.leased_at is not None:
        where = f"by {worker}" if worker else ""
        yield Moment(attempt.leased_at, "taken", f"Attempt {attempt.fence}: taken {where}".rstrip(), "", attempt)
    if attempt.finished_at is None:
        if attempt.started_at is not None:
            yield Moment(attempt.started_at, "running", f"Attempt {attempt.fence}: runs", "", attempt)
        return
    facts = (
        f"ran {run_time(attempt.run_time_s)}" if attempt.run_time_s is not None else "",
        attempt.beginning,
        memory(attempt.peak_memory_kb),
        f"signal {attempt.signal}" if attempt.signal else "",
        f"exit code {attempt.exit_code}" if attempt.exit_code is not None else "",
        f"process {attempt.pid}" if attempt.pid else "",
    )
    title = f"Attempt {attempt.fence}: {one_line(attempt.outcome)}"
    yield Moment(attempt.finished_at, attempt.outcome, title, " · ".join(filter(None, facts)), attempt)


def waited(moment: Moment) -> str:
    """Write how long the task waited before this moment; nothing if that is not worth a word."""
    return f"after waiting {duration(moment.waited_s)}" if moment.waited_s and moment.waited_s >= 1 else ""
