"""``mirepoix status``: one screen that answers whether anything is lost, late, stuck or dead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import click
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mirepoix.broker import former
from mirepoix.broker.former import Backlog
from mirepoix.cli.alerts import pointer
from mirepoix.cli.desk import Desk, pass_desk
from mirepoix.cli.looks import STYLES, plain_table, state_text
from mirepoix.cli.options import Duration, json_option
from mirepoix.cli.words import count, duration, one_line, when
from mirepoix.ledger.alerts import OpenAlert, all_open
from mirepoix.ledger.query.health import COUNTED_MOST, Kept, Overview, QueueLoad, WorkerSeen, overview
from mirepoix.ledger.query.verdict import Finding, Severity, findings, severity
from mirepoix.states import State

SHOWN = 6
"""Queues, workers and findings beyond this many are counted, not listed, unless --all is given: one screen."""

_HEADLINES = {
    Severity.OK: (" ALL WELL ", "bold white on green", "nothing is lost, late, stuck or dead"),
    Severity.WARNING: (" LOOK ", "bold black on yellow", ""),
    Severity.CRITICAL: (" ACT NOW ", "bold white on red", ""),
}
_MARKS = {Severity.CRITICAL: ("!! ", "bold red"), Severity.WARNING: ("!  ", "yellow")}


@click.command()
@click.option(
    "--late-after", type=Duration(), default="1m", show_default=True, help="A task that is ready longer is late."
)
@click.option("--all", "is_all", is_flag=True, help="List every queue and worker.")
@json_option
@pass_desk
def status(desk: Desk, late_after: timedelta, is_all: bool, is_json: bool) -> None:
    """Show whether anything is lost, late, stuck or dead.

    The exit code is 0 whatever it shows: see health for probes.
    """
    with desk.reading() as tx:
        seen = overview(tx, late_after.total_seconds())
        opened = all_open(tx)
    backlog = _backlog(desk)
    found = [*findings(seen), *_left_behind(backlog)]
    if is_json:
        desk.print_json({**_as_object(desk, seen, found, opened), "former_broker": backlog})
        return
    most = None if is_all else SHOWN
    desk.say(f"{when(datetime.now(UTC))}  {desk.source.label}", "dim")
    desk.print(_headline(found))
    for finding in found[:most]:
        desk.print(_finding_line(finding, late_after.total_seconds()))
    for sentence in () if backlog is None else backlog.sentences:
        desk.say(sentence, "yellow")
    _more(desk, found, most, "finding")
    if opened:
        desk.print(Text(pointer(opened), style="yellow"))
    desk.print("", _queue_table(sorted(seen.queues, key=_urgency)[:most]))
    _more(desk, seen.queues, most, "queue")
    desk.print("", _last_hour(seen))
    if seen.kept:
        desk.print("", _kept_table(seen.kept))
    workers = sorted(seen.workers, key=lambda worker: not worker.is_silent and worker.is_alive)
    desk.print("", _worker_table(workers[:most]) if workers else Text("No worker is alive.", style="bold red"))
    _more(desk, workers, most, "worker")


def _backlog(desk: Desk) -> Backlog | None:
    """What waits in the broker that the app had, if an app was named whose settings still name that."""
    installation = getattr(desk.app, "mirepoix", None)
    if installation is None:
        return None
    installation.settings  # noqa: B018 (read, so that the app is configured)
    return former.seen(installation)


def _left_behind(backlog: Backlog | None) -> list[Finding]:
    queues = () if backlog is None else backlog.queues
    return [Finding("stuck", Severity.WARNING, one.messages + one.unacknowledged, queue=one.queue) for one in queues]


def _as_object(desk: Desk, seen: Overview, found: list[Finding], opened: list[OpenAlert]) -> dict[str, object]:
    return {
        "ledger": desk.source.label,
        "at": datetime.now(UTC),
        "verdict": severity(found),
        "findings": found,
        "late_after_s": seen.late_after_s,
        "queues": seen.queues,
        "kept": seen.kept,
        "last_hour": seen.last_hour,
        "workers": seen.workers,
        "stranded": seen.stranded,
        "alerts": opened,
    }


def _headline(found: list[Finding]) -> Text:
    word, style, said = _HEADLINES[severity(found)]
    totals = {kind: sum(one.count for one in found if one.kind == kind) for kind in ("lost", "late", "stuck", "failed")}
    text = Text.assemble((word, style), " ", said)
    if found:
        words = [f"{kind} {number:,}" for kind, number in totals.items()]
        if dead := sum(one.count for one in found if one.kind == "dead"):
            words.append(f"dead workers {dead}")
        text.append(" · ".join(words), style="bold")
    return text


def _finding_line(finding: Finding, late_s: float) -> Text:
    mark, style = _MARKS[finding.severity]
    return Text(mark + one_line(_sentence(finding, late_s)), style=style)


def _sentence(finding: Finding, late_s: float) -> str:
    tasks, age, late = count(finding.count, "task"), duration(finding.age_s), duration(late_s)
    match finding.kind:
        case "lost":
            said = f"{tasks} held by {finding.worker or 'nobody'}, which is not alive (for {age}): start a worker"
        case "late" if not finding.is_served:
            said = f"{tasks} in {finding.queue!r} (oldest {age}): no worker serves it"
        case "late" if finding.state is State.LEASED:
            said = f"{tasks} of {finding.queue!r} taken over {late} ago, not started (oldest {age})"
        case "late":
            said = f"{tasks} in {finding.queue!r} ready for over {late} (oldest {age})"
        case "stuck" if finding.state is None:
            said = f"{count(finding.count, 'message')} of {finding.queue!r} left in the broker of before; see below"
        case "stuck" if finding.state is State.PARKED:
            said = f"{tasks} parked (newest {age} ago); see: parked"
        case "stuck":
            said = f"{tasks} {finding.state} (newest {age} ago); see: tasks --state {finding.state}"
        case "failed":
            said = f"{tasks} failed in the last hour (newest {age} ago); see: tasks --state failed"
        case _ if finding.worker is None:
            said = "no worker is alive: nothing runs until one is started"
        case _:
            said = f"worker {finding.worker} " + (f"died {age} ago" if age else "is silent: its heartbeat stayed out")
    return said


def _urgency(load: QueueLoad) -> tuple[bool, float, str]:
    """Unserved queues with tasks first, then the longest wait."""
    return (load.is_served or not load.waiting, -(load.oldest_s or 0.0), load.queue)


def _queue_table(loads: Iterable[QueueLoad]) -> RenderableType:
    table = plain_table()
    table.add_column("queue", no_wrap=True, max_width=24, min_width=8)
    for heading in ("waiting", "oldest", "scheduled", "taken", "running", "longest"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    for load in loads:
        is_bad = bool(load.late or (load.waiting and not load.is_served))
        waiting_style = ("bold red" if not load.is_served else "yellow") if is_bad else ""
        table.add_row(
            Text(one_line(load.queue), style="" if load.is_served else "red"),
            Text(f"{load.waiting:,}", style=waiting_style),
            Text(duration(load.oldest_s) or "-", style=waiting_style),
            f"{load.scheduled:,}",
            Text(f"{load.taken:,}", style="yellow" if load.late_taken else ""),
            f"{load.running:,}",
            duration(load.longest_s) or "-",
        )
    return table if table.row_count else Text("No queue has tasks or a worker.", style="dim")


def _last_hour(seen: Overview) -> Text:
    text = Text("last hour", style="dim")
    is_capped = sum(seen.last_hour[state] for state in seen.last_hour if state is not State.FAILED) >= COUNTED_MOST
    for state, number in seen.last_hour.items():
        if number or state in (State.SUCCEEDED, State.FAILED):
            atleast = "+" if is_capped and number else ""
            text.append("  ").append(f"{number:,}{atleast} {state}", style=STYLES[state] if number else "dim")
    return text


def _kept_table(kept: Iterable[Kept]) -> Table:
    table = plain_table()
    table.add_column("to decide", no_wrap=True, min_width=11)
    table.add_column("tasks", justify="right", no_wrap=True, min_width=5)
    table.add_column("newest", no_wrap=True, ratio=1)
    for one in kept:
        newest = Text.assemble(f"{duration(one.newest_s)} ago  ", one_line(one.newest_name))
        newest.append(f" {one_line(one.newest_id)[:8]}", style="dim").append(f"  {one_line(one.newest_reason)}")
        table.add_row(state_text(one.state), f"{one.count:,}", newest)
    return table


def _worker_table(workers: Iterable[WorkerSeen]) -> Table:
    table = plain_table()
    table.add_column("worker", no_wrap=True, min_width=12, max_width=28)
    table.add_column("pool", no_wrap=True, min_width=10)
    for heading in ("running", "taken", "heartbeat"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    table.add_column("queues", no_wrap=True, ratio=1)
    for worker in workers:
        pool = f"{worker.pool or '?'} {worker.concurrency or ''}".strip()
        if not worker.is_alive:
            heartbeat, note = Text("DEAD", style="bold red"), f"{duration(worker.ended_s)} ago: {worker.reason or '?'}"
        else:
            late = "bold red" if worker.is_silent else "green"
            heartbeat, note = Text(f"{duration(worker.heartbeat_s)} ago", style=late), ", ".join(worker.queues)
        running, taken = f"{worker.running:,}", f"{worker.held - worker.running:,}"
        table.add_row(Text(one_line(worker.name)), pool, running, taken, heartbeat, Text(one_line(note)))
    return table


def _more(desk: Desk, items: Sequence[object], most: int | None, noun: str) -> None:
    if most is not None and len(items) > most:
        desk.print(Text(f"… and {count(len(items) - most, noun)} more (--all)", style="dim"))
