"""``mirepoix status``: one screen that shows whether anything is lost, late or dead, or waits for you."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import click
from rich.text import Text

from mirepoix.broker import former
from mirepoix.broker.former import Backlog
from mirepoix.cli.alerts import pointer
from mirepoix.cli.columns import WHOLE, Column
from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.hints import as_typed, command
from mirepoix.cli.options import Duration, json_option
from mirepoix.cli.styles import STYLES, state_text
from mirepoix.ledger.alerts import OpenAlert, all_open
from mirepoix.ledger.query.health import COUNTED_MOST, Kept, QueueLoad, WorkerSeen
from mirepoix.operations import steering
from mirepoix.operations.findings import Finding, Forgotten, Severity, findings, severity
from mirepoix.operations.format import count, duration, one_line, when
from mirepoix.operations.health import Overview, WorkerLine, by_life, by_urgency, is_unserved, overview
from mirepoix.operations.verdict import sentence
from mirepoix.states import State

SHOWN = 6
"""The most queues, workers and findings that are listed without --all. The others are counted."""

_HEADLINES = {
    Severity.OK: (" ALL WELL ", "bold white on green", "nothing is lost, late or dead, and nothing waits for you"),
    Severity.WARNING: (" LOOK ", "bold black on yellow", ""),
    Severity.CRITICAL: (" ACT NOW ", "bold white on red", ""),
}
_KINDS = {"lost": "lost", "late": "late", "stuck": "waiting for you", "failed": "failed for good"}
_MARKS = {Severity.CRITICAL: ("!! ", "bold red"), Severity.WARNING: ("!  ", "yellow")}


@click.command()
@click.option(
    "--late-after",
    type=Duration(),
    default="1m",
    show_default=True,
    help="A task is late if it has been ready for longer.",
)
@click.option("--all", "is_all", is_flag=True, help="List every queue and worker.")
@json_option
@pass_context
def status(context: CliContext, late_after: timedelta, is_all: bool, is_json: bool) -> None:
    """Show what is lost, late or dead, or waits for you.

    The exit code is 0 even if it shows problems. For probes, use health.
    """
    with context.reading() as tx:
        seen = overview(tx, late_after.total_seconds())
        opened = all_open(tx)
    backlog = _backlog(context)
    found = [*findings(seen), *_left_behind(backlog)]
    if is_json:
        context.print_json({**_as_object(context, seen, found, opened), "former_broker": backlog})
        return
    most = None if is_all else SHOWN
    context.say(f"{when(datetime.now(UTC))}  {context.source.label}", "dim")
    context.say(_headline(found))
    context.say_all(_finding_line(finding, late_after.total_seconds()) for finding in found[:most])
    for line in () if backlog is None else backlog.sentences:
        context.say(as_typed(line), "yellow")
    _more(context, found, most, "finding")
    if opened:
        context.say(pointer(opened), "yellow")
    paused = [found for found in seen.paused if not found.is_forgotten]
    for waits in paused[:most]:
        context.say(one_line(steering.sentence(waits)), "cyan")
    _more(context, paused, most, "pause")
    context.say("")
    if seen.queues:
        context.list(_QUEUE_COLUMNS, map(_queue_cells, by_urgency(seen.queues)[:most]))
    else:
        context.say("No queue has tasks or a worker.", "dim")
    _more(context, seen.queues, most, "queue")
    context.say("")
    context.say(_last_hour(seen))
    if seen.kept:
        context.say("")
        context.list(_KEPT_COLUMNS, map(_kept_cells, seen.kept))
    workers = by_life(seen.workers)
    context.say("")
    if workers:
        context.list(_WORKER_COLUMNS, map(_worker_cells, workers[:most]))
    else:
        context.say("No worker is alive.", "bold red")
    _more(context, workers, most, "worker")
    context.say("")
    context.say(one_line(_versions(seen.alive)), "dim")


def _versions(workers: Sequence[WorkerSeen]) -> str:
    """Return the versions that the live workers run, each combination once, and the version of this command."""
    running = Counter(
        ", ".join(f"{name} {worker.software[name]}" for name in ("mirepoix", "celery") if name in worker.software)
        for worker in workers
    )
    words = [f"{count(number, 'worker')}: {versions}" for versions, number in running.most_common() if versions]
    return "versions  " + " · ".join([*words, f"this command: mirepoix {version('mirepoix')}"])


def _backlog(context: CliContext) -> Backlog | None:
    """Return what waits in the app's former broker, if the app's settings still name it."""
    installation = getattr(context.app, "mirepoix", None)
    if installation is None:
        return None
    installation.settings  # noqa: B018 (read, so that the app is configured)
    return former.seen(installation)


def _left_behind(backlog: Backlog | None) -> list[Finding]:
    queues = () if backlog is None else backlog.queues
    return [
        Finding("stuck", Severity.WARNING, queue.messages + queue.unacknowledged, queue=queue.queue) for queue in queues
    ]


def _as_object(context: CliContext, seen: Overview, found: list[Finding], opened: list[OpenAlert]) -> dict[str, object]:
    return {
        "ledger": context.source.label,
        "at": datetime.now(UTC),
        "verdict": severity(found),
        "findings": found,
        "late_after_s": seen.late_after_s,
        "queues": seen.queues,
        "paused": seen.paused,
        "kept": seen.kept,
        "last_hour": seen.last_hour,
        "workers": seen.workers,
        "stranded": seen.stranded,
        "alerts": opened,
    }


def _headline(found: list[Finding]) -> Text:
    word, style, summary = _HEADLINES[severity(found)]
    totals = {words: sum(finding.count for finding in found if finding.kind == kind) for kind, words in _KINDS.items()}
    text = Text.assemble((word, style), " ", summary)
    if found:
        words = [f"{words} {number:,}" for words, number in totals.items()]
        if dead := sum(finding.count for finding in found if finding.kind == "dead"):
            words.append(f"deaths of workers {dead}")
        if forgotten := sum(finding.kind == "paused" for finding in found):
            words.append(f"paused for over a day {forgotten}")
        text.append(" · ".join(words), style="bold")
    return text


def _finding_line(finding: Finding, late_s: float) -> Text:
    mark, style = _MARKS[finding.severity]
    return Text(mark + one_line(_sentence(finding, late_s)), style=style)


def _sentence(finding: Finding, late_s: float) -> str:
    """Return the finding in words, with the command that shows more."""
    words = sentence(finding, late_s)
    match finding.kind:
        case "lost":
            return f"{words}: start a worker"
        case "stuck" if finding.state is None:
            return f"{words}; see below"
        case "stuck" if finding.state is State.PARKED:
            return f"{words}; see: {command('parked')}"
        case "stuck":
            return f"{words}; see: {command(f'tasks --state {finding.state}')}"
        case "failed":
            return f"{words}; see: {command('failures')}"
        case "paused" if isinstance(finding, Forgotten):
            return f"{words}; resume it: {command(finding.resume)}"
    return words


_QUEUE_COLUMNS = (
    Column("queue", 16),
    *(Column(heading, is_right=True) for heading in ("waiting", "oldest", "scheduled", "handed", "running", "longest")),
)


def _queue_cells(load: QueueLoad) -> list[Text | str]:
    is_bad = load.paused is None and (bool(load.late) or is_unserved(load))
    waiting_style = ("bold red" if not load.is_served else "yellow") if is_bad else ""
    return [
        Text(one_line(load.queue), style="cyan" if load.paused else "" if load.is_served else "red"),
        Text(f"{load.waiting:,}", style=waiting_style),
        Text(duration(load.oldest_s) or "-", style=waiting_style),
        f"{load.scheduled:,}",
        Text(f"{load.taken:,}", style="yellow" if load.late_taken else ""),
        f"{load.running:,}",
        duration(load.longest_s) or "-",
    ]


def _last_hour(seen: Overview) -> Text:
    text = Text("last hour", style="dim")
    finished = sum(number for state, number in seen.last_hour.items() if state is not State.FAILED)
    for state, number in seen.last_hour.items():
        if number or state in (State.SUCCEEDED, State.FAILED):
            # Failed tasks have a limit of their own.
            is_capped = (number if state is State.FAILED else finished) >= COUNTED_MOST
            atleast = "+" if is_capped and number else ""
            words = "failed for good" if state is State.FAILED else state.value
            text.append("  ").append(f"{number:,}{atleast} {words}", style=STYLES[state] if number else "dim")
    return text


_KEPT_COLUMNS = (
    Column("waits for you"),
    Column("tasks", is_right=True),
    Column("newest", is_right=True),
    Column("id"),
    Column("name", 12, gives_way=1, is_cut_in_front=True),
    Column("why", 12),
)


def _kept_cells(kept: Kept) -> list[Text | str]:
    return [
        state_text(kept.state),
        f"{kept.count:,}",
        f"{duration(kept.newest_s)} ago",
        one_line(kept.newest_id),
        one_line(kept.newest_name),
        one_line(kept.newest_reason),
    ]


_WORKER_COLUMNS = (
    Column("worker", 28, gives_way=2),
    Column("pool", WHOLE, gives_way=1),
    *(Column(heading, is_right=True) for heading in ("running", "handed", "heartbeat")),
    Column("queues", 16),
)


def _worker_cells(row: WorkerLine) -> list[Text | str]:
    worker = row.worker
    pool = f"{worker.pool or '?'} {worker.concurrency or ''}".strip()
    if not worker.is_alive:
        times = f" {row.deaths} times" if row.deaths > 1 else ""
        heartbeat = Text(f"DEAD{times}", style="bold red")
        note = f"{duration(worker.ended_s)} ago: {worker.reason or '?'}"
    else:
        late = "bold red" if worker.is_silent else "green"
        heartbeat, note = Text(f"{duration(worker.heartbeat_s)} ago", style=late), ", ".join(worker.queues)
    held = f"{worker.held - worker.running:,}"
    return [one_line(worker.name), one_line(pool), f"{worker.running:,}", held, heartbeat, one_line(note)]


def _more(context: CliContext, items: Sequence[object], most: int | None, noun: str) -> None:
    if most is not None and len(items) > most:
        context.say(f"… and {count(len(items) - most, noun)} more (--all)", "dim")
